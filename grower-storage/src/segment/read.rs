//! Reading from one segment: which bytes answer a fetch, and which record is the first of a time.

use super::jump::Row;
use super::walk::{Found, HEADERS_READ};
use super::{Extent, Gap, Marks, Mode, Segment, Slice, Step, Walk};
use crate::disk::DiskError;
use bytes::Bytes;
use grower_index::{Entry, Stretch};
use grower_protocol::batch::{Batch, HEADER_LENGTH};
use grower_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use std::ops::Range;

/// The most a batch may grow to when a lookup by time decompresses it; larger ones were refused on their way in.
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

/// What one segment has to say to a read.
pub(crate) enum Extract {
    /// Whole batches.
    Slice(Slice),
    /// The offset asked for is damaged.
    Damaged(Gap),
    /// Nothing before the limit.
    Nothing,
}

/// Batches from the one that holds `from`, at most `max_bytes` but at least one, none reaching past `upto`. In a segment
/// that is known to be damaged headers alone are not believed.
pub(crate) fn read(
    segment: &Segment,
    mode: Mode,
    from: Offset,
    max_bytes: u64,
    upto: Offset,
) -> Result<Extract, DiskError> {
    let mut marks = segment.marks();
    let first = match locate(segment, &mut marks, mode, from)? {
        Located::Batch(found) => found,
        Located::Gap(gap) => return Ok(Extract::Damaged(gap)),
        Located::End => return Ok(Extract::Nothing),
    };
    if upto < first.header.next_offset() {
        return Ok(Extract::Nothing);
    }
    let end = last_within(segment, &mut marks, &first, first.bytes.start.saturating_add(max_bytes), upto)?;
    let offsets = first.header.base_offset..end.end;
    Ok(Extract::Slice(Slice::file(segment.file.get()?, first.bytes.start..end.position, offsets)))
}

enum Located {
    Batch(Found),
    Gap(Gap),
    End,
}

/// The batch that holds `offset`. Damage on the way is looked at closely, so that no more than the damage is refused.
fn locate(segment: &Segment, marks: &mut Marks<'_>, mode: Mode, offset: Offset) -> Result<Located, DiskError> {
    let stretch = marks.around_offset(offset);
    if mode == Mode::Headers
        && let Some(row) = Row::of(segment, &stretch)
        && let Some(found) = row.at_offset(offset)?
    {
        return Ok(Located::Batch(found));
    }
    match search(segment, mode, &stretch, offset)? {
        Located::Gap(_) => search(segment, Mode::Content, &stretch, offset),
        found => Ok(found),
    }
}

fn search(segment: &Segment, mode: Mode, stretch: &Stretch, offset: Offset) -> Result<Located, DiskError> {
    let start = segment.extent_at(stretch.start());
    let mut walk = Walk::new(segment, mode, start, segment.extent());
    if mode == Mode::Headers {
        let relative = offset.since(segment.base) as i64;
        walk = walk.expecting(stretch, reach(stretch, |entry| entry.relative_offset.into(), relative, HEADER_LENGTH));
    }
    while let Some(step) = walk.step()? {
        match step {
            Step::Batch(found) if offset <= found.header.last_offset() => return Ok(Located::Batch(found)),
            Step::Gap(gap) if offset < gap.offsets.end || mode == Mode::Headers => return Ok(Located::Gap(gap)),
            _ => {}
        }
    }
    Ok(Located::End)
}

/// Where to stop: the index names the last place that is not too far, headers do the rest.
fn last_within(
    segment: &Segment,
    marks: &mut Marks<'_>,
    first: &Found,
    limit: u64,
    upto: Offset,
) -> Result<Extent, DiskError> {
    let after_first = Extent { position: first.bytes.end, end: first.header.next_offset() };
    if limit <= after_first.position || upto <= after_first.end {
        return Ok(after_first); // Nothing more fits, so nothing more is looked at.
    }
    let around = nearer(marks.around_position(limit), marks.around_offset(upto));
    let jump = segment.extent_at(around.start());
    let start = if after_first.position < jump.position { jump } else { after_first };
    let mut walk = Walk::new(segment, Mode::Headers, start, segment.extent()).expecting(&around, HEADERS_READ);
    let mut end = start;
    while let Some(Step::Batch(found)) = walk.step()? {
        if limit < found.bytes.end || upto < found.header.next_offset() {
            break;
        }
        end = walk.at();
    }
    Ok(end)
}

/// How much of a stretch to read at first: up to where what is wanted lies if it grew evenly, and `beyond`. Most of the
/// time of a lookup goes by while the kernel copies bytes that are in no cache.
fn reach(stretch: &Stretch, measure: impl Fn(&Entry) -> i64, wanted: i64, beyond: usize) -> usize {
    let Stretch { since: Some(since), until: Some(until) } = stretch else { return HEADERS_READ };
    let (low, high) = (measure(since) as f64, measure(until) as f64);
    let share = (wanted as f64 - low) / (high - low).max(1.0);
    let bytes = f64::from(until.position.saturating_sub(since.position)) * share.clamp(0.0, 1.0);
    (bytes as usize + beyond).min(HEADERS_READ)
}

fn nearer(a: Stretch, b: Stretch) -> Stretch {
    if a.start().position < b.start().position { a } else { b }
}

/// The first record within `offsets` that is not earlier than `timestamp`. Damage is passed over.
pub(crate) fn find_time(
    segment: &Segment,
    timestamp: Timestamp,
    offsets: &Range<Offset>,
) -> Result<Option<TimedOffset>, DiskError> {
    let stretch = segment.marks().around_time(timestamp);
    let hit_in = |batch: Bytes| Batch::check(batch).ok().and_then(|batch| find_time_in(&batch, timestamp, offsets));
    if let Some(row) = Row::of(segment, &stretch)
        && let Some(hit) = row.at_time(timestamp)?.and_then(hit_in)
    {
        return Ok(Some(hit));
    }
    let start = segment.extent_at(stretch.start());
    let bytes = reach(&stretch, |entry| entry.max_timestamp, timestamp.as_millis(), HEADER_LENGTH + 128);
    let mut walk = Walk::new(segment, Mode::Headers, start, segment.extent()).expecting(&stretch, bytes);
    while let Some(step) = walk.step()? {
        let Step::Batch(found) = step else { continue };
        if offsets.end <= found.header.base_offset {
            break;
        }
        if found.header.max_timestamp < timestamp {
            continue;
        }
        let hit = hit_in(Bytes::copy_from_slice(walk.content(&found)?));
        if hit.is_some() {
            return Ok(hit);
        }
    }
    Ok(None)
}

/// The first record of `batch` within `offsets` that is not earlier than `timestamp`. Records that cannot be read are
/// passed over: finding a later one is better than finding none.
pub(crate) fn find_time_in(batch: &Batch, timestamp: Timestamp, offsets: &Range<Offset>) -> Option<TimedOffset> {
    let records = batch.records(RECORDS_LENGTH_MAX).ok()?;
    let record = records
        .map_while(Result::ok)
        .find(|record| timestamp <= record.timestamp && offsets.contains(&record.offset))?;
    Some(TimedOffset { offset: record.offset, timestamp: record.timestamp, leader_epoch: batch.header().leader_epoch })
}
