//! A disk that takes no more writes ends the broker. The next start, on a working disk, continues there.
#![expect(clippy::disallowed_methods, reason = "a test may wait for a daemon on any thread")]

mod support {
    pub(crate) mod daemon;
    pub(crate) mod ledger;
    pub(crate) mod workload;
}
#[path = "../../grower-storage/tests/support/power_cut.rs"]
mod rig;

use grower_client::{Record, TopicSpec};
use rig::PowerRig;
use std::path::Path;
use support::daemon::{Daemon, Ended};
use support::ledger::{Audit, Ledger, Line};
use support::workload::BrokerAddress;
use tokio::task::spawn_blocking;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_breaks_down_ends_the_broker_and_loses_nothing_acknowledged() {
    let Some(mut rig) = PowerRig::with_mib(256).unwrap() else { return };
    let (door, ledger) = (BrokerAddress::default(), Ledger::new("events", 1));
    let daemon = start(rig.path(), &door);
    let client = door.client().await;
    client.admin().create_topic(ledger.topic, TopicSpec::partitions(1)).await.unwrap();
    let producer = client.producer().build().await.unwrap();
    let send = async |number| {
        let line = Line { writer: 0, number };
        let record = Record::new(ledger.topic).partition(0).value(line.text(0));
        ledger.note(line, &producer.send(record).await.unwrap());
    };
    for number in 0..100 {
        send(number).await;
    }

    rig.cut().unwrap(); // The process lives, and every write fails.
    let next_start = async {
        let Ended { status, stderr } = spawn_blocking(|| daemon.wait()).await.unwrap();
        assert_eq!(status.code(), Some(1), "{stderr:#?}");
        assert!(stderr.iter().any(|line| line.starts_with("grower-broker: stopped: ")), "{stderr:#?}");
        rig.remount().unwrap();
        start(rig.path(), &door)
    };
    let (_daemon, ()) = tokio::join!(next_start, send(100));
    assert_eq!(Audit::default().run(&client, &ledger).await, 101);
}

fn start(dir: &Path, door: &BrokerAddress) -> Daemon {
    let daemon = Daemon::start(dir, &[]);
    door.open(daemon.listen);
    daemon
}
