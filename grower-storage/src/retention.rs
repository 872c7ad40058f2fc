//! Which segments retention drops: a pure decision.

use crate::options::RetentionLimits;
use crate::segment::SegmentStats;
use grower_protocol::ids::{Offset, Timestamp};

/// The new log start, if any segment is dropped. `segments` are oldest first; the last one is active, and is dropped
/// like the others.
///
/// The oldest is dropped while it is too old, or while the *others* still meet a limit on bytes or messages: a limit
/// says how much is kept at least. An empty segment has no age or size of its own; it is dropped with those before it.
/// A segment with records at or after `committed` stays.
pub(crate) fn new_start(
    segments: &[SegmentStats],
    now: Timestamp,
    limits: &RetentionLimits,
    committed: Offset,
) -> Option<Offset> {
    let mut bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let mut records: u64 = segments.iter().map(|segment| segment.records).sum();
    debug_assert!(segments.is_sorted_by_key(|segment| segment.end), "segments are oldest first");
    let mut start = None;
    for (at, segment) in segments.iter().enumerate().take_while(|(_, segment)| 0 < segment.records) {
        bytes -= segment.bytes;
        records -= segment.records;
        // Damage may hide a segment's timestamps: then it is as old as the next one.
        let latest = segments[at..].iter().find_map(|segment| segment.max_timestamp);
        let expired = limits.ms.zip(latest).is_some_and(|(ms, latest)| ms < now.millis_since(latest));
        let enough_bytes = limits.bytes.is_some_and(|limit| limit <= bytes);
        let enough_records = limits.messages.is_some_and(|limit| limit <= records);
        if committed < segment.end || !(expired || enough_bytes || enough_records) {
            break;
        }
        start = Some(segment.end);
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three segments of 100 bytes and 10 records, their latest timestamps 1000, 2000, 3000.
    fn start(now: i64, limits: RetentionLimits) -> Option<u64> {
        let stats = |n: u64| SegmentStats {
            end: Offset::new(n * 10),
            bytes: 100,
            records: 10,
            max_timestamp: Some(Timestamp::from_millis(n as i64 * 1000)),
        };
        new_start(&[stats(1), stats(2), stats(3)], Timestamp::from_millis(now), &limits, Offset::MAX).map(Offset::value)
    }

    const KEEP: RetentionLimits = RetentionLimits { ms: None, bytes: None, messages: None };

    #[test]
    fn without_limits_everything_stays() {
        assert_eq!(start(i64::MAX, KEEP), None);
    }

    #[test]
    fn the_oldest_goes_while_what_remains_meets_the_limit() {
        let bytes = |limit| start(0, RetentionLimits { bytes: Some(limit), ..KEEP });
        assert_eq!(bytes(201), None);
        assert_eq!(bytes(200), Some(10));
        assert_eq!(bytes(101), Some(10));
        assert_eq!(bytes(100), Some(20));
        assert_eq!(bytes(1), Some(20), "the last one is what meets the limit");
        assert_eq!(bytes(0), Some(30));
        let messages = |limit| start(0, RetentionLimits { messages: Some(limit), ..KEEP });
        assert_eq!(messages(21), None);
        assert_eq!(messages(20), Some(10));
        assert_eq!(messages(10), Some(20));
    }

    #[test]
    fn a_segment_goes_when_its_latest_record_is_too_old() {
        let ms = |now| start(now, RetentionLimits { ms: Some(500), ..KEEP });
        assert_eq!(ms(1500), None);
        assert_eq!(ms(1501), Some(10));
        assert_eq!(ms(2501), Some(20));
        assert_eq!(ms(3501), Some(30), "an expired active segment goes too");
        assert_eq!(ms(-5_000), None, "a clock that went back expires nothing");
    }

    #[test]
    fn a_segment_of_unknown_age_goes_with_the_next() {
        let stats = |max_timestamp, end| SegmentStats { end: Offset::new(end), bytes: 100, records: 10, max_timestamp };
        let known = Some(Timestamp::from_millis(1_000));
        let start = |now| {
            let limits = RetentionLimits { ms: Some(500), ..KEEP };
            new_start(&[stats(None, 10), stats(known, 20)], Timestamp::from_millis(now), &limits, Offset::MAX)
                .map(Offset::value)
        };
        assert_eq!(start(1_500), None);
        assert_eq!(start(1_501), Some(20));
    }

    #[test]
    fn a_segment_whose_records_are_not_all_committed_stays() {
        let stats = |n: u64| SegmentStats { end: Offset::new(n * 10), bytes: 100, records: 10, max_timestamp: None };
        let limits = RetentionLimits { ms: None, bytes: Some(0), messages: None };
        let start = |committed| new_start(&[stats(1), stats(2)], Timestamp::MAX, &limits, Offset::new(committed));
        assert_eq!(
            [9, 10, 19, 20].map(|committed| start(committed).map(Offset::value)),
            [None, Some(10), Some(10), Some(20)]
        );
    }

    #[test]
    fn an_empty_segment_is_not_dropped_alone() {
        let empty = SegmentStats { end: Offset::ZERO, bytes: 0, records: 0, max_timestamp: None };
        let limits = RetentionLimits { ms: Some(0), bytes: Some(0), messages: Some(0) };
        assert_eq!(new_start(&[empty], Timestamp::MAX, &limits, Offset::MAX), None);
    }
}
