//! The soak itself, as long as it takes for every load to have done something.

use super::*;
use grower_broker::{Broker, BrokerConfig};

#[test]
fn all_loads_together_get_on_and_what_they_wrote_is_there() {
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
        let place = Place {
            site: Site { address: broker.listen_address().unwrap().to_string(), process: std::process::id() },
            http: broker.http_address().unwrap().to_string(),
            data_dir,
        };
        let all_have_done_something = |_, tally: &Tally| {
            let Tally { acknowledged, consumed, joins, topics, scrapes, rounds, backups, stuck, .. } = tally;
            let seen = [acknowledged, consumed, joins, topics, scrapes, rounds, backups, stuck];
            seen.into_iter().all(|count| 0 < count.get())
        };
        let samples = soak(&place, Duration::from_millis(100), all_have_done_something).await.unwrap();
        assert!(samples.iter().all(|sample| 0 < sample.resident && 0 < sample.descriptors));
        broker.stop().await.unwrap();
    });
}
