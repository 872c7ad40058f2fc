//! A sync that fails ends the broker: nothing is acknowledged by it or after it, and everything acknowledged before it stays.
//!
//! The daemon runs on a libc whose fdatasync fails when told to, and then loses what it should have made durable, as a
//! real disk does: an ack that relied on it, or on trying again, is found missing after the restart.

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/load.rs"]
mod load;

use daemon::{Daemon, command};
use grower_client::{Client, Outcome, TopicSpec};
use load::{Load, Place, check, read_all, write_some};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const TOPIC: &str = "events";
const PARTITIONS: u32 = 3;
const WRITERS: u32 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_ack_relies_on_a_sync_that_failed() {
    let dir = tempfile::tempdir().unwrap();
    let Some(shim) = compile_shim(dir.path()) else { return };
    // The very first sync after the trigger, and later ones, of rounds as well as of segments that roll.
    for failing in [1, 2, 3, 5, 8, 40] {
        check_failing_sync(&dir.path().join(format!("data-{failing}")), &shim, failing).await;
    }
}

async fn check_failing_sync(data: &Path, shim: &Path, failing: u32) {
    let shimmed = Shimmed::start(data, shim, "/topics/", failing).await;
    let load = Load::start(&shimmed.client, TOPIC, PARTITIONS, WRITERS, 1);
    load.wait_for_more(500).await;
    shimmed.arm();
    shimmed.check_ended().await;
    check_restart(data, &load.stop().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_metadata_is_not_confirmed_by_a_sync_that_failed() {
    let dir = tempfile::tempdir().unwrap();
    let Some(shim) = compile_shim(dir.path()) else { return };
    let data = dir.path().join("data");
    let shimmed = Shimmed::start(&data, &shim, "/metadata/", 1).await;
    let acked = write_some(&shimmed.client, TOPIC, 1).await;
    shimmed.arm();
    let refused = shimmed.client.admin().delete_topic(TOPIC).await.unwrap_err();
    assert_eq!(refused.outcome(), Outcome::Unknown, "{refused}");
    shimmed.check_ended().await;
    check_restart(&data, &acked).await;
}

/// A daemon on the libc that can fail, with a topic.
struct Shimmed {
    daemon: Daemon,
    client: Client,
    trigger: PathBuf,
}

impl Shimmed {
    async fn start(data: &Path, shim: &Path, within: &str, failing: u32) -> Self {
        let trigger = data.with_extension("trigger");
        let mut shimmed = command(data);
        shimmed.env("LD_PRELOAD", shim).env("LOST_SYNC_TRIGGER", &trigger);
        shimmed.env("LOST_SYNC_IN", within).env("LOST_SYNC_AT", failing.to_string());
        let daemon = Daemon::start_command(&mut shimmed);
        let client = Client::connect(daemon.listen.to_string()).await.unwrap();
        let rolling = TopicSpec::partitions(PARTITIONS).config("segment.bytes", "16KiB");
        client.admin().create_topic(TOPIC, rolling).await.unwrap();
        Self { daemon, client, trigger }
    }

    /// From now on syncs are counted.
    fn arm(&self) {
        std::fs::write(&self.trigger, "").unwrap();
    }

    /// Waits until it has ended as it should.
    async fn check_ended(self) {
        let ended = tokio::task::spawn_blocking(|| self.daemon.wait()).await.unwrap();
        assert_eq!(ended.status.code(), Some(1), "{ended:#?}");
        let reasons = ended.stderr.iter().filter(|line| line.starts_with("grower-broker: stopped: a sync failed"));
        assert_eq!(reasons.count(), 1, "{ended:#?}");
        assert!(self.trigger.with_extension("trigger.lost").exists(), "it ended without any sync having failed");
    }
}

/// Everything acknowledged is there, and the broker takes more.
async fn check_restart(data: &Path, acked: &BTreeMap<Place, String>) {
    let daemon = Daemon::start(data, &[]);
    let client = Client::connect(daemon.listen.to_string()).await.unwrap();
    check(acked, &read_all(&client, TOPIC, PARTITIONS).await);
    let more = Load::start(&client, TOPIC, PARTITIONS, WRITERS, 2);
    more.wait_for_more(100).await;
    let mut acked = acked.clone();
    acked.extend(more.stop().await);
    check(&acked, &read_all(&client, TOPIC, PARTITIONS).await);
    let ended = tokio::task::spawn_blocking(|| daemon.terminate()).await.unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
}

/// The libc that can fail. Without a C compiler there is none, and nothing to check.
fn compile_shim(dir: &Path) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/lost_sync.c");
    let shim = dir.join("lost_sync.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]).arg(&shim).arg(source).arg("-ldl");
    match compiler.status() {
        Err(error) => {
            eprintln!("no sync can be made to fail: cc: {error}");
            None
        }
        Ok(status) => {
            assert!(status.success(), "cc: {status}");
            Some(shim)
        }
    }
}
