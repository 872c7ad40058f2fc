//! Whether a pass is due, and which segments become one: pure decisions.

use super::CompactionPolicy;
use crate::segment::{DeleteHorizon, Segment, SegmentStats};
use grower_protocol::ids::{Offset, Timestamp};
use std::ops::Range;

/// A sealed segment, as the planner sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CompactionCandidate {
    pub(crate) base: Offset,
    /// The offset after its last record.
    pub(crate) end: Offset,
    pub(crate) bytes: u64,
    /// None if unknown.
    pub(crate) max_timestamp: Option<Timestamp>,
    /// When its first tombstones may go; none if it has none that a pass has seen.
    pub(crate) delete_horizon: Option<Timestamp>,
}

impl CompactionCandidate {
    pub(super) fn of(segment: &Segment) -> Self {
        let SegmentStats { end, bytes, max_timestamp, .. } = segment.stats();
        let delete_horizon = match segment.delete_horizon() {
            DeleteHorizon::Known(horizon) => horizon,
            DeleteHorizon::Unknown => None, // The next pass is due without it, or once it is known.
        };
        Self { base: segment.base, end, bytes, max_timestamp, delete_horizon }
    }
}

/// A batch counts its offsets in 31 bits, an index in 32.
const OFFSETS_MAX: u64 = i32::MAX as u64;

/// A quiet log is read whole for a few dirty bytes, but at no higher rate than this: a MiB a second.
const QUIET_BYTES_PER_MS: u64 = (1 << 20) / 1000;

/// How many of the candidates, oldest first, a pass may touch; none if no pass is due.
///
/// Dirty records are those that no pass has seen: those after the start of `dirty`, which ends with the log. Records
/// younger than the policy's lag are left alone, and so are all after them. A pass is due for one of three reasons,
/// which the pass removes:
/// - Enough is dirty.
/// - Tombstones have expired, so they can go.
/// - Something is dirty, and all of the log has been quiet for longer than a tombstone stays. Then no further records
///   may come, and there may be tombstones that no pass has seen.
pub(crate) fn due(
    candidates: &[CompactionCandidate],
    dirty: Range<Offset>,
    now: Timestamp,
    policy: &CompactionPolicy,
) -> Option<usize> {
    let younger = |candidate: &CompactionCandidate, ms| {
        candidate.max_timestamp.is_some_and(|latest| now.millis_since(latest) < ms)
    };
    let count = candidates.iter().take_while(|candidate| !younger(candidate, policy.min_lag_ms)).count();
    let candidates = candidates.get(..count).unwrap_or_default();
    let bytes_of = |from| {
        candidates
            .iter()
            .filter(|candidate| from < candidate.end)
            .map(|candidate| candidate.bytes)
            .fold(0, u64::saturating_add)
    };
    let (all_bytes, dirty_bytes) = (bytes_of(Offset::ZERO), bytes_of(dirty.start));
    let enough_dirty = u128::from(all_bytes) * u128::from(policy.min_dirty_permille) <= u128::from(dirty_bytes) * 1000;
    let quiet_ms = policy.delete_retention_ms.max(all_bytes / QUIET_BYTES_PER_MS);
    let whole = candidates.last().is_some_and(|last| last.end == dirty.end);
    let quiet = whole && !candidates.iter().any(|candidate| younger(candidate, quiet_ms));
    let over = |candidate: &CompactionCandidate| candidate.delete_horizon.is_some_and(|horizon| horizon <= now);
    (0 < dirty_bytes && (enough_dirty || quiet) || candidates.iter().any(over)).then_some(count)
}

/// Which neighbours are written into one segment: as many as fit `bytes_max`, for all that begin before `end`. Segments
/// on both sides of a loss are no neighbours.
pub(crate) fn groups(candidates: &[CompactionCandidate], end: Offset, bytes_max: u64) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    debug_assert!(candidates.is_sorted_by(|a, b| a.end <= b.base), "candidates are in order");
    let (mut base, mut next, mut bytes) = (Offset::ZERO, Offset::ZERO, 0);
    for (at, candidate) in candidates.iter().enumerate().take_while(|(_, candidate)| candidate.base < end) {
        let follows = candidate.base == next;
        let fits = bytes + candidate.bytes <= bytes_max && candidate.end.since(base) <= OFFSETS_MAX;
        match groups.last_mut() {
            Some(group) if follows && fits => group.end = at + 1,
            _ => {
                groups.push(at..at + 1);
                (base, bytes) = (candidate.base, 0);
            }
        }
        bytes += candidate.bytes;
        next = candidate.end;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: CompactionPolicy =
        CompactionPolicy { min_dirty_permille: 500, min_lag_ms: 0, delete_retention_ms: 0, keys_bytes: 0 };

    /// Segments of 10 offsets, with these sizes, their latest timestamps 1000, 2000, ..
    fn candidates(bytes: &[u64]) -> Vec<CompactionCandidate> {
        let candidate = |(n, bytes): (u64, &u64)| CompactionCandidate {
            base: Offset::new(n * 10),
            end: Offset::new(n * 10 + 10),
            bytes: *bytes,
            max_timestamp: Some(Timestamp::from_millis((n as i64 + 1) * 1000)),
            delete_horizon: None,
        };
        (0..).zip(bytes).map(candidate).collect()
    }

    #[test]
    fn segments_on_both_sides_of_a_loss_are_not_merged() {
        let mut candidates = candidates(&[100, 100, 100]);
        candidates[0].end = Offset::new(5); // The file that held 5..10 was lost.
        assert_eq!(groups(&candidates, Offset::MAX, 1_000), [0..1, 1..3]);
    }

    /// With an active segment that has records.
    fn due_at(bytes: &[u64], cleaned_end: u64, now: i64, policy: &CompactionPolicy) -> Option<usize> {
        due(&candidates(bytes), Offset::new(cleaned_end)..Offset::MAX, Timestamp::from_millis(now), policy)
    }

    #[test]
    fn a_pass_is_due_for_expired_tombstones_alone() {
        let mut candidates = candidates(&[100, 100, 100]);
        candidates[1].delete_horizon = Some(Timestamp::from_millis(9_000));
        let policy = CompactionPolicy { min_lag_ms: 500, ..POLICY };
        let due_at = |now| due(&candidates, Offset::new(30)..Offset::MAX, Timestamp::from_millis(now), &policy);
        assert_eq!(due_at(8_999), None);
        assert_eq!(due_at(9_000), Some(3));
        let young = CompactionPolicy { min_lag_ms: 7_500, ..POLICY };
        let due_at = |now| due(&candidates, Offset::new(30)..Offset::MAX, Timestamp::from_millis(now), &young);
        assert_eq!(due_at(9_000), None, "no pass may touch the segment that has them");
        assert_eq!(due_at(9_500), Some(2));
    }

    #[test]
    fn a_quiet_log_is_compacted_once_for_a_few_dirty_bytes() {
        let policy = CompactionPolicy { delete_retention_ms: 2_000, ..POLICY };
        let due = |bytes: &[u64], dirty, now| due(&candidates(bytes), dirty, Timestamp::from_millis(now), &policy);
        let (little, none) = (Offset::new(10)..Offset::new(20), Offset::new(20)..Offset::new(20));
        assert_eq!(due(&[100, 1], little.clone(), 3_999), None);
        assert_eq!(due(&[100, 1], little.clone(), 4_000), Some(2));
        assert_eq!(due(&[100, 1], none, 4_000), None);
        assert_eq!(due(&[100, 1], Offset::new(10)..Offset::new(21), 4_000), None, "the active segment has a record");
        assert_eq!(due(&[100 << 20, 1], little.clone(), 100_000), None, "reading all of it is not worth it yet");
        assert_eq!(due(&[100 << 20, 1], little, 103_000), Some(2));
    }

    #[test]
    fn a_pass_is_due_when_half_of_the_bytes_are_dirty() {
        assert_eq!(due_at(&[], 0, 0, &POLICY), None);
        assert_eq!(due_at(&[100], 0, 0, &POLICY), Some(1));
        assert_eq!(due_at(&[100], 10, 0, &POLICY), None);
        assert_eq!(due_at(&[100, 99], 10, 0, &POLICY), None);
        assert_eq!(due_at(&[100, 100], 10, 0, &POLICY), Some(2));
        assert_eq!(due_at(&[100, 100], 15, 0, &POLICY), Some(2), "what was cleaned in part is dirty");
    }

    #[test]
    fn without_a_ratio_any_dirty_byte_is_enough() {
        let policy = CompactionPolicy { min_dirty_permille: 0, ..POLICY };
        assert_eq!(due_at(&[u64::MAX, 1], 10, 0, &policy), Some(2));
        assert_eq!(due_at(&[u64::MAX, 1], 20, 0, &policy), None);
    }

    #[test]
    fn young_records_and_all_after_them_are_left_alone() {
        let policy = CompactionPolicy { min_lag_ms: 500, ..POLICY };
        assert_eq!(due_at(&[1, 1, 1], 0, 1_499, &policy), None);
        assert_eq!(due_at(&[1, 1, 1], 0, 1_500, &policy), Some(1));
        assert_eq!(due_at(&[1, 1, 1], 0, 2_600, &policy), Some(2));
    }

    #[test]
    fn small_neighbours_become_one_up_to_the_size_of_a_segment() {
        let groups = |end| groups(&candidates(&[40, 40, 40, 300, 10, 10]), Offset::new(end), 100);
        assert_eq!(groups(60), [0..2, 2..3, 3..4, 4..6]);
        assert_eq!(groups(20), vec![0..2]);
        assert_eq!(groups(21), [0..2, 2..3], "a segment that is cleaned in part is rewritten, too");
    }

    #[test]
    fn offsets_stay_within_what_an_index_can_count() {
        let far = |base, end| CompactionCandidate {
            base: Offset::new(base),
            end: Offset::new(end),
            bytes: 1,
            max_timestamp: None,
            delete_horizon: None,
        };
        let candidates =
            [far(5, OFFSETS_MAX), far(OFFSETS_MAX, OFFSETS_MAX + 5), far(OFFSETS_MAX + 5, OFFSETS_MAX + 6)];
        assert_eq!(groups(&candidates, Offset::MAX, 100), [0..2, 2..3]);
    }
}
