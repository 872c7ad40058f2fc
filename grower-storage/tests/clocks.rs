//! Ages are measured by the clock for ages alone, also across restarts, after which that clock is another one.

mod log_kit;

use grower_protocol::ids::{LeaderEpoch, Offset, ProducerId, Timestamp};
use grower_storage::disk::MemDisk;
use grower_storage::log::{DiskLog, Log, LogOptions, MemLog, RetentionLimits};
use log_kit::{batch_of, options, place};
use std::sync::Arc;

/// Producers expire after 10 s.
fn tiny() -> LogOptions {
    LogOptions::tiny()
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn open(disk: &MemDisk, options: LogOptions, now: i64) -> DiskLog {
    DiskLog::open(Arc::new(disk.clone()), place(), options, at(now)).unwrap().0
}

/// Sends the first batch of a producer; `true` if the log remembers it. Its record claims to be from `date`.
fn send(log: &mut dyn Log, producer: u64, date: i64, now: i64) -> bool {
    log.append(batch_of(producer, 1, 20, 0, date), LeaderEpoch::new(1), at(now)).unwrap().duplicate
}

#[test]
fn a_wrong_time_forgets_no_later_producer() {
    for log in [&mut open(&MemDisk::default(), tiny(), 0) as &mut dyn Log, &mut MemLog::new(tiny())] {
        send(log, 1, 0, 1_000);
        log.checkpoint(at(1_000_000)).unwrap(); // A wrong time, which must do no lasting harm.
        assert!(!send(log, 2, 0, 2_000));
        log.checkpoint(at(2_100)).unwrap();
        assert!(send(log, 2, 0, 2_200));
    }
}

#[test]
fn the_time_of_day_that_retention_looks_at_ages_no_producer() {
    for log in [&mut open(&MemDisk::default(), tiny(), 0) as &mut dyn Log, &mut MemLog::new(tiny())] {
        send(log, 1, 1_000_000, 1_000);
        let limits = RetentionLimits { ms: Some(500), ..RetentionLimits::default() };
        log.retain(at(1_000_500), &limits, Offset::MAX).unwrap();
        if let Some(files) = log.files() {
            files.seal(at(1_100)).unwrap();
        }
        assert!(send(log, 1, 0, 1_200));
    }
}

#[test]
fn producers_do_not_age_between_two_runs() {
    for restart in [0, 11_000, 1_000_000_000] {
        let disk = MemDisk::default();
        let mut log = open(&disk, tiny(), 500_000);
        send(&mut log, 1, 0, 500_000);
        send(&mut log, 2, 0, 509_000);
        log.checkpoint(at(509_000)).unwrap();
        drop(log);
        let mut log = open(&disk, tiny(), restart);
        log.forget_producers(at(restart + 1_000), 10_000, 10);
        assert_eq!(log.producers().len(), 2, "restarted at {restart}");
        log.forget_producers(at(restart + 1_001), 10_000, 10);
        assert_eq!(log.producers().len(), 1, "the one that was silent before continues to age");
        assert!(send(&mut log, 2, 0, restart + 1_001));
    }
}

#[test]
fn timestamps_of_records_age_no_producer() {
    for log in [&mut open(&MemDisk::default(), tiny(), 0) as &mut dyn Log, &mut MemLog::new(tiny())] {
        send(log, 1, 0, 500_000);
        send(log, 2, 0, 500_000);
        log.truncate(log_kit::offset(1)).unwrap(); // Producers are replayed from their batches.
        log.checkpoint(at(500_000)).unwrap();
        assert!(send(log, 1, 0, 500_000));
    }
}

#[test]
fn a_segment_with_timestamps_of_the_future_still_ages() {
    let disk = MemDisk::default();
    let mut log = open(&disk, options(), 0);
    send(&mut log, 1, i64::MAX / 2, 0);
    log.checkpoint(at(0)).unwrap();
    drop(log);
    let mut log = open(&disk, options(), 5_000);
    let append = |log: &mut DiskLog, sequence, now| {
        log.append(log_kit::batch(1, 20, sequence, 0), LeaderEpoch::new(1), at(now)).unwrap().rolled
    };
    assert!(!append(&mut log, 1, 5_999), "`segment.ms` is a second");
    assert!(append(&mut log, 2, 6_000));
}

#[test]
fn a_named_producer_is_remembered_after_a_restart_and_any_silence() {
    let disk = MemDisk::default();
    let mut log = open(&disk, tiny(), 0);
    let named = ProducerId::NAMED.start.value();
    send(&mut log, named, 0, 1_000);
    (1..10).for_each(|producer| assert!(!send(&mut log, producer, 0, 1_000_000))); // The limit is 4.
    log.checkpoint(at(1_000_000)).unwrap();
    drop(log);
    let mut log = open(&disk, tiny(), 5_000);
    assert_eq!(log.producers().named().len(), 1);
    assert!(send(&mut log, named, 0, 1_000_000));
}
