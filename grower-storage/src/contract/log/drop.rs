//! Truncating, trimming, retention, sealing.

use super::LogPromise;
use super::kit::{EPOCH, Kit};
use crate::log::{ChangeError, RetentionLimits};
use grower_protocol::ids::{LeaderEpoch, Offset};

pub(super) const PROMISES: &[LogPromise] = &[
    truncating_drops_the_suffix,
    truncating_inside_a_batch_drops_all_of_it,
    truncating_outside_is_an_error,
    truncating_everything_leaves_an_empty_log_in_place,
    trimming_drops_whole_segments_and_moves_the_start,
    trimming_backwards_changes_nothing,
    the_log_start_is_durable,
    trimming_everything_keeps_the_log_end,
    retention_keeps_at_least_its_limit,
    retention_by_age_drops_even_the_active_segment,
    a_sealed_log_is_durable_and_takes_appends,
];

fn a_sealed_log_is_durable_and_takes_appends(kit: &mut Kit) {
    let Some(files) = kit.log.files() else { return };
    assert_eq!(files.seal(Default::default()).unwrap(), [], "an empty log has no files yet");
    for end in [3, 3, 7] {
        kit.fill(end - kit.span().1);
        kit.log.files().expect("it had files").seal(Default::default()).unwrap();
        assert_eq!(kit.log.durable_end(), Offset::new(end));
        assert_eq!(kit.read(0).len() as u64, end);
    }
    kit.log.truncate(Offset::new(2)).unwrap();
    kit.append(&["new"]);
    assert_eq!(kit.read(2), ["2:new"]);
}

fn truncating_drops_the_suffix(kit: &mut Kit) {
    for end in [29, 17, 6, 1] {
        kit.fill(30 - kit.span().1);
        kit.log.truncate(Offset::new(end)).unwrap();
        assert_eq!(kit.span(), (0, end));
        assert_eq!(kit.read(0).len() as u64, end);
        assert_eq!(kit.log.durable_end(), Offset::new(end), "a truncation is durable");
        kit.append(&["new"]);
        assert_eq!(kit.read(end), [format!("{end}:new")]);
        kit.log.reader().check(Offset::ZERO..Offset::new(end)).unwrap();
    }
}

fn truncating_inside_a_batch_drops_all_of_it(kit: &mut Kit) {
    kit.append(&["a", "b"]);
    kit.append(&["c", "d"]);
    kit.log.truncate(Offset::new(3)).unwrap();
    assert_eq!(kit.span(), (0, 2));
}

fn truncating_outside_is_an_error(kit: &mut Kit) {
    kit.fill(3);
    assert!(matches!(kit.log.truncate(Offset::new(4)), Err(ChangeError::OffsetOutOfRange { .. })));
    kit.log.truncate(Offset::new(3)).unwrap();
    assert_eq!(kit.span(), (0, 3));
}

fn truncating_everything_leaves_an_empty_log_in_place(kit: &mut Kit) {
    kit.fill(20);
    kit.log.trim(Offset::new(12)).unwrap();
    kit.log.truncate(Offset::new(12)).unwrap();
    assert_eq!(kit.span(), (12, 12));
    assert_eq!(kit.append(&["new"]).base_offset, Offset::new(12));
    assert_eq!(kit.read(12), ["12:new"]);
    assert!(matches!(kit.log.begin_epoch(LeaderEpoch::new(0)), Err(ChangeError::StaleEpoch { .. })));
    kit.log.begin_epoch(EPOCH).unwrap();
}

fn trimming_drops_whole_segments_and_moves_the_start(kit: &mut Kit) {
    kit.fill(30);
    kit.log.trim(Offset::new(13)).unwrap();
    assert_eq!(kit.span(), (13, 30));
    assert_eq!(kit.read(13).len(), 17);
    let segments = kit.log.reader().segments();
    assert!(segments[0].base_offset <= Offset::new(13) && Offset::new(13) < segments[0].end_offset);
}

fn trimming_backwards_changes_nothing(kit: &mut Kit) {
    kit.fill(10);
    kit.log.trim(Offset::new(5)).unwrap();
    kit.log.trim(Offset::new(2)).unwrap();
    assert_eq!(kit.span(), (5, 10));
    assert!(matches!(kit.log.trim(Offset::new(11)), Err(ChangeError::OffsetOutOfRange { .. })));
}

fn the_log_start_is_durable(kit: &mut Kit) {
    kit.fill(10);
    kit.log.trim(Offset::new(5)).unwrap();
    assert!(Offset::new(5) <= kit.log.durable_end());
}

fn trimming_everything_keeps_the_log_end(kit: &mut Kit) {
    kit.fill(30);
    kit.log.trim(Offset::new(30)).unwrap();
    assert_eq!(kit.span(), (30, 30));
    assert_eq!(kit.log.reader().segments().iter().map(|segment| segment.bytes).sum::<u64>(), 0);
    assert_eq!(kit.append(&["new"]).base_offset, Offset::new(30));
    assert_eq!(kit.read(30), ["30:new"]);
}

fn retain(kit: &mut Kit, limits: RetentionLimits) -> u64 {
    let now = kit.now();
    kit.log.retain(now, &limits, Offset::MAX).unwrap().value()
}

fn retention_keeps_at_least_its_limit(kit: &mut Kit) {
    kit.fill(30);
    let segments = kit.log.reader().segments();
    let from_second: u64 = segments[1..].iter().map(|segment| segment.bytes).sum();
    let nothing = RetentionLimits::default();
    assert_eq!(retain(kit, nothing), 0);
    assert_eq!(retain(kit, RetentionLimits { bytes: Some(from_second + 1), ..nothing }), 0);
    let second = segments[1].base_offset.value();
    assert_eq!(retain(kit, RetentionLimits { bytes: Some(from_second), ..nothing }), second);
    assert_eq!(retain(kit, RetentionLimits { messages: Some(30 - second + 1), ..nothing }), second);
    let last = segments[segments.len() - 1].base_offset.value();
    assert_eq!(retain(kit, RetentionLimits { messages: Some(1), ..nothing }), last);
    assert_eq!(kit.span().1, 30);
}

fn retention_by_age_drops_even_the_active_segment(kit: &mut Kit) {
    let limits = RetentionLimits { ms: Some(100), ..RetentionLimits::default() };
    kit.fill(3);
    kit.now = 100;
    assert_eq!(retain(kit, limits), 0);
    kit.now = 101;
    assert_eq!(retain(kit, limits), 3);
    assert_eq!(kit.span(), (3, 3));
    assert_eq!(retain(kit, limits), 3, "an empty log has nothing to drop");
    assert_eq!(kit.append(&["new"]).base_offset, Offset::new(3));
}
