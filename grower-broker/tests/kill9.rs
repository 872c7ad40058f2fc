//! `kill -9` of the real daemon under load, a hundred times: acknowledged records stay.
//!
//! Writers (lone and in bulk, with and without compression, idempotent, acks `all`), a reader and a group run across
//! all restarts; one more writer of each cycle is dropped in the middle. Every few restarts the log is held to the
//! ledger of acks from where the check before ended, at the end from its first offset.

mod support {
    pub(crate) mod chance;
    pub(crate) mod daemon;
    pub(crate) mod ledger;
    pub(crate) mod workload;
}

use std::path::Path;
use std::process::Stdio;
use support::chance::Chance;
use support::daemon::{Daemon, command};
use support::ledger::{Audit, Ledger};
use support::workload::{BrokerAddress, Workload};

const CYCLES: u32 = 100;
/// Cycles between two looks at what was appended since; the reader looks all the time.
const AUDIT_EACH: u32 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_kills_under_load_lose_and_repeat_nothing() {
    let (dir, mut chance) = (tempfile::tempdir().unwrap(), Chance::new());
    let (door, ledger) = (BrokerAddress::default(), Ledger::new("events", 4));
    let mut daemon = start(dir.path(), &door);
    let mut workload = Workload::start(&door, ledger.clone(), &[("segment.messages", "100")]).await;
    let mut audit = Audit::default();
    for cycle in 1..=CYCLES {
        workload.begin_passing_writer();
        ledger.wait_for(ledger.acks() + chance.within(1..400)).await;
        tokio::time::sleep(chance.micros(0..3_000)).await; // Any moment, not only that of an ack.
        daemon.kill9();
        door.close();
        if chance.one_in(5) {
            kill_while_it_starts(dir.path(), &mut chance).await;
        }
        daemon = start(dir.path(), &door);
        workload.check_commits().await;
        workload.check_topics().await;
        if cycle % AUDIT_EACH == 0 {
            audit.run(&workload.client, &ledger).await;
        }
        workload.check();
    }
    let client = workload.finish().await;
    let mut all = Audit::default();
    let records = all.run(&client, &ledger).await;
    all.is_complete(&ledger);
    eprintln!("{CYCLES} kills, {} acks, {records} records, {} read along the way", ledger.acks(), ledger.shown());
}

fn start(dir: &Path, door: &BrokerAddress) -> Daemon {
    let daemon = Daemon::start(dir, &[]);
    door.open(daemon.listen);
    daemon
}

/// Recovery itself may be killed at any moment.
async fn kill_while_it_starts(dir: &Path, chance: &mut Chance) {
    let mut daemon = command(dir).stderr(Stdio::null()).spawn().unwrap();
    tokio::time::sleep(chance.micros(0..60_000)).await;
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}
