//! A log on a real file system whose power is cut again and again: while it is written, rolls, and recovers.

#[path = "support/power_cut.rs"]
mod rig;

mod log_kit;

use bytes::Bytes;
use grower_protocol::batch::BatchReader;
use grower_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use grower_storage::disk::{Disk, FileDisk};
use grower_storage::log::{DiskLog, Log, LogLocation, LogOptions, OpenError};
use grower_storage::recovery::RecoveryReport;
use grower_storage::verify::verify;
use parking_lot::Mutex;
use rig::PowerRig;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const CYCLES: u64 = 20;

fn place(root: &Path) -> LogLocation {
    LogLocation { dir: root.join("topics/t/0"), cut_dir: Some(root.join("cut")), ..log_kit::place() }
}

/// Rolls every few batches.
fn options() -> LogOptions {
    LogOptions { segment_bytes: 20_000, preallocate_bytes: 8_192, index_flush_bytes: 6_000, ..log_kit::options() }
}

fn open(root: &Path) -> Result<(DiskLog, RecoveryReport), OpenError> {
    DiskLog::open(Arc::new(FileDisk::new(root)), place(root), options(), Timestamp::default())
}

/// The appended batches, and how many of them were acknowledged.
#[derive(Default)]
struct Ledger {
    batches: Vec<(Offset, Bytes)>,
    acknowledged: Offset,
    sequence: i32,
}

impl Ledger {
    /// After a crash: everything acknowledged is there, nothing else appeared, nothing is taken for corruption.
    fn settle(&mut self, log: &DiskLog, report: &RecoveryReport) {
        assert_eq!(report.damaged, [], "a power cut is never taken for corruption");
        let end = log.span().end;
        assert!(self.acknowledged <= end, "{} was acknowledged, the log ends at {end}", self.acknowledged);
        self.batches.retain(|(base, _)| *base < end);
        let mut at = Offset::ZERO;
        let mut expected = self.batches.iter();
        while at < end {
            for slice in log.reader().read(at, 1 << 20, Offset::MAX).unwrap() {
                for batch in BatchReader::new(slice.read().unwrap()).map(Result::unwrap) {
                    let (base, bytes) = expected.next().expect("nothing appeared");
                    assert_eq!((*base, bytes), (batch.header().base_offset, batch.bytes()));
                    at = batch.header().next_offset();
                }
            }
        }
        assert!(expected.next().is_none());
        self.acknowledged = end; // It was served, so it must stay.
    }
}

/// Appends until the disk refuses.
fn write(log: &Mutex<DiskLog>, ledger: &Mutex<Ledger>, appended: &AtomicU64, epoch: LeaderEpoch) {
    loop {
        let mut log = log.lock();
        let mut ledger = ledger.lock();
        let (records, length, sequence) = (1 + (ledger.sequence % 3) as u32, 400, ledger.sequence);
        let Ok(done) = log.append(log_kit::batch(records, length, sequence, 0), epoch, Timestamp::default()) else {
            return;
        };
        assert!(!done.duplicate);
        let placed = log_kit::batch(records, length, sequence, 0).place(done.base_offset, epoch);
        ledger.batches.push((done.base_offset, placed.bytes().clone()));
        ledger.sequence += records as i32;
        appended.fetch_add(1, Ordering::SeqCst);
    }
}

/// Syncs and acknowledges as long as there is power. The outcome of a later sync is lost: a file system that is
/// being shut down may call one a success.
fn flush(disk: &FileDisk, log: &Mutex<DiskLog>, ledger: &Mutex<Ledger>, powered: &AtomicBool) {
    loop {
        let mut point = log.lock().flush_point();
        point.awaited = true;
        let outcome = disk.sync_many(&point.files);
        let mut log = log.lock();
        let Ok(end) = log.flushed(&point, outcome) else { return };
        if !powered.load(Ordering::SeqCst) {
            return;
        }
        ledger.lock().acknowledged = end;
    }
}

/// Writes and flushes at once until the power goes, after `appends` batches.
fn run_until_cut(rig: &PowerRig, log: DiskLog, ledger: &Mutex<Ledger>, epoch: LeaderEpoch, appends: u64) {
    let disk = FileDisk::new(rig.path());
    let log = Mutex::new(log);
    let appended = AtomicU64::new(0);
    let powered = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(&log, ledger, &appended, epoch));
        scope.spawn(|| flush(&disk, &log, ledger, &powered));
        while appended.load(Ordering::SeqCst) < appends && !writer.is_finished() {
            std::thread::yield_now();
        }
        powered.store(false, Ordering::SeqCst);
        rig.cut().unwrap();
    });
}

#[test]
fn everything_acknowledged_survives_power_cuts() {
    let Some(mut rig) = PowerRig::new().unwrap() else { return };
    let ledger = Mutex::new(Ledger::default());
    for cycle in 0..CYCLES {
        let (log, report) = open(rig.path()).unwrap();
        let mut settled = ledger.lock();
        settled.settle(&log, &report);
        // Lost batches are sent again under their old numbers.
        settled.sequence = settled.batches.iter().map(|(_, bytes)| records(bytes)).sum();
        drop(settled);
        run_until_cut(&rig, log, &ledger, LeaderEpoch::new(cycle as u32), 1 + cycle * 37 % 90);
        rig.remount().unwrap();
        if cycle % 3 == 0 {
            std::thread::scope(|scope| {
                let recovery = scope.spawn(|| drop(open(rig.path())));
                rig.cut().unwrap(); // Somewhere within the recovery, or after it.
                recovery.join().unwrap();
            });
            rig.remount().unwrap();
        }
    }
    let (mut log, report) = open(rig.path()).unwrap();
    ledger.lock().settle(&log, &report);
    log.checkpoint(Timestamp::default()).unwrap();
    assert_eq!(verify(&FileDisk::new(rig.path()), &place(rig.path()).dir, |_| {}).unwrap().findings, []);
}

fn records(bytes: &Bytes) -> i32 {
    BatchReader::new(bytes.clone()).map(|batch| batch.unwrap().header().record_count as i32).sum()
}
