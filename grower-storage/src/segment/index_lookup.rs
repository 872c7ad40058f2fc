//! Searches a segment's index.
//!
//! The index of the active segment keeps few entries in memory. The others are read back from its file, some KiB at a
//! time and without the segment's lock, so that no append waits for a reader's disk. Where that fails, or finds
//! damage, a search starts at an earlier entry: it reads more of the log and finds the same.

use super::{Index, LogPosition, Segment, narrow};
use crate::disk::SharedFile;
use grower_index::{EntryRun, IndexEntry, IndexWindow, Interval, SearchTarget, SegmentIndex, StoredIndex};
use grower_protocol::ids::{Offset, Timestamp};
use std::ops::Range;
use std::sync::atomic::Ordering;

/// Searches an index. It keeps the part that it read back last: a scan along a segment reads each part once.
pub(crate) struct IndexLookup<'a> {
    segment: &'a Segment,
    run: Option<(usize, StoredIndex<Vec<u8>>)>,
}

/// An index entry, and where the interval that it checksums begins: at the previous entry, unless that is damaged.
pub(crate) struct IntervalEnd {
    pub(crate) entry: IndexEntry,
    pub(crate) since: Option<u64>,
}

/// Entries to search, and where the log ends.
struct SearchedEntries<'a> {
    entries: &'a dyn SegmentIndex,
    end_position: LogPosition,
    /// Whether they were read back: then one of them is above the target, if it is sound.
    read_back: bool,
}

impl<'a> IndexLookup<'a> {
    pub(super) fn new(segment: &'a Segment) -> Self {
        Self { segment, run: None }
    }

    /// The last indexed position at or before an offset, and the next one.
    pub(crate) fn around_offset(&mut self, offset: Offset) -> Interval {
        self.around(SearchTarget::Offset(narrow(offset.since(self.segment.base))))
    }

    /// The last indexed position with only earlier timestamps before it, and the next one.
    pub(crate) fn around_time(&mut self, timestamp: Timestamp) -> Interval {
        self.around(SearchTarget::Time(timestamp.as_millis()))
    }

    /// The last indexed position at or before a position, and the next one.
    pub(crate) fn around_position(&mut self, position: u64) -> Interval {
        self.around(SearchTarget::Position(narrow(position)))
    }

    /// The first sound indexed position after a position, if it lies within the log.
    pub(crate) fn position_after(&mut self, position: u64) -> Option<u64> {
        self.entry_after(position).0.map(|entry| entry.position.into())
    }

    /// The first sound indexed position after a position, else the end of the segment.
    pub(crate) fn next_anchor(&mut self, position: u64) -> LogPosition {
        let (entry, end_position) = self.entry_after(position);
        entry.map_or(end_position, |entry| self.segment.log_position(entry.into()))
    }

    /// The entry that ends an interval at exactly this position.
    pub(crate) fn interval_ending_at(&mut self, position: u64) -> Option<IntervalEnd> {
        let before = SearchTarget::Position(narrow(position.checked_sub(1)?));
        self.look(before, |part| {
            let (at, entry) = first_entry(part.entries, before)?;
            let since = match at.checked_sub(1) {
                Some(last) => part.entries.entry(last).map(|last| last.position.into()),
                None => Some(0),
            };
            (u64::from(entry.position) == position).then_some(IntervalEnd { entry, since })
        })
    }

    /// Ignores entries that point past the log.
    fn around(&mut self, wanted: SearchTarget) -> Interval {
        let segment = self.segment;
        self.look(wanted, |part| {
            let Interval { since, until } = part.entries.floor(wanted);
            if part.read_back && until.is_none() {
                segment.doubt_index(&"an entry is damaged");
            }
            match since.is_none_or(|entry| part.holds(&entry)) {
                true => Interval { since, until: until.filter(|entry| part.holds(entry)) },
                false => Interval::default(),
            }
        })
    }

    /// The first sound entry after a position, if it lies within the log; and the end of the log.
    fn entry_after(&mut self, position: u64) -> (Option<IndexEntry>, LogPosition) {
        let wanted = SearchTarget::Position(narrow(position));
        self.look(wanted, |part| {
            (next_entry(part.entries, wanted).filter(|entry| part.holds(entry)), part.end_position)
        })
    }

    fn look<R>(&mut self, wanted: SearchTarget, look: impl FnOnce(SearchedEntries<'_>) -> R) -> R {
        let (run, file, end_position) = {
            let state = self.segment.state.read();
            let end_position = state.end_position;
            match &state.index {
                Index::Sealed(index) => {
                    return look(SearchedEntries { entries: &**index, end_position, read_back: false });
                }
                Index::Growing(index, file) => match index.window(wanted) {
                    IndexWindow::Held(entries) => {
                        return look(SearchedEntries { entries, end_position, read_back: false });
                    }
                    IndexWindow::Stored(run) => (run, file.clone(), end_position),
                },
            }
        };
        look(SearchedEntries { entries: self.read_back(&run, file), end_position, read_back: true })
    }

    fn read_back(&mut self, run: &EntryRun, file: Option<SharedFile>) -> &StoredIndex<Vec<u8>> {
        let held = self.run.take().filter(|(number, _)| *number == run.number());
        let read = || (run.number(), run.read(self.segment.index_bytes(file, run.bytes())));
        &self.run.insert(held.unwrap_or_else(read)).1
    }
}

impl SearchedEntries<'_> {
    fn holds(&self, entry: &IndexEntry) -> bool {
        u64::from(entry.position) <= self.end_position.bytes
    }
}

impl Segment {
    /// Reads a part of the index file, as far as that is possible.
    fn index_bytes(&self, file: Option<SharedFile>, bytes: Range<u64>) -> Vec<u8> {
        let mut read = vec![0; usize::try_from(bytes.end - bytes.start).unwrap_or(0)];
        let length = file.map_or(Ok(0), |file| file.read_at(&mut read, bytes.start)).unwrap_or_else(|error| {
            self.doubt_index(&error);
            0
        });
        read.truncate(length);
        read
    }

    /// Warns once per segment: lookups continue without that part.
    fn doubt_index(&self, why: &dyn std::fmt::Display) {
        if !self.doubted.swap(true, Ordering::Relaxed) {
            let path = self.file.path().display();
            tracing::warn!(log = %path, "a part of the index cannot be read, so lookups read more of the log: {why}");
        }
    }
}

/// The first sound entry above the target. Entries rise; damaged ones are stepped over.
fn next_entry(index: &dyn SegmentIndex, wanted: SearchTarget) -> Option<IndexEntry> {
    index.floor(wanted).until.or_else(|| first_entry(index, wanted).map(|(_, entry)| entry))
}

/// The same, with its number.
fn first_entry(index: &dyn SegmentIndex, wanted: SearchTarget) -> Option<(usize, IndexEntry)> {
    let (mut low, mut high) = (0, index.entry_count());
    let mut found = None;
    while low < high {
        let middle = low + (high - low) / 2;
        match (middle..high).find_map(|at| Some((at, index.entry(at)?))) {
            Some((at, entry)) if wanted.admits(&entry) => low = at + 1,
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

    fn entry_at(position: u32) -> IndexEntry {
        let uniform = grower_index::Uniform::default();
        IndexEntry {
            relative_offset: 0,
            position,
            max_timestamp: 0,
            durable_end: 0,
            header_checksum: 0,
            checksummed: true,
            uniform,
        }
    }

    proptest! {
        #[test]
        fn the_first_sound_entry_that_is_too_far_is_found(
            positions in btree_set(0u32..5_000, 0..80),
            damaged in btree_set(0usize..80, 0..8),
            wanted in 0u32..5_100,
        ) {
            let mut bytes: Vec<u8> = positions.iter().flat_map(|position| entry_at(*position).encode()).collect();
            for at in damaged.iter().filter(|at| **at < positions.len()) {
                bytes[at * grower_index::ENTRY_LENGTH] ^= 0x80; // Its relative offset, which this search does not use.
            }
            let sound = positions.iter().enumerate().filter(|(at, _)| !damaged.contains(at));
            let expected = sound.map(|(at, position)| (at, *position)).find(|(_, position)| wanted < *position);
            let index = grower_index::StoredIndex::new(bytes);
            let wanted = SearchTarget::Position(wanted);
            let found = first_entry(&index, wanted);
            prop_assert_eq!(found.map(|(at, entry)| (at, entry.position)), expected);
            prop_assert_eq!(next_entry(&index, wanted), found.map(|(_, entry)| entry));
        }
    }
}
