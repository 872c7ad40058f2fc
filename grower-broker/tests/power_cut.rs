//! Power cuts under load on a real file system: acknowledged, read and committed records stay.
//!
//! The data directory is on ext4 in an image that is shut down without a flush of its journal, at random moments, with
//! segments so small that most moments are during a roll, soon after a start that followed a kill, and again while a
//! start recovers from the cut before. It needs root and loop devices; where it has none it says so and checks nothing.

mod support {
    pub(crate) mod chance;
    pub(crate) mod daemon;
    pub(crate) mod ledger;
    pub(crate) mod workload;
}
#[path = "../../grower-storage/tests/support/power_cut.rs"]
mod rig;

use rig::PowerRig;
use std::path::Path;
use std::process::Stdio;
use support::chance::Chance;
use support::daemon::{Daemon, command};
use support::ledger::{Audit, Ledger};
use support::workload::{BrokerAddress, Workload};

const CYCLES: u32 = 20;
/// Cycles between two looks at what was appended since; the reader looks all the time.
const AUDIT_EACH: u32 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cuts_under_load_lose_nothing_acknowledged_and_take_back_nothing_read() {
    let Some(mut rig) = PowerRig::with_mib(512).unwrap() else { return };
    let mut chance = Chance::new();
    let (door, ledger) = (BrokerAddress::default(), Ledger::new("events", 4));
    let mut daemon = start(rig.path(), &door);
    let configs = [("segment.messages", "20")];
    let mut workload = Workload::start(&door, ledger.clone(), &configs).await;
    let mut audit = Audit::default();
    let mut cuts = 0;
    for cycle in 1..=CYCLES {
        workload.begin_passing_writer();
        ledger.wait_for(ledger.acks() + chance.within(1..400)).await;
        if chance.one_in(2) {
            // Data that this start finds in the page cache and serves may never have reached the disk.
            daemon.kill9();
            door.close();
            daemon = start(rig.path(), &door);
            ledger.wait_for(ledger.acks() + chance.within(1..20)).await;
        }
        tokio::time::sleep(chance.micros(0..3_000)).await; // Any moment, not only that of an ack.
        door.close(); // Its answers about the failing disk reach no client: its power is gone as well.
        rig.cut().unwrap();
        daemon.kill9();
        rig.remount().unwrap();
        cuts += 1 + cut_recoveries(&mut rig, &mut chance).await;
        daemon = start(rig.path(), &door);
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
    daemon.kill9();
    eprintln!("{cuts} cuts, {} acks, {records} records, {} read along the way", ledger.acks(), ledger.shown());
}

fn start(dir: &Path, door: &BrokerAddress) -> Daemon {
    let daemon = Daemon::start(&dir.join("data"), &[]);
    door.open(daemon.listen);
    daemon
}

/// Cuts the power while starts recover, up to twice. Returns how many cuts that were.
async fn cut_recoveries(rig: &mut PowerRig, chance: &mut Chance) -> u32 {
    let cuts = chance.within(0..3) as u32;
    for _ in 0..cuts {
        let mut daemon = command(&rig.path().join("data")).stderr(Stdio::null()).spawn().unwrap();
        tokio::time::sleep(chance.micros(0..150_000)).await;
        rig.cut().unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        rig.remount().unwrap();
    }
    cuts
}
