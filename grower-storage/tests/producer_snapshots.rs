//! Snapshots of producers save an opening from reading the log; every power cut leaves a useful one.

mod log_kit;

use grower_protocol::ids::{LeaderEpoch, Timestamp};
use grower_storage::disk::{Call, Disk, FaultDisk, MemDisk};
use grower_storage::log::{DiskLog, Log, LogOptions};
use grower_storage::verify::verify;
use log_kit::{DIR, batch_of, offset, open};
use std::path::Path;
use std::sync::Arc;

const PRODUCERS_MAX: usize = 10;

/// A snapshot after each ten batches or so, a roll after each thirty.
fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 30_000,
        snapshot_bytes: 10_000,
        producers_max: PRODUCERS_MAX,
        segment_ms: u64::MAX,
        ..log_kit::options()
    }
}

fn append(log: &mut DiskLog, producer: u64) -> bool {
    let batch = batch_of(producer, 1, 1_000, 0, 0);
    log.append(batch, LeaderEpoch::new(1), Timestamp::default()).unwrap().duplicate
}

fn flush(log: &mut DiskLog, disk: &dyn Disk) {
    let point = log.flush_point();
    log.flushed(&point, disk.sync_many(&point.files)).unwrap();
}

/// Appends batches, each of another producer, flushes all but the last ones, and cuts the power.
fn cut_off(disk: &MemDisk, batches: u64, unflushed: u64) {
    let (mut log, _) = open(Arc::new(disk.clone()), &options());
    for producer in 0..batches {
        append(&mut log, producer);
        if producer + unflushed < batches {
            flush(&mut log, disk);
        }
    }
    drop(log);
    disk.crash();
}

/// Opens the log; how many reads that takes.
fn reopen(disk: &MemDisk) -> (DiskLog, u64) {
    let disk = FaultDisk::new(disk.clone());
    let faults = disk.faults();
    let (log, _) = open(Arc::new(disk), &options());
    assert!(log.producers().len() <= PRODUCERS_MAX, "{}", log.producers().len());
    (log, faults.calls(Call::Read))
}

#[test]
fn an_opening_after_a_power_cut_reads_little_of_a_long_log() {
    let reads = |batches, unflushed| {
        let disk = MemDisk::default();
        cut_off(&disk, batches, unflushed);
        let (mut log, reads) = reopen(&disk);
        let end = log.span().end.value();
        assert!(append(&mut log, end - 1), "the last producer is remembered");
        reads
    };
    let ends = (0..4).flat_map(|unflushed| (900..930).map(move |batches| (batches, unflushed)));
    let all: Vec<u64> = ends.map(|(batches, unflushed)| reads(batches, unflushed)).collect();
    let (least, most) = (all.iter().min().unwrap(), all.iter().max().unwrap());
    assert!(*most <= 2 * least, "{least} to {most} reads");
}

#[test]
fn a_damaged_or_missing_snapshot_leaves_the_one_before_it() {
    for damage in [Vec::new(), b"damaged".to_vec()] {
        let disk = MemDisk::default();
        cut_off(&disk, 900, 0);
        let sound = reopen(&disk).1;
        let path = Path::new(DIR).join("producers.snapshot");
        disk.remove_file(&path).unwrap();
        if !damage.is_empty() {
            disk.create(&path).unwrap().write_all_at(&damage, 0).unwrap();
        }
        let (mut log, reads) = reopen(&disk);
        assert!(reads <= sound + 60, "{reads} reads in place of {sound}");
        assert!(append(&mut log, 899));
        drop(log);
        assert_eq!(verify(&disk, Path::new(DIR), |_| {}).unwrap().findings, [], "an opening mends what it found");
    }
}

#[test]
fn no_snapshot_knows_truncated_records() {
    let disk = MemDisk::default();
    cut_off(&disk, 60, 0);
    let (mut log, _) = reopen(&disk);
    for end in [45, 30, 10, 5] {
        log.truncate(offset(end)).unwrap();
        assert!(append(&mut log, end - 1), "kept at {end}");
        assert!(!append(&mut log, end), "truncated at {end}");
        log.truncate(offset(end)).unwrap();
    }
    for producer in 1_000..1_060 {
        append(&mut log, producer); // Grows past the offsets of all earlier snapshots.
    }
    flush(&mut log, &disk);
    drop(log);
    disk.remove_file(&Path::new(DIR).join("producers.snapshot")).unwrap();
    let (mut log, _) = reopen(&disk);
    assert!((1_055..1_060).all(|producer| append(&mut log, producer)));
    assert!(!append(&mut log, 30));
}
