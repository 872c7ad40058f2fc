//! Reads from one segment: the bytes that answer a fetch, and the first record of a time.

use super::scanner::{FoundBatch, HEADERS_READ};
use super::uniform_run::UniformRun;
use super::{Damage, IndexLookup, LogPosition, ScanItem, ScanMode, Scanner, Segment, Slice};
use crate::disk::DiskError;
use bytes::Bytes;
use grower_index::{IndexEntry, Interval};
use grower_protocol::batch::{Batch, HEADER_LENGTH};
use grower_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use std::ops::Range;

/// The most that a lookup by time decompresses of one batch; larger batches were refused on their way in.
pub(crate) const RECORDS_LENGTH_MAX: usize = 256 << 20;

/// A record found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOffset {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// The epoch of the leader that appended it.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// The outcome of a read from one segment.
pub(crate) enum SegmentRead {
    /// Whole batches.
    Slice(Slice),
    /// The requested offset is damaged.
    Damaged(Damage),
    /// Nothing before the limit.
    Nothing,
}

/// Reads whole batches from the one that holds `from`: at most `max_bytes` but at least one, none past `upto`. In a
/// segment with known damage, headers alone are not trusted.
pub(crate) fn read(
    segment: &Segment,
    mode: ScanMode,
    from: Offset,
    max_bytes: u64,
    upto: Offset,
) -> Result<SegmentRead, DiskError> {
    let mut lookup = segment.lookup();
    let first = match locate(segment, &mut lookup, mode, from)? {
        Located::Batch(found) => found,
        Located::Damaged(damage) => return Ok(SegmentRead::Damaged(damage)),
        Located::End => return Ok(SegmentRead::Nothing),
    };
    if upto < first.header.next_offset() {
        return Ok(SegmentRead::Nothing);
    }
    debug_assert!(first.header.base_offset <= from, "a read of {from} begins at {}", first.header.base_offset);
    let end = last_within(segment, &mut lookup, &first, first.bytes.start.saturating_add(max_bytes), upto)?;
    debug_assert!(first.bytes.end <= end.bytes && end.offset <= upto, "a read has a whole batch, and none past {upto}");
    let offsets = first.header.base_offset..end.offset;
    Ok(SegmentRead::Slice(Slice::file(segment.file.get()?, first.bytes.start..end.bytes, offsets)))
}

enum Located {
    Batch(FoundBatch),
    Damaged(Damage),
    End,
}

/// Finds the batch that holds `offset`. Damage on the way is checked byte by byte, so that only damaged offsets are
/// refused.
fn locate(
    segment: &Segment,
    lookup: &mut IndexLookup<'_>,
    mode: ScanMode,
    offset: Offset,
) -> Result<Located, DiskError> {
    let interval = lookup.around_offset(offset);
    if mode == ScanMode::Headers
        && let Some(run) = UniformRun::of(segment, &interval)
        && let Some(found) = run.at_offset(offset)?
    {
        return Ok(Located::Batch(found));
    }
    match search(segment, mode, &interval, offset)? {
        Located::Damaged(_) => search(segment, ScanMode::Content, &interval, offset),
        found => Ok(found),
    }
}

fn search(segment: &Segment, mode: ScanMode, interval: &Interval, offset: Offset) -> Result<Located, DiskError> {
    let start = segment.log_position(interval.start());
    let mut scanner = Scanner::new(segment, mode, start, segment.end_position());
    if mode == ScanMode::Headers {
        let relative = offset.since(segment.base) as i64;
        scanner =
            scanner.expecting(interval, reach(interval, |entry| entry.relative_offset.into(), relative, HEADER_LENGTH));
    }
    while let Some(item) = scanner.next_item()? {
        match item {
            ScanItem::Batch(found) if offset <= found.header.last_offset() => return Ok(Located::Batch(found)),
            ScanItem::Damaged { damage, .. } if offset < damage.offsets.end || mode == ScanMode::Headers => {
                return Ok(Located::Damaged(damage));
            }
            _ => {}
        }
    }
    Ok(Located::End)
}

/// Finds where to stop: the index gives the last position within the limits, headers do the rest.
fn last_within(
    segment: &Segment,
    lookup: &mut IndexLookup<'_>,
    first: &FoundBatch,
    limit: u64,
    upto: Offset,
) -> Result<LogPosition, DiskError> {
    let after_first = LogPosition { bytes: first.bytes.end, offset: first.header.next_offset() };
    if limit <= after_first.bytes || upto <= after_first.offset {
        return Ok(after_first); // Nothing more fits, so nothing more is read.
    }
    let around = nearer(lookup.around_position(limit), lookup.around_offset(upto));
    let jump = segment.log_position(around.start());
    // A forged index may name an offset that does not belong to the position.
    let is_within = after_first.bytes < jump.bytes && after_first.offset <= jump.offset && jump.offset <= upto;
    let start = if is_within { jump } else { after_first };
    let mut scanner =
        Scanner::new(segment, ScanMode::Headers, start, segment.end_position()).expecting(&around, HEADERS_READ);
    let mut end = start;
    while let Some(ScanItem::Batch(found)) = scanner.next_item()? {
        if limit < found.bytes.end || upto < found.header.next_offset() {
            break;
        }
        end = scanner.position();
    }
    Ok(end)
}

/// How much of an interval to read at first: up to where the target lies if it grows evenly, and `beyond`. A lookup
/// spends most of its time while the kernel copies bytes that are in no cache.
fn reach(interval: &Interval, measure: impl Fn(&IndexEntry) -> i64, wanted: i64, beyond: usize) -> usize {
    let Interval { since: Some(since), until: Some(until) } = interval else { return HEADERS_READ };
    let (low, high) = (measure(since) as f64, measure(until) as f64);
    let share = (wanted as f64 - low) / (high - low).max(1.0);
    let bytes = f64::from(until.position.saturating_sub(since.position)) * share.clamp(0.0, 1.0);
    (bytes as usize + beyond).min(HEADERS_READ)
}

fn nearer(a: Interval, b: Interval) -> Interval {
    if a.start().position < b.start().position { a } else { b }
}

/// Finds the first record within `offsets` that is not earlier than `timestamp`. Damage is stepped over.
pub(crate) fn find_time(
    segment: &Segment,
    timestamp: Timestamp,
    offsets: &Range<Offset>,
) -> Result<Option<TimedOffset>, DiskError> {
    let interval = segment.lookup().around_time(timestamp);
    let hit_in = |batch: Bytes| Batch::check(batch).ok().and_then(|batch| find_time_in(&batch, timestamp, offsets));
    if let Some(run) = UniformRun::of(segment, &interval)
        && let Some(hit) = run.at_time(timestamp)?.and_then(hit_in)
    {
        return Ok(Some(hit));
    }
    let start = segment.log_position(interval.start());
    let bytes = reach(&interval, |entry| entry.max_timestamp, timestamp.as_millis(), HEADER_LENGTH + 128);
    let mut scanner =
        Scanner::new(segment, ScanMode::Headers, start, segment.end_position()).expecting(&interval, bytes);
    while let Some(item) = scanner.next_item()? {
        let ScanItem::Batch(found) = item else { continue };
        if offsets.end <= found.header.base_offset {
            break;
        }
        if found.header.max_timestamp < timestamp {
            continue;
        }
        let hit = hit_in(Bytes::copy_from_slice(scanner.content(&found)?));
        if hit.is_some() {
            return Ok(hit);
        }
    }
    Ok(None)
}

/// Finds the first record of `batch` within `offsets` that is not earlier than `timestamp`. Unreadable records are
/// stepped over: a later one is better than none.
pub(crate) fn find_time_in(batch: &Batch, timestamp: Timestamp, offsets: &Range<Offset>) -> Option<TimedOffset> {
    let records = batch.records(RECORDS_LENGTH_MAX).ok()?;
    let record = records
        .map_while(Result::ok)
        .find(|record| timestamp <= record.timestamp && offsets.contains(&record.offset))?;
    Some(TimedOffset { offset: record.offset, timestamp: record.timestamp, leader_epoch: batch.header().leader_epoch })
}
