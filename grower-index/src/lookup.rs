//! The two traits of an index, and what goes in and out of them.

use crate::{IndexEntry, IndexWindow, PREFIX_LENGTH};

/// A position in a segment where a batch begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexPosition {
    /// Offset of the batch at `position`, less the segment's base offset.
    pub relative_offset: u32,
    /// Bytes from the start of the file.
    pub position: u32,
}

impl IndexPosition {
    /// The start of the segment: right for every search, if slow.
    pub const START: Self = Self { relative_offset: 0, position: 0 };
}

impl From<IndexEntry> for IndexPosition {
    fn from(entry: IndexEntry) -> Self {
        Self { relative_offset: entry.relative_offset, position: entry.position }
    }
}

/// The outcome of a search: the target lies between two neighbouring entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// The last entry at or below the target; none at the start of the segment.
    pub since: Option<IndexEntry>,
    /// The first entry above the target; none if there is none, or if it was not looked for.
    pub until: Option<IndexEntry>,
}

impl Interval {
    /// Where to start scanning.
    pub fn start(&self) -> IndexPosition {
        self.since.map_or(IndexPosition::START, IndexPosition::from)
    }

    /// The interval after the first `count` entries.
    pub(crate) fn after(entries: &[IndexEntry], count: usize) -> Self {
        let since = count.checked_sub(1).and_then(|last| entries.get(last)).copied();
        Self { since, until: entries.get(count).copied() }
    }
}

/// The target of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchTarget {
    /// The last position at or before an offset, relative to the segment's base offset.
    Offset(u32),
    /// The last position with only earlier timestamps before it: the first record of this time or later is not before
    /// it.
    Time(i64),
    /// The last position at or before a position.
    Position(u32),
}

impl SearchTarget {
    /// Whether an entry is at or below the target. No searched field falls from entry to entry, so this holds for a
    /// prefix of them.
    pub fn admits(self, entry: &IndexEntry) -> bool {
        match self {
            Self::Offset(offset) => entry.relative_offset <= offset,
            Self::Time(timestamp) => entry.max_timestamp < timestamp,
            Self::Position(position) => entry.position <= position,
        }
    }
}

/// The index of one segment, or a part of it, for reading. Offsets, positions and running maxima
/// never fall from entry to entry.
///
/// A search returns the last position at or below the target, or [`IndexPosition::START`], and the next entry. An
/// implementation that doubts its bytes returns an earlier position: scanning too much is slow, starting too late
/// loses records.
///
/// Every implementation passes [`crate::contract`].
pub trait SegmentIndex: Send + Sync {
    /// How many entries there are, sound or not.
    fn entry_count(&self) -> usize;

    /// The entry at `at`, counted from 0; none past the end, or where it is damaged.
    fn entry(&self, at: usize) -> Option<IndexEntry>;

    /// The two entries between which something lies.
    fn floor(&self, target: SearchTarget) -> Interval;
}

/// The index of the active segment. It decides when an entry is due. The caller stores entries and reads them back:
/// the index need not hold those that are stored.
///
/// Every implementation passes [`crate::contract`].
pub trait GrowingIndex: Send + Sync {
    /// Adds a batch that was just appended, with the durable end known now. Returns the entry to append to the file,
    /// if due.
    fn note(&mut self, batch: &IndexedBatch<'_>, durable_end: u32) -> Option<IndexEntry>;

    /// At a roll or a clean stop: returns the entry that covers the rest; none if it would say nothing new.
    fn finish(&mut self, durable_end: u32) -> Option<IndexEntry>;

    /// Puts back an entry that was read from the file, before any later batch is added.
    fn restore(&mut self, entry: IndexEntry);

    /// The first `count` entries can be read back from the file, so their memory may be freed.
    fn stored(&mut self, count: usize);

    /// How many entries there are, in memory or not.
    fn entry_count(&self) -> usize;

    /// The part of the index to search: it holds the last entry at or below the target and the next one, if they
    /// exist. All entries before the part are below the target.
    fn window(&self, target: SearchTarget) -> IndexWindow<'_>;
}

/// A batch, as an index needs to know it.
#[derive(Clone, Copy, Debug)]
pub struct IndexedBatch<'a> {
    /// Its first 21 bytes.
    pub prefix: &'a [u8; PREFIX_LENGTH],
    /// The offset after its last record, less the segment's base offset.
    pub next_relative_offset: u32,
    /// Where it ends, in bytes from the start of the file.
    pub end: u32,
    /// The largest timestamp of its records.
    pub max_timestamp: i64,
    /// Whether it was just written. A batch found in the file leaves the next entry without a trusted checksum.
    pub checksummed: bool,
}
