//! Compaction: the records that it keeps and drops, and when.

mod compaction_kit;

use compaction_kit::{Broken, DIR, POLICY, World, batch};
use grower_protocol::compression::Codec;
use grower_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use grower_storage::compaction::{Compaction, CompactionError, CompactionPolicy};
use grower_storage::disk::Disk;
use grower_storage::log::{Log, LogFiles, RetentionLimits};
use std::path::Path;

fn some(value: &str) -> Option<&str> {
    Some(value)
}

/// Three keys written over and over, in several segments.
fn busy(codec: Codec) -> World {
    let mut world = World::new();
    world.codec = codec;
    for round in 0..8 {
        let value = format!("{round} {}", "v".repeat(30));
        world.put(&[("a", some(&value)), ("b", some(&value))]);
        world.put(&[("c", some(&value))]);
    }
    world.roll();
    world
}

#[test]
fn the_last_record_of_each_key_stays_and_offsets_do_too() {
    for codec in Codec::ALL {
        let mut world = busy(codec);
        let (before, segments) = (world.bytes(), world.segments());
        assert!(world.compact(&POLICY).unwrap());
        world.check();
        world.check_every_start();
        assert!(world.bytes() < before && world.segments() <= segments);
        let found = world.read();
        for key in ["a", "b", "c"] {
            assert_eq!(found.iter().filter(|put| put.key.as_deref() == Some(key)).count(), 1, "{key}");
        }
        world.reopen();
        world.check();
        world.check_every_start();
    }
}

#[test]
fn a_clean_log_is_left_as_it_is() {
    let mut world = busy(Codec::None);
    assert!(world.compact(&POLICY).unwrap());
    assert!(!world.compact(&POLICY).unwrap(), "nothing is dirty");
    world.roll();
    let policy = CompactionPolicy { min_dirty_permille: 1_000, ..POLICY };
    assert!(!world.compact(&policy).unwrap(), "too little is dirty");
    world.reopen();
    assert!(!world.compact(&policy).unwrap(), "how far the log is clean is remembered");
    world.check();
}

#[test]
fn the_segment_that_is_written_is_not_touched() {
    let mut world = World::new();
    (0..3).for_each(|_| world.put(&[("a", some("x"))]));
    assert!(!world.compact(&POLICY).unwrap());
    assert_eq!(world.read().len(), 3);
}

#[test]
fn young_records_are_left_alone() {
    let mut world = World::new();
    world.put(&[("a", some("old"))]);
    world.put(&[("a", some("new"))]);
    world.roll();
    let policy = CompactionPolicy { min_lag_ms: 100, ..POLICY };
    world.now = 99;
    assert!(!world.compact(&policy).unwrap());
    world.now = 100;
    assert!(world.compact(&policy).unwrap());
    world.check();
}

#[test]
fn a_tombstone_stays_for_its_time_and_what_it_deleted_never_comes_back() {
    let mut world = World::new();
    world.put(&[("a", some("1")), ("b", some("1"))]);
    world.put(&[("a", None)]);
    world.roll();
    assert!(world.compact(&POLICY).unwrap());
    let has_tombstone = |world: &World| world.read().iter().any(|put| put.value.is_none());
    assert!(has_tombstone(&world), "readers must see it");
    world.now = 999;
    world.roll();
    world.compact(&POLICY).unwrap();
    assert!(has_tombstone(&world), "its time began when it was first met");
    world.now = 1_000;
    world.reopen();
    world.roll();
    world.compact(&POLICY).unwrap();
    assert!(!has_tombstone(&world));
    world.check();
    assert!(world.read().iter().all(|put| put.key.as_deref() != Some("a")));
}

#[test]
fn an_expired_tombstone_goes_in_an_idle_log() {
    for reopened in [false, true] {
        let mut world = World::new();
        world.put(&[("a", some("1")), ("b", some("1"))]);
        world.put(&[("a", None)]);
        let policy = CompactionPolicy { min_dirty_permille: 500, ..POLICY };
        world.now = 999;
        assert!(!world.log.roll_if_old(Timestamp::from_millis(world.now)).unwrap());
        world.now = 1_000;
        assert!(world.log.roll_if_old(Timestamp::from_millis(world.now)).unwrap());
        assert!(world.compact(&policy).unwrap());
        assert!(world.due(&policy).is_none());
        world.now = 1_999;
        if reopened {
            world.reopen();
        }
        assert!(world.due(&policy).is_none());
        world.now = 2_000;
        assert!(world.compact(&policy).unwrap());
        assert_eq!(world.listing(), "1:b=1", "reopened: {reopened}");
        world.rest(&policy);
    }
}

#[test]
fn a_quiet_log_drops_its_tombstones() {
    let mut world = World::new();
    (0..60).for_each(|n| world.put(&[(&format!("k{n}"), some(&"v".repeat(40)))]));
    world.roll();
    assert!(world.compact(&POLICY).unwrap() || world.due(&POLICY).is_none());
    world.put(&[("k7", None)]);
    let policy = CompactionPolicy { min_dirty_permille: 500, ..POLICY };
    assert!(!world.compact(&policy).unwrap());
    world.rest(&policy);
    world.check();
    assert!(world.read().iter().all(|put| put.key.as_deref() != Some("k7")));
}

#[test]
fn a_replaced_tombstone_causes_no_more_passes() {
    let mut world = World::new();
    world.put(&[("a", None), ("b", some("1"))]);
    world.roll();
    assert!(world.compact(&POLICY).unwrap());
    world.put(&[("a", some("again"))]);
    world.roll();
    assert!(world.compact(&POLICY).unwrap());
    assert_eq!(world.tombstones(), [""; 0]);
    world.now = 100_000;
    world.reopen();
    assert!(
        world.due(&CompactionPolicy { min_dirty_permille: 1_000, delete_retention_ms: u64::MAX, ..POLICY }).is_none()
    );
}

#[test]
fn a_record_without_key_and_value_is_no_tombstone() {
    let mut world = World::new();
    world.put_any(&[(None, None), (Some("a"), some("1"))], None);
    world.rest(&POLICY);
    assert_eq!(world.listing(), "0:-= 1:a=1");
}

#[test]
fn records_without_a_key_stay() {
    let mut world = World::new();
    world.put_any(&[(None, some("one")), (Some("a"), some("1")), (None, None)], None);
    world.put(&[("a", some("2"))]);
    world.roll();
    assert!(world.compact(&POLICY).unwrap());
    world.check();
    assert!(world.listing().starts_with("0:-=one 2:-= 3:a=2"), "{}", world.listing());
}

#[test]
fn with_memory_for_few_keys_a_log_is_cleaned_in_parts() {
    let mut world = World::new();
    for n in 0..40 {
        world.put(&[(&format!("k{}", n % 13), some(&n.to_string())), ("always", some("x"))]);
    }
    world.roll();
    let policy = CompactionPolicy { keys_bytes: 25 * 8, ..POLICY };
    let passes = (0..100).take_while(|_| {
        Compaction::due(&world.log, &policy, Offset::MAX, Timestamp::default()).is_some() && {
            world.compact(&policy).unwrap();
            world.check();
            true
        }
    });
    let passes = passes.count();
    assert!(1 < passes && passes < 100, "{passes} passes");
    let keys: Vec<_> =
        world.read().iter().filter(|put| put.key.as_deref() != Some("filler")).map(|p| p.key.clone()).collect();
    assert!(keys.len() < 40, "most of it is gone: {}", keys.len());
}

#[test]
fn only_what_is_committed_is_compacted() {
    let world = busy(Codec::None);
    let due = |upto| Compaction::due(&world.log, &POLICY, Offset::new(upto), Timestamp::default()).is_some();
    assert!(!due(1));
    assert!(due(world.end()));
}

#[test]
fn damage_ends_the_pass_and_changes_nothing() {
    let files = |world: &World| world.memory.list(Path::new(DIR)).unwrap();
    for position in [0, 7, 13, 16, 30, 62] {
        let mut world = busy(Codec::None);
        let name = world.log.reader().segments()[1].file.clone();
        let file = world.memory.open(&Path::new(DIR).join(name)).unwrap();
        let mut byte = [0];
        file.read_at(&mut byte, position).unwrap();
        file.write_all_at(&[byte[0] ^ 1], position).unwrap();
        let before = files(&world);
        let error = world.compact(&POLICY).unwrap_err();
        assert!(matches!(error, Broken::Pass(CompactionError::Damaged { .. })), "byte {position}: {error:?}");
        assert_eq!(files(&world), before, "byte {position}");
    }
}

#[test]
fn a_reader_keeps_what_it_has_open() {
    let mut world = busy(Codec::None);
    let slices = world.log.reader().read(Offset::ZERO, 10_000, Offset::MAX).unwrap();
    let before = slices[0].read().unwrap();
    assert!(world.compact(&POLICY).unwrap());
    assert_eq!(slices[0].read().unwrap(), before);
}

#[test]
fn a_pass_publishes_nothing_once_the_log_has_changed() {
    let mut world = busy(Codec::None);
    let pass = Compaction::due(&world.log, &POLICY, Offset::MAX, Timestamp::default()).unwrap();
    let done = pass.survey(&|_| true).unwrap().step(&|_| true).unwrap().unwrap();
    assert!(world.trim(12));
    assert!(!world.log.publish(done).unwrap());
    world.check();
    world.reopen();
    world.check();
    assert!(world.memory.list(Path::new(DIR)).unwrap().iter().all(|entry| !entry.name.ends_with(".tmp")));
}

#[test]
fn a_pass_never_marks_truncated_offsets_as_clean() {
    let mut world = busy(Codec::None);
    let pass = Compaction::due(&world.log, &POLICY, Offset::MAX, Timestamp::default()).unwrap();
    let mut pass = pass.survey(&|_| true).unwrap();
    world.log.truncate(Offset::new(world.end() - 1)).unwrap();
    while let Some(done) = pass.step(&|_| true).unwrap() {
        assert!(!world.log.publish(done).unwrap());
    }
    world.reopen();
    assert!(
        Compaction::due(&world.log, &POLICY, Offset::MAX, Timestamp::default()).is_some(),
        "all of it is still dirty"
    );
}

#[test]
fn a_pass_stops_when_it_is_told_to() {
    let mut world = busy(Codec::None);
    let due = |world: &World| Compaction::due(&world.log, &POLICY, Offset::MAX, Timestamp::default()).unwrap();
    assert!(matches!(due(&world).survey(&|_| false), Err(CompactionError::Stopped)));
    let mut pass = due(&world).survey(&|_| true).unwrap();
    assert!(matches!(pass.step(&|_| false), Err(CompactionError::Stopped)));
    assert!(world.memory.list(Path::new(DIR)).unwrap().iter().all(|entry| !entry.name.ends_with(".tmp")));
    assert!(world.compact(&POLICY).unwrap());
}

#[test]
fn retries_are_recognised_after_their_records_are_gone() {
    for lose_snapshot in [false, true] {
        let mut world = World::new();
        for sequence in 0..9 {
            world.put_any(&[(Some("a"), some("x"))], Some(sequence));
        }
        world.put(&[("a", some("last"))]);
        world.roll();
        world.roll();
        assert!(world.compact(&POLICY).unwrap());
        assert!(world.listing().starts_with("9:a=last"), "{}", world.listing());
        if lose_snapshot {
            world.memory.remove_file(&Path::new(DIR).join("producers.snapshot")).unwrap();
        }
        world.reopen();
        for sequence in 4..9 {
            let again = batch(&[(Some("a"), some("x"))], Codec::None, 0, Some(sequence));
            let answer = world.log.append(again, LeaderEpoch::new(1), Timestamp::default()).unwrap();
            assert!(answer.duplicate && answer.base_offset == Offset::new(sequence as u64), "{sequence}: {answer:?}");
        }
        world.put_any(&[(Some("a"), some("next"))], Some(9));
        world.check();
    }
}

#[test]
fn epochs_begin_where_they_began() {
    let mut world = World::new();
    for epoch in 1..6 {
        world.epoch = epoch;
        (0..3).for_each(|_| world.put(&[("a", some("x"))]));
    }
    world.roll();
    let ends = |world: &World| {
        (1..6).map(|epoch| world.log.reader().end_of_epoch(LeaderEpoch::new(epoch))).collect::<Vec<_>>()
    };
    let before = ends(&world);
    assert!(world.compact(&POLICY).unwrap());
    world.memory.remove_file(&Path::new(DIR).join("leader-epochs")).unwrap();
    world.reopen();
    assert_eq!(ends(&world), before, "the batches that are left tell as much");
    world.check();
}

#[test]
fn retention_counts_records_that_compaction_removed() {
    let mut world = busy(Codec::None);
    assert!(world.compact(&POLICY).unwrap());
    let second = world.log.reader().segments()[1].base_offset.value();
    let written = world.end() - second;
    let left = world.read_from(second).len() as u64;
    assert!(left < written, "compaction took something of what remains");
    let mut start = |messages| {
        let limits = RetentionLimits { messages: Some(messages), ..RetentionLimits::default() };
        world.log.retain(Timestamp::from_millis(world.now), &limits, Offset::MAX).unwrap().value()
    };
    assert_eq!(start(written + 1), 0, "the others do not have that many");
    assert_eq!(start(written), second, "as many were written to them, of which {left} are left");
}

#[test]
fn a_time_is_found_among_what_is_left() {
    let mut world = World::new();
    for n in 0..10 {
        world.now = n * 100;
        world.put(&[(if n % 2 == 0 { "a" } else { "b" }, some("x"))]);
    }
    world.roll();
    assert!(world.compact(&POLICY).unwrap());
    let find = |millis| world.log.reader().offset_for_time(Timestamp::from_millis(millis), Offset::MAX).unwrap();
    assert_eq!(find(0).map(|found| found.offset.value()), Some(8));
    assert_eq!(find(850).map(|found| found.offset.value()), Some(9));
}
