//! One segment: a file of batches and its index, shared by the writer and all readers.

mod active;
mod inspect;
mod jump;
mod read;
mod walk;

pub(crate) use active::{Active, ToFlush, WriteError, narrow};
pub(crate) use inspect::{Damage, Expectations, inspect, inspect_until};
pub(crate) use read::{Extract, find_time, read};
pub(crate) use walk::{Extent, Found, Gap, Mode, Step, Walk};

use crate::compaction::Piece;
use crate::disk::SharedFile;
use crate::log::SegmentInfo;
use crate::retention::Facts;
use grower_index::{Entry, GrowingIndex, Mark, NotedBatch, SegmentIndex, Stretch};
use grower_protocol::ids::{Offset, Timestamp};
use parking_lot::RwLock;

const LOG_SUFFIX: &str = ".growerlog";
const INDEX_SUFFIX: &str = ".growerindex";

/// Name of a segment's log file.
pub(crate) fn log_name(base: Offset) -> String {
    format!("{:020}{LOG_SUFFIX}", base.value())
}

/// Name of a segment's index file.
pub(crate) fn index_name(base: Offset) -> String {
    format!("{:020}{INDEX_SUFFIX}", base.value())
}

/// The base offset in a log file's name; none if it is another file.
pub(crate) fn base_of_log(name: &str) -> Option<Offset> {
    base_of(name, LOG_SUFFIX)
}

/// The base offset in an index file's name; none if it is another file.
pub(crate) fn base_of_index(name: &str) -> Option<Offset> {
    base_of(name, INDEX_SUFFIX)
}

fn base_of(name: &str, suffix: &str) -> Option<Offset> {
    let digits = name.strip_suffix(suffix)?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    Offset::try_from(plain.then(|| digits.parse::<u64>().ok()).flatten()?).ok()
}

/// A file of batches and what is known of it.
pub(crate) struct Segment {
    pub(crate) base: Offset,
    pub(crate) file: SharedFile,
    state: RwLock<State>,
}

/// Changes with each append; the lock is held for no longer than it takes to look something up.
struct State {
    extent: Extent,
    max_timestamp: Option<Timestamp>,
    index: Index,
}

enum Index {
    Growing(Box<dyn GrowingIndex>),
    Sealed(Box<dyn SegmentIndex>),
}

impl Index {
    fn view(&self) -> &dyn SegmentIndex {
        match self {
            Self::Growing(index) => &**index,
            Self::Sealed(index) => &**index,
        }
    }
}

impl Segment {
    /// A segment that is written, or was until now.
    pub(crate) fn growing(base: Offset, file: SharedFile, index: Box<dyn GrowingIndex>) -> Self {
        let extent = Extent { position: 0, end: base };
        let state = State { extent, max_timestamp: None, index: Index::Growing(index) };
        Self { base, file, state: RwLock::new(state) }
    }

    /// A segment that has a successor.
    pub(crate) fn sealed(
        base: Offset,
        file: SharedFile,
        index: Box<dyn SegmentIndex>,
        extent: Extent,
        max_timestamp: Option<Timestamp>,
    ) -> Self {
        let state = State { extent, max_timestamp, index: Index::Sealed(index) };
        Self { base, file, state: RwLock::new(state) }
    }

    pub(crate) fn extent(&self) -> Extent {
        self.state.read().extent
    }

    pub(crate) fn max_timestamp(&self) -> Option<Timestamp> {
        self.state.read().max_timestamp
    }

    /// The last mark at or before an offset.
    pub(crate) fn floor_by_offset(&self, offset: Offset) -> Mark {
        self.around_offset(offset).start()
    }

    /// The last mark at or before an offset, and the next.
    pub(crate) fn around_offset(&self, offset: Offset) -> Stretch {
        let relative = u32::try_from(offset.since(self.base)).unwrap_or(u32::MAX);
        self.in_bounds(|index| index.floor_by_offset(relative))
    }

    /// The last mark with only earlier timestamps before it, and the next.
    pub(crate) fn around_time(&self, timestamp: Timestamp) -> Stretch {
        self.in_bounds(|index| index.floor_by_time(timestamp.as_millis()))
    }

    /// The last mark at or before a position.
    pub(crate) fn floor_by_position(&self, position: u64) -> Mark {
        let position = u32::try_from(position).unwrap_or(u32::MAX);
        self.in_bounds(|index| index.floor_by_position(position)).start()
    }

    /// The first sound mark after a position, if it lies within the log.
    pub(crate) fn mark_after(&self, position: u64) -> Option<u64> {
        let state = self.state.read();
        let index = state.index.view();
        // Entries come at about equal distances, so a guess by proportion is seldom far off.
        let guess = position as f64 / state.extent.position.max(1) as f64 * index.entry_count() as f64;
        let far_enough = |entry: &Entry| position < u64::from(entry.position);
        let (_, entry) = first_entry_near(index, guess as usize, far_enough)?;
        Some(entry.position.into()).filter(|mark| *mark <= state.extent.position)
    }

    /// The first sound mark after a position, else the end of the segment.
    pub(crate) fn next_anchor(&self, position: u64) -> Extent {
        let state = self.state.read();
        let after = first_entry(state.index.view(), |entry| position < u64::from(entry.position));
        let mark = after.map(|(_, entry)| self.extent_at(entry.into()));
        mark.filter(|mark| mark.position <= state.extent.position).unwrap_or(state.extent)
    }

    /// The entry that closes a stretch at exactly this position.
    pub(crate) fn closing_at(&self, position: u64) -> Option<Closing> {
        let state = self.state.read();
        let index = state.index.view();
        let (at, entry) = first_entry(index, |entry| position <= u64::from(entry.position))?;
        let since = match at.checked_sub(1) {
            Some(before) => index.entry(before).map(|before| before.position.into()),
            None => Some(0),
        };
        (u64::from(entry.position) == position).then_some(Closing { entry, since })
    }

    /// The last entry that is sound.
    pub(crate) fn last_entry(&self) -> Option<Entry> {
        let state = self.state.read();
        let index = state.index.view();
        (0..index.entry_count()).rev().find_map(|at| index.entry(at))
    }

    pub(crate) fn entry_count(&self) -> usize {
        self.state.read().index.view().entry_count()
    }

    /// Puts back an index entry that was read from the file.
    pub(crate) fn restore(&self, entry: Entry) {
        let mut state = self.state.write();
        state.extent = self.extent_at(entry.into());
        state.max_timestamp = state.max_timestamp.max(Some(Timestamp::from_millis(entry.max_timestamp)));
        if let Index::Growing(index) = &mut state.index {
            index.restore(entry);
        }
    }

    /// How far the walks of recovery may look.
    pub(crate) fn set_extent(&self, extent: Extent) {
        self.state.write().extent = extent;
    }

    /// A mark in the terms of the whole log.
    pub(crate) fn extent_at(&self, mark: Mark) -> Extent {
        Extent { position: mark.position.into(), end: self.base.saturating_add(mark.relative_offset.into()) }
    }

    /// An index that points past its log is not believed.
    fn in_bounds(&self, look: impl FnOnce(&dyn SegmentIndex) -> Stretch) -> Stretch {
        let state = self.state.read();
        let inside = |entry: &Entry| u64::from(entry.position) <= state.extent.position;
        let Stretch { since, until } = look(state.index.view());
        match since.is_none_or(|entry| inside(&entry)) {
            true => Stretch { since, until: until.filter(inside) },
            false => Stretch::default(),
        }
    }

    /// Publishes a batch that was written; the index entry that is due, if one is.
    pub(crate) fn note(&self, batch: &NotedBatch<'_>, durable_end: u32) -> Option<Entry> {
        let mut state = self.state.write();
        state.extent =
            Extent { position: batch.end.into(), end: self.base.saturating_add(batch.next_relative_offset.into()) };
        state.max_timestamp = state.max_timestamp.max(Some(Timestamp::from_millis(batch.max_timestamp)));
        match &mut state.index {
            Index::Growing(index) => index.note(batch, durable_end),
            Index::Sealed(_) => None,
        }
    }

    /// Asks the index for its closing entry.
    pub(crate) fn finish_index(&self, durable_end: u32) -> Option<Entry> {
        match &mut self.state.write().index {
            Index::Growing(index) => index.finish(durable_end),
            Index::Sealed(_) => None,
        }
    }

    /// Puts a read-only index in place of the growing one.
    pub(crate) fn seal(&self, index: Box<dyn SegmentIndex>) {
        self.state.write().index = Index::Sealed(index);
    }

    pub(crate) fn facts(&self) -> Facts {
        let state = self.state.read();
        Facts {
            end: state.extent.end,
            bytes: state.extent.position,
            records: state.extent.end.since(self.base),
            max_timestamp: state.max_timestamp,
        }
    }

    /// What decides whether it is compacted.
    pub(crate) fn piece(&self) -> Piece {
        let Facts { end, bytes, max_timestamp, .. } = self.facts();
        Piece { base: self.base, end, bytes, max_timestamp }
    }

    pub(crate) fn info(&self, active: bool) -> SegmentInfo {
        let facts = self.facts();
        SegmentInfo {
            file: log_name(self.base),
            index_file: index_name(self.base),
            base_offset: self.base,
            end_offset: facts.end,
            bytes: facts.bytes,
            index_bytes: (self.entry_count() * grower_index::ENTRY_LENGTH) as u64,
            records: facts.records,
            max_timestamp: facts.max_timestamp,
            active,
        }
    }
}

/// An index entry, and where the stretch begins that it witnesses: at the entry before it, unless that is damaged.
pub(crate) struct Closing {
    pub(crate) entry: Entry,
    pub(crate) since: Option<u64>,
}

/// The first sound entry that is far enough, and its number; entries rise, damaged ones are stepped over.
fn first_entry(index: &dyn SegmentIndex, far_enough: impl Fn(&Entry) -> bool) -> Option<(usize, Entry)> {
    first_entry_in(index, 0..index.entry_count(), far_enough)
}

/// The same, looking around a guess first, in growing circles.
fn first_entry_near(
    index: &dyn SegmentIndex,
    guess: usize,
    far_enough: impl Fn(&Entry) -> bool,
) -> Option<(usize, Entry)> {
    let count = index.entry_count();
    let is_far = |at: usize| index.entry(at).map(|entry| far_enough(&entry));
    let circles =
        (0..usize::BITS).map(|bits| guess.saturating_sub(1 << bits)..count.min(guess.saturating_add(1 << bits)));
    let around = circles.take_while(|circle| 0 < circle.start || circle.end < count).find(|circle| {
        (circle.start == 0 || is_far(circle.start) == Some(false))
            && (circle.end == count || is_far(circle.end) == Some(true))
    });
    match around {
        Some(circle) => first_entry_in(index, circle.start..count.min(circle.end + 1), far_enough),
        None => first_entry(index, far_enough),
    }
}

fn first_entry_in(
    index: &dyn SegmentIndex,
    numbers: std::ops::Range<usize>,
    far_enough: impl Fn(&Entry) -> bool,
) -> Option<(usize, Entry)> {
    let (mut low, mut high) = (numbers.start, numbers.end);
    let mut found = None;
    while low < high {
        let middle = low + (high - low) / 2;
        match (middle..high).find_map(|at| Some((at, index.entry(at)?))) {
            Some((at, entry)) if !far_enough(&entry) => low = at + 1,
            sound => {
                found = sound.or(found);
                high = middle;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    #[test]
    fn names_are_twenty_digits() {
        assert_eq!(log_name(Offset::new(3)), "00000000000000000003.growerlog");
        assert_eq!(index_name(Offset::MAX), "09223372036854775807.growerindex");
        assert_eq!(base_of_log("00000000000000000003.growerlog"), Some(Offset::new(3)));
        for other in ["3.growerlog", "0000000000000000000x.growerlog", "00000000000000000003.growerindex", "checkpoint"]
        {
            assert_eq!(base_of_log(other), None, "{other}");
        }
        assert_eq!(base_of_log("99999999999999999999.growerlog"), None, "no such offset");
    }

    fn entry_at(position: u32) -> Entry {
        let even = grower_index::Even::default();
        Entry { relative_offset: 0, position, max_timestamp: 0, durable_end: 0, witness: 0, witnessed: true, even }
    }

    proptest! {
        #[test]
        fn whatever_is_guessed_the_first_sound_entry_that_is_far_enough_is_found(
            positions in btree_set(0u32..5_000, 0..80),
            damaged in btree_set(0usize..80, 0..8),
            guess in 0usize..100,
            wanted in 0u32..5_100,
        ) {
            let mut bytes: Vec<u8> = positions.iter().flat_map(|position| entry_at(*position).encode()).collect();
            for at in damaged.iter().filter(|at| **at < positions.len()) {
                bytes[at * grower_index::ENTRY_LENGTH] ^= 0x80; // Its relative offset; nobody asks for that.
            }
            let sound = positions.iter().enumerate().filter(|(at, _)| !damaged.contains(at));
            let expected = sound.map(|(at, position)| (at, *position)).find(|(_, position)| wanted < *position);
            let index = grower_index::StoredIndex::new(bytes);
            let found = first_entry_near(&index, guess, |entry| wanted < entry.position);
            prop_assert_eq!(found.map(|(at, entry)| (at, entry.position)), expected);
        }
    }
}
