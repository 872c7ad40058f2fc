//! Runs the soak until every load has made progress.

use super::*;
use grower_broker::{Broker, BrokerConfig};

/// Soaks a broker in this process until all loads have made progress.
fn check_soak(loads: Vec<Load>, all_have_done_something: impl Fn(&Tally) -> bool) {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().join("broker");
    let mut config = BrokerConfig::at(&data_dir);
    config.disk_reserve_bytes = Some(1 << 20);
    config.backup_dir = Some(directory.path().join("backups"));
    let any = Some("127.0.0.1:0".parse().unwrap());
    (config.listen, config.http) = (any, any);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let broker = Broker::start(config).await.unwrap();
        let target = SoakTarget {
            name: "tested",
            clock: None,
            broker: BenchBroker { address: broker.listen_address().unwrap().to_string(), process: std::process::id() },
            http: broker.http_address().unwrap().to_string(),
            data_dir,
        };
        let is_enough = |_, tally: &Tally| all_have_done_something(tally);
        let samples = soak(&target, loads, Duration::from_millis(100), is_enough).await.unwrap();
        assert!(samples.iter().all(|sample| 0 < sample.resident && 0 < sample.descriptors));
        broker.stop().await.unwrap();
    });
}

#[test]
fn the_usual_loads_progress_and_keep_their_records() {
    check_soak(Load::usual(), |tally| {
        let Tally { acknowledged, consumed, joins, topics, scrapes, rounds, backups, stalled, .. } = tally;
        [acknowledged, consumed, joins, topics, scrapes, rounds, backups, stalled]
            .into_iter()
            .all(|count| 0 < count.get())
    });
}

#[test] // Without clock jumps: the broker shares the clock of this process.
fn the_limited_loads_progress_and_keep_their_records() {
    let loads = Load::limited().into_iter().filter(|load| !matches!(load, Load::Jumps)).collect();
    check_soak(loads, |tally| {
        let Tally { acknowledged, recreated, flips, polls, gaps, scrapes, .. } = tally;
        [acknowledged, recreated, flips, polls, gaps, scrapes].into_iter().all(|count| 0 < count.get())
    });
}
