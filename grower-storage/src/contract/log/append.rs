//! Offsets, segments, epochs, flushing.

use super::LogPromise;
use super::kit::{EPOCH, Kit, batch, stamp};
use crate::log::{AppendError, ChangeError, LogOptions, TryAppend};
use grower_protocol::ids::{LeaderEpoch, Offset};

pub(super) const PROMISES: &[LogPromise] = &[
    an_empty_log_spans_nothing,
    offsets_are_dense,
    a_segment_rolls_before_it_would_grow_too_large,
    a_segment_rolls_before_it_would_hold_too_many_records,
    a_segment_rolls_when_it_is_too_old,
    a_segment_rolls_when_it_is_old_although_nothing_is_appended,
    a_segment_rolls_when_nothing_was_appended_for_long,
    a_batch_larger_than_a_segment_gets_one_of_its_own,
    a_tried_append_neither_rolls_nor_begins_an_epoch,
    a_batch_that_expects_another_end_is_refused_with_the_end,
    a_retry_of_a_batch_that_is_in_the_log_meets_any_end,
    a_flush_makes_durable_what_was_appended_before_it,
    a_flush_point_from_before_a_truncation_says_nothing,
    a_failed_sync_fails_the_log_for_ever,
    an_epoch_ends_where_the_next_begins,
    an_epoch_never_falls_back,
];

fn an_empty_log_spans_nothing(kit: &mut Kit) {
    assert_eq!(kit.span(), (0, 0));
    assert_eq!(kit.read(0), [""; 0]);
    assert!(kit.log.reader().segments().is_empty(), "nothing exists before the first append");
    assert!(kit.log.flush_point().files.is_empty());
    kit.log.checkpoint(kit.now()).unwrap();
    assert!(kit.log.reader().segments().is_empty());
}

fn offsets_are_dense(kit: &mut Kit) {
    let offsets = |appended: crate::log::Appended| (appended.base_offset.value(), appended.next_offset.value());
    assert_eq!(offsets(kit.append(&["a", "b"])), (0, 2));
    assert_eq!(offsets(kit.append(&["c"])), (2, 3));
    assert_eq!(kit.read(0), ["0:a", "1:b", "2:c"]);
}

fn bases(kit: &Kit) -> Vec<u64> {
    kit.log.reader().segments().iter().map(|segment| segment.base_offset.value()).collect()
}

fn a_segment_rolls_before_it_would_grow_too_large(kit: &mut Kit) {
    let size = kit.append(&["0"]).next_offset.value();
    assert_eq!(size, 1);
    let bytes = kit.log.reader().segments()[0].bytes;
    let fits = 400 / bytes;
    kit.fill(fits);
    assert_eq!(bases(kit), [0, fits]);
    let segments = kit.log.reader().segments();
    assert_eq!((segments[0].bytes, segments[0].records), (fits * bytes, fits));
    assert_eq!((segments[0].active, segments[1].active), (false, true));
    assert_eq!(segments[0].file, "00000000000000000000.growerlog");
    assert_eq!(segments[1].index_file, format!("{fits:020}.growerindex"));
}

fn a_segment_rolls_before_it_would_hold_too_many_records(kit: &mut Kit) {
    kit.log.configure(LogOptions { segment_messages: Some(3), segment_bytes: 1 << 20, ..LogOptions::tiny() });
    kit.fill(3);
    kit.append(&["a", "b", "c", "d"]);
    kit.append(&["e"]);
    assert_eq!(bases(kit), [0, 3, 7], "a batch is never split, and an empty segment takes any");
}

fn a_segment_rolls_when_it_is_too_old(kit: &mut Kit) {
    kit.append(&["a"]);
    kit.now += 999;
    assert!(!kit.append(&["b"]).rolled);
    kit.now += 1;
    assert!(kit.append(&["c"]).rolled);
    assert_eq!(bases(kit), [0, 2]);
}

/// Whether it is old, and whether it rolled; both must say the same.
fn roll_if_old(kit: &mut Kit) -> bool {
    let now = kit.now();
    let old = kit.log.is_old(now);
    assert_eq!(kit.log.roll_if_old(now).unwrap(), old);
    old
}

fn a_segment_rolls_when_it_is_old_although_nothing_is_appended(kit: &mut Kit) {
    kit.now += 5_000;
    assert!(!roll_if_old(kit), "there is nothing in it");
    kit.append(&["a"]);
    kit.now += 999;
    assert!(!roll_if_old(kit));
    kit.append(&["b"]);
    kit.now += 1;
    assert!(roll_if_old(kit));
    assert_eq!((bases(kit), kit.log.durable_end()), (vec![0, 2], Offset::new(2)));
    kit.now += 1_000_000;
    assert!(!roll_if_old(kit), "a quiet log rolls once");
    kit.append(&["c"]);
    kit.now += 999;
    assert!(!kit.append(&["d"]).rolled, "its age counts from its first append");
    assert_eq!(kit.read(0), ["0:a", "1:b", "2:c", "3:d"]);
}

fn a_segment_rolls_when_nothing_was_appended_for_long(kit: &mut Kit) {
    kit.log.configure(LogOptions { segment_ms: u64::MAX, segment_quiet_ms: 100, ..LogOptions::tiny() });
    for _ in 0..3 {
        kit.append(&["a"]);
        kit.now += 99;
        assert!(!roll_if_old(kit));
    }
    kit.now += 1;
    assert!(roll_if_old(kit));
    assert_eq!(bases(kit), [0, 3]);
    kit.now += 1_000_000;
    assert!(!roll_if_old(kit));
}

fn a_batch_larger_than_a_segment_gets_one_of_its_own(kit: &mut Kit) {
    kit.append(&["small"]);
    kit.append(&[&"large".repeat(200)]);
    kit.append(&["small"]);
    assert_eq!(bases(kit), [0, 1, 2]);
    assert_eq!(kit.read(1).len(), 2);
}

fn a_tried_append_neither_rolls_nor_begins_an_epoch(kit: &mut Kit) {
    let mut epoch = EPOCH;
    for step in 0..40 {
        if step % 13 == 12 {
            epoch = LeaderEpoch::new(epoch.value() + 1);
        }
        let now = kit.now();
        let batch = batch(&["a record of some length"], now, None);
        let (segments, epochs) = (bases(kit).len(), kit.log.reader().end_of_epoch(epoch).map(|end| end.epoch));
        let appended = match kit.log.try_append(batch, epoch, now).unwrap() {
            TryAppend::Appended(_) => true,
            TryAppend::WouldWait(batch) => kit.log.append(batch, epoch, now).map(|_| false).unwrap(),
        };
        let changed =
            (bases(kit).len(), kit.log.reader().end_of_epoch(epoch).map(|end| end.epoch)) != (segments, epochs);
        let in_files = !kit.log.flush_point().files.is_empty();
        assert!(!(in_files && appended && changed), "step {step}");
        assert!(changed || appended, "step {step}: nothing but the batch is written");
    }
}

fn a_batch_that_expects_another_end_is_refused_with_the_end(kit: &mut Kit) {
    let now = kit.now();
    let expecting = |end| batch(&["x", "y"], now, None).expecting_end(Some(Offset::new(end)));
    for end in 0..20u64 {
        // The past, a batch behind, and the future. Those that roll, and those that do not.
        for other in [0, (2 * end).saturating_sub(2), 2 * end + 1, 2 * end + 2, 1 << 40, Offset::MAX.value()] {
            let refused = |refused: Result<(), AppendError>| match refused {
                Err(AppendError::UnexpectedEnd { expected, end: found }) => {
                    assert_eq!((expected, found), (Offset::new(other), Offset::new(2 * end)));
                }
                refused => panic!("{other} at {end}: {refused:?}"),
            };
            if other != 2 * end {
                refused(kit.log.append(expecting(other), EPOCH, now).map(drop));
                match kit.log.try_append(expecting(other), EPOCH, now) {
                    Ok(TryAppend::WouldWait(batch)) => refused(kit.log.append(batch, EPOCH, now).map(drop)),
                    tried => refused(tried.map(drop)),
                }
            }
        }
        assert_eq!(kit.span(), (0, 2 * end), "nothing was written");
        let appended = match kit.log.try_append(expecting(2 * end), EPOCH, now).unwrap() {
            TryAppend::Appended(appended) => appended,
            TryAppend::WouldWait(batch) => kit.log.append(batch, EPOCH, now).unwrap(),
        };
        assert_eq!(appended.base_offset, Offset::new(2 * end));
    }
}

fn a_retry_of_a_batch_that_is_in_the_log_meets_any_end(kit: &mut Kit) {
    let now = kit.now();
    let numbered = |sequence, end| batch(&["x"], now, stamp(7, 0, sequence)).expecting_end(Some(Offset::new(end)));
    kit.log.append(numbered(0, 0), EPOCH, now).unwrap();
    kit.append(&["another"]);
    let again = kit.log.append(numbered(0, 0), EPOCH, now).unwrap();
    assert!(again.duplicate && again.base_offset == Offset::ZERO);
    let refused = kit.log.append(numbered(1, 1), EPOCH, now);
    assert!(matches!(refused, Err(AppendError::UnexpectedEnd { end, .. }) if end == Offset::new(2)));
    kit.log.append(numbered(1, 2), EPOCH, now).expect("a refused batch took no sequence");
}

fn a_flush_makes_durable_what_was_appended_before_it(kit: &mut Kit) {
    kit.append(&["a"]);
    let point = kit.log.flush_point();
    assert_eq!(point.end, Offset::new(1));
    kit.append(&["b"]);
    assert_eq!(kit.log.flushed(&point, Ok(())).unwrap(), Offset::new(1));
    assert_eq!(kit.log.durable_end(), Offset::new(1));
    assert_eq!(kit.flush(), Offset::new(2));
    assert!(kit.log.flush_point().files.is_empty(), "there is nothing left to sync");
    kit.fill(9); // Rolls.
    assert_eq!(kit.log.flushed(&point, Ok(())).unwrap(), kit.log.durable_end(), "an old point takes nothing back");
    assert_eq!(kit.flush(), Offset::new(11));
}

fn a_flush_point_from_before_a_truncation_says_nothing(kit: &mut Kit) {
    kit.fill(3);
    let point = kit.log.flush_point();
    kit.log.truncate(Offset::new(1)).unwrap();
    kit.append(&["new"]);
    if !point.files.is_empty() {
        assert_eq!(kit.log.flushed(&point, Ok(())).unwrap(), Offset::new(1));
    }
    assert_eq!(kit.flush(), Offset::new(2));
}

fn a_failed_sync_fails_the_log_for_ever(kit: &mut Kit) {
    kit.append(&["a"]);
    let point = kit.log.flush_point();
    let error = crate::disk::DiskError::at("sync", "the file".as_ref())(std::io::Error::other("broken"));
    assert!(kit.log.flushed(&point, Err(error)).is_err());
    assert!(kit.log.flushed(&point, Ok(())).is_err(), "a second sync that succeeds proves nothing");
    let now = kit.now();
    let refused = kit.log.append(batch(&["b"], now, None), EPOCH, now);
    assert!(matches!(refused, Err(AppendError::Failed(_))));
    assert!(matches!(kit.log.truncate(Offset::ZERO), Err(ChangeError::Failed(_))));
    assert!(matches!(kit.log.checkpoint(now), Err(ChangeError::Failed(_))));
}

fn an_epoch_ends_where_the_next_begins(kit: &mut Kit) {
    let end = |kit: &Kit, epoch| {
        let found = kit.log.reader().end_of_epoch(LeaderEpoch::new(epoch));
        found.map(|found| (found.epoch.value(), found.end.value()))
    };
    kit.log.begin_epoch(LeaderEpoch::new(1)).unwrap();
    kit.fill(2);
    kit.log.begin_epoch(LeaderEpoch::new(4)).unwrap();
    assert_eq!(end(kit, 3), Some((1, 2)));
    assert_eq!(end(kit, 4), Some((4, 2)));
    assert_eq!(end(kit, 0), None);
    let now = kit.now();
    kit.log.append(batch(&["c"], now, None), LeaderEpoch::new(6), now).unwrap();
    assert_eq!(end(kit, 5), Some((1, 2)), "epoch 4 appended nothing");
    assert_eq!(end(kit, 9), Some((6, 3)));
}

fn an_epoch_never_falls_back(kit: &mut Kit) {
    kit.log.begin_epoch(LeaderEpoch::new(5)).unwrap();
    let now = kit.now();
    let stale = kit.log.append(batch(&["a"], now, None), LeaderEpoch::new(4), now);
    assert!(matches!(stale, Err(AppendError::StaleEpoch { .. })));
    assert!(matches!(kit.log.begin_epoch(LeaderEpoch::new(4)), Err(ChangeError::StaleEpoch { .. })));
    assert_eq!(kit.span(), (0, 0));
}
