//! What an index answers, and what it is told.

use crate::{Entry, PREFIX_LENGTH, Window};

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

/// What a search is for: the last entry that is not too far, and the one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The last mark at or before an offset, which is less the segment's base offset.
    Offset(u32),
    /// The last mark with only earlier timestamps before it: the first record of this time or later is not before that.
    Time(i64),
    /// The last mark at or before a position.
    Position(u32),
}

impl Wanted {
    /// Whether an entry is not too far. Entries rise in everything that is searched, so this holds for the first few and
    /// for no more.
    pub fn admits(self, entry: &Entry) -> bool {
        match self {
            Self::Offset(offset) => entry.relative_offset <= offset,
            Self::Time(timestamp) => entry.max_timestamp < timestamp,
            Self::Position(position) => entry.position <= position,
        }
    }
}

/// The index of one segment, or a part of it, for reading. Entries rise in offset and position; running maxima never fall.
///
/// A search gives the last place that is not too far, or [`Mark::START`], and which entry comes next. An implementation that
/// doubts its own bytes answers an earlier place: scanning too much is slow, starting too late loses records.
///
/// Every implementation passes [`crate::contract`].
pub trait SegmentIndex: Send + Sync {
    /// How many entries there are, sound or not.
    fn entry_count(&self) -> usize;

    /// The entry at `at`, counted from 0; none past the end, or where it is damaged.
    fn entry(&self, at: usize) -> Option<Entry>;

    /// The two entries between which something lies.
    fn floor(&self, wanted: Wanted) -> Stretch;
}

/// The index of the segment that is being written. It decides when an entry is due; storing it is the caller's business,
/// and so is reading it back: an index need not hold what is stored.
///
/// Every implementation passes [`crate::contract`].
pub trait GrowingIndex: Send + Sync {
    /// Takes note of a batch that was just appended, with the durable end known now. The entry, if one is due, is to be
    /// stored after those before it.
    fn note(&mut self, batch: &NotedBatch<'_>, durable_end: u32) -> Option<Entry>;

    /// At a roll or a clean stop: the entry that speaks for what no entry covers yet; none if there is nothing new to say.
    fn finish(&mut self, durable_end: u32) -> Option<Entry>;

    /// Puts back an entry that was read from the file, and can be read there again, before anything after it is noted.
    fn restore(&mut self, entry: Entry);

    /// Tells that the first `count` entries can be read back, so that memory for them may go.
    fn stored(&mut self, count: usize);

    /// How many entries there are, held or not.
    fn entry_count(&self) -> usize;

    /// The part of the index to search: it holds the last entry that is not too far, if there is one, and the one after it,
    /// if there is one. All of what comes before the first entry of a part is not too far either.
    fn window(&self, wanted: Wanted) -> Window<'_>;
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
