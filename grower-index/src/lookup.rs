//! What an index answers, and what it is told.

use crate::{Entry, PREFIX_LENGTH};

/// Where to start scanning a segment: a place where a batch begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Offset of the batch at `position`, less the segment's base offset.
    pub relative_offset: u32,
    /// Bytes from the start of the file.
    pub position: u32,
}

impl Mark {
    /// The start of the segment: right for every search, if slow.
    pub const START: Self = Self { relative_offset: 0, position: 0 };
}

impl From<Entry> for Mark {
    fn from(entry: Entry) -> Self {
        Self { relative_offset: entry.relative_offset, position: entry.position }
    }
}

/// Where a search ended: what is wanted lies between two entries that stand side by side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// The last entry that is not too far; none at the start of the segment.
    pub since: Option<Entry>,
    /// The entry after it, which is too far; none if there is none, or if nobody looked.
    pub until: Option<Entry>,
}

impl Stretch {
    /// Where to start scanning.
    pub fn start(&self) -> Mark {
        self.since.map_or(Mark::START, Mark::from)
    }

    /// What follows the first `count` entries.
    pub(crate) fn after(entries: &[Entry], count: usize) -> Self {
        let since = count.checked_sub(1).and_then(|last| entries.get(last)).copied();
        Self { since, until: entries.get(count).copied() }
    }
}

/// The index of one segment, for reading. Entries rise in offset and position; running maxima never fall.
///
/// Each search gives the last place that is not too far, or [`Mark::START`], and which entry comes next. An implementation that doubts its own
/// bytes answers an earlier place: scanning too much is slow, starting too late loses records.
///
/// Every implementation passes [`crate::contract`].
pub trait SegmentIndex: Send + Sync {
    /// How many entries there are, sound or not.
    fn entry_count(&self) -> usize;

    /// The entry at `at`, counted from 0; none past the end, or where it is damaged.
    fn entry(&self, at: usize) -> Option<Entry>;

    /// The last mark at or before an offset.
    fn floor_by_offset(&self, relative_offset: u32) -> Stretch;

    /// The last mark with only earlier timestamps before it: the first record of `timestamp` or later is not before this.
    fn floor_by_time(&self, timestamp: i64) -> Stretch;

    /// The last mark at or before a position.
    fn floor_by_position(&self, position: u32) -> Stretch;
}

/// The index of the segment that is being written. It decides when an entry is due; storing it is the caller's business.
pub trait GrowingIndex: SegmentIndex {
    /// Takes note of a batch that was just appended, with the durable end known now. The entry, if one is due, is to be
    /// stored after those before it.
    fn note(&mut self, batch: &NotedBatch<'_>, durable_end: u32) -> Option<Entry>;

    /// At a roll or a clean stop: the entry that speaks for what no entry covers yet; none if there is nothing new to say.
    fn finish(&mut self, durable_end: u32) -> Option<Entry>;

    /// Puts back an entry that was read from the file, before anything after it is noted.
    fn restore(&mut self, entry: Entry);
}

/// What an index is told of a batch.
#[derive(Clone, Copy, Debug)]
pub struct NotedBatch<'a> {
    /// Its first 21 bytes.
    pub prefix: &'a [u8; PREFIX_LENGTH],
    /// The offset after its last record, less the segment's base offset.
    pub next_relative_offset: u32,
    /// Where it ends, in bytes from the start of the file.
    pub end: u32,
    /// The largest timestamp of its records.
    pub max_timestamp: i64,
    /// Whether it was just written. One that was found in the file makes the next entry unwitnessed.
    pub witnessed: bool,
}
