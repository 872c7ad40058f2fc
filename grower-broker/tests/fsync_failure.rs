//! A failed sync ends the broker: nothing is acknowledged by it or after it, and everything acknowledged before stays.
//!
//! The daemon runs on a libc whose fdatasync fails when told to, and then loses what it should have made durable, as a
//! real disk does: an ack that relied on it, or on trying again, is found missing after the restart. Producers, a
//! reader and a group run across all of it.
#![expect(clippy::disallowed_methods, reason = "a test may wait for a daemon on any thread")]

mod support {
    pub(crate) mod daemon;
    pub(crate) mod ledger;
    pub(crate) mod workload;
}

use grower_client::Outcome;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::daemon::{Daemon, command};
use support::ledger::{Audit, Ledger};
use support::workload::{BrokerAddress, Workload};
use tokio::task::spawn_blocking;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_ack_relies_on_a_sync_that_failed() {
    let dir = tempfile::tempdir().unwrap();
    let Some(rig) = Rig::build(dir.path(), "/topics/") else { return };
    let (door, ledger) = (BrokerAddress::default(), Ledger::new("events", 4));
    let mut daemon = rig.start(&door, 1);
    let mut workload = Workload::start(&door, ledger.clone(), &[("segment.messages", "100")]).await;
    let mut audit = Audit::default();
    // The very first sync after the trigger, and later ones, of rounds as well as of segments that roll.
    for next in [2, 3, 5, 8, 40, 1] {
        ledger.wait_for(ledger.acks() + 500).await;
        rig.arm();
        rig.check_end(daemon).await;
        daemon = rig.start(&door, next);
        audit.run(&workload.client, &ledger).await;
        workload.check_commits().await;
        workload.check();
    }
    let client = workload.finish().await;
    let mut all = Audit::default();
    all.run(&client, &ledger).await;
    all.is_complete(&ledger);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_metadata_is_not_confirmed_by_a_sync_that_failed() {
    let dir = tempfile::tempdir().unwrap();
    // The log, not its index, which is synced at the same time. No partition has an index here.
    let Some(rig) = Rig::build(dir.path(), ".growerlog") else { return };
    let (door, topic) = (BrokerAddress::default(), "kept");
    let daemon = rig.start(&door, 1);
    let admin = door.client().await.admin();
    admin.create_topic(topic, grower_client::TopicSpec::partitions(1)).await.unwrap();

    rig.arm();
    let refused = admin.delete_topic(topic).await.unwrap_err();
    assert_eq!(refused.outcome(), Outcome::Unknown, "{refused}");
    rig.check_end(daemon).await;

    let _daemon = rig.start(&door, 1);
    let kept = door.client().await.admin().describe_topic(topic, false).await.unwrap();
    assert_eq!(kept.name.as_str(), topic);
}

/// A libc that can fail, and a data directory for daemons on it.
struct Rig {
    shim: PathBuf,
    data: PathBuf,
    trigger: PathBuf,
    /// Which files' syncs fail: those with this in their path.
    within: &'static str,
}

impl Rig {
    /// Without a C compiler there is none, and nothing to check.
    fn build(dir: &Path, within: &'static str) -> Option<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/lost_sync.c");
        let shim = dir.join("lost_sync.so");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]).arg(&shim).arg(source).arg("-ldl");
        match compiler.status() {
            Err(error) => {
                eprintln!("no sync can be made to fail: cc: {error}");
                return None;
            }
            Ok(status) => assert!(status.success(), "cc: {status}"),
        }
        Some(Self { shim, data: dir.join("data"), trigger: dir.join("trigger"), within })
    }

    /// Starts a daemon; once armed, its `failing`th sync from then on fails.
    fn start(&self, door: &BrokerAddress, failing: u32) -> Daemon {
        let _ = std::fs::remove_file(&self.trigger);
        let _ = std::fs::remove_file(self.lost());
        let mut command = command(&self.data);
        command.env("LD_PRELOAD", &self.shim).env("LOST_SYNC_TRIGGER", &self.trigger);
        command.env("LOST_SYNC_IN", self.within).env("LOST_SYNC_AT", failing.to_string());
        let daemon = Daemon::start_command(&mut command);
        door.open(daemon.listen);
        daemon
    }

    fn arm(&self) {
        std::fs::write(&self.trigger, "").unwrap();
    }

    fn lost(&self) -> PathBuf {
        self.trigger.with_extension("lost")
    }

    /// Waits until the daemon has ended as it should.
    async fn check_end(&self, daemon: Daemon) {
        let ended = spawn_blocking(|| daemon.wait()).await.unwrap();
        assert_eq!(ended.status.code(), Some(1), "{ended:#?}");
        let reasons = ended.stderr.iter().filter(|line| line.starts_with("grower-broker: stopped: a sync failed"));
        assert_eq!(reasons.count(), 1, "{ended:#?}");
        assert!(self.lost().exists(), "it ended without any sync having failed");
    }
}
