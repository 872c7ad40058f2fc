//! Looking things up in a segment's index.
//!
//! The index of a segment that is being written holds few of its entries; the others are read back from its file, some KiB
//! at a time and without the segment's lock: nobody who appends waits for a disk that a reader waits for. What cannot be read
//! back, or is damaged there, makes a lookup start at an earlier entry: it reads more of the log and finds the same.

use super::{Extent, Index, Segment, narrow};
use crate::disk::SharedFile;
use grower_index::{Entry, Run, SegmentIndex, StoredIndex, Stretch, Wanted, Window};
use grower_protocol::ids::{Offset, Timestamp};
use std::ops::Range;
use std::sync::atomic::Ordering;

/// Looks things up, and remembers what it read back last: who goes along a segment reads each part of its index once.
pub(crate) struct Marks<'a> {
    segment: &'a Segment,
    run: Option<(usize, StoredIndex<Vec<u8>>)>,
}

/// An index entry, and where the stretch begins that it witnesses: at the entry before it, unless that is damaged.
pub(crate) struct Closing {
    pub(crate) entry: Entry,
    pub(crate) since: Option<u64>,
}

/// Entries to search, and how far the log goes.
struct Part<'a> {
    entries: &'a dyn SegmentIndex,
    extent: Extent,
    /// Whether they are a part of the index that was read back: then one of them is too far, if it is sound.
    read_back: bool,
}

impl<'a> Marks<'a> {
    pub(super) fn new(segment: &'a Segment) -> Self {
        Self { segment, run: None }
    }

    /// The last mark at or before an offset, and the next.
    pub(crate) fn around_offset(&mut self, offset: Offset) -> Stretch {
        self.around(Wanted::Offset(narrow(offset.since(self.segment.base))))
    }

    /// The last mark with only earlier timestamps before it, and the next.
    pub(crate) fn around_time(&mut self, timestamp: Timestamp) -> Stretch {
        self.around(Wanted::Time(timestamp.as_millis()))
    }

    /// The last mark at or before a position, and the next.
    pub(crate) fn around_position(&mut self, position: u64) -> Stretch {
        self.around(Wanted::Position(narrow(position)))
    }

    /// The first sound mark after a position, if it lies within the log.
    pub(crate) fn mark_after(&mut self, position: u64) -> Option<u64> {
        self.entry_after(position).0.map(|entry| entry.position.into())
    }

    /// The first sound mark after a position, else the end of the segment.
    pub(crate) fn next_anchor(&mut self, position: u64) -> Extent {
        let (entry, extent) = self.entry_after(position);
        entry.map_or(extent, |entry| self.segment.extent_at(entry.into()))
    }

    /// The entry that closes a stretch at exactly this position.
    pub(crate) fn closing_at(&mut self, position: u64) -> Option<Closing> {
        let before = Wanted::Position(narrow(position.checked_sub(1)?));
        self.look(before, |part| {
            let (at, entry) = first_entry(part.entries, before)?;
            let since = match at.checked_sub(1) {
                Some(last) => part.entries.entry(last).map(|last| last.position.into()),
                None => Some(0),
            };
            (u64::from(entry.position) == position).then_some(Closing { entry, since })
        })
    }

    /// An index that points past its log is not believed.
    fn around(&mut self, wanted: Wanted) -> Stretch {
        let segment = self.segment;
        self.look(wanted, |part| {
            let Stretch { since, until } = part.entries.floor(wanted);
            if part.read_back && until.is_none() {
                segment.doubt_index(&"an entry is damaged");
            }
            match since.is_none_or(|entry| part.holds(&entry)) {
                true => Stretch { since, until: until.filter(|entry| part.holds(entry)) },
                false => Stretch::default(),
            }
        })
    }

    /// The first sound entry after a position, if it lies within the log; and where that ends.
    fn entry_after(&mut self, position: u64) -> (Option<Entry>, Extent) {
        let wanted = Wanted::Position(narrow(position));
        self.look(wanted, |part| (next_entry(part.entries, wanted).filter(|entry| part.holds(entry)), part.extent))
    }

    fn look<R>(&mut self, wanted: Wanted, look: impl FnOnce(Part<'_>) -> R) -> R {
        let (run, file, extent) = {
            let state = self.segment.state.read();
            let extent = state.extent;
            match &state.index {
                Index::Sealed(index) => return look(Part { entries: &**index, extent, read_back: false }),
                Index::Growing(index, file) => match index.window(wanted) {
                    Window::Held(entries) => return look(Part { entries, extent, read_back: false }),
                    Window::Stored(run) => (run, file.clone(), extent),
                },
            }
        };
        look(Part { entries: self.read_back(&run, file), extent, read_back: true })
    }

    fn read_back(&mut self, run: &Run, file: Option<SharedFile>) -> &StoredIndex<Vec<u8>> {
        let held = self.run.take().filter(|(number, _)| *number == run.number());
        let read = || (run.number(), run.read(self.segment.index_bytes(file, run.bytes())));
        &self.run.insert(held.unwrap_or_else(read)).1
    }
}

impl Part<'_> {
    fn holds(&self, entry: &Entry) -> bool {
        u64::from(entry.position) <= self.extent.position
    }
}

impl Segment {
    /// What can be read of a part of the index file.
    fn index_bytes(&self, file: Option<SharedFile>, bytes: Range<u64>) -> Vec<u8> {
        let mut read = vec![0; usize::try_from(bytes.end - bytes.start).unwrap_or(0)];
        let length = file.map_or(Ok(0), |file| file.read_at(&mut read, bytes.start)).unwrap_or_else(|error| {
            self.doubt_index(&error);
            0
        });
        read.truncate(length);
        read
    }

    /// Once is enough: lookups go on without.
    fn doubt_index(&self, why: &dyn std::fmt::Display) {
        if !self.doubted.swap(true, Ordering::Relaxed) {
            let path = self.file.path().display();
            tracing::warn!(log = %path, "a part of the index cannot be read, so lookups read more of the log: {why}");
        }
    }
}

/// The first sound entry that is too far; entries rise, damaged ones are stepped over.
fn next_entry(index: &dyn SegmentIndex, wanted: Wanted) -> Option<Entry> {
    index.floor(wanted).until.or_else(|| first_entry(index, wanted).map(|(_, entry)| entry))
}

/// The same, and its number.
fn first_entry(index: &dyn SegmentIndex, wanted: Wanted) -> Option<(usize, Entry)> {
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

    fn entry_at(position: u32) -> Entry {
        let even = grower_index::Even::default();
        Entry { relative_offset: 0, position, max_timestamp: 0, durable_end: 0, witness: 0, witnessed: true, even }
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
                bytes[at * grower_index::ENTRY_LENGTH] ^= 0x80; // Its relative offset; nobody asks for that.
            }
            let sound = positions.iter().enumerate().filter(|(at, _)| !damaged.contains(at));
            let expected = sound.map(|(at, position)| (at, *position)).find(|(_, position)| wanted < *position);
            let index = grower_index::StoredIndex::new(bytes);
            let wanted = Wanted::Position(wanted);
            let found = first_entry(&index, wanted);
            prop_assert_eq!(found.map(|(at, entry)| (at, entry.position)), expected);
            prop_assert_eq!(next_entry(&index, wanted), found.map(|(_, entry)| entry));
        }
    }
}
