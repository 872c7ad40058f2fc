//! Keeps the newest entries of a growing index in memory, and only the first entry of each older run.

use crate::window::{EntryRun, IndexWindow};
use crate::{IndexEntry, Interval, SearchTarget, SegmentIndex};

/// How many entries make a run: 8 KiB of the file, which the kernel copies in about a microsecond.
const RUN_LENGTH: usize = 256;

/// Entries in two levels. The last one or two runs stay in memory whole, since most readers are near the end. An
/// earlier run keeps its first entry only, once it is in the file.
#[derive(Debug)]
pub(crate) struct Levels {
    run_length: usize,
    /// The first entry of each run that is in the file only.
    run_firsts: Vec<IndexEntry>,
    /// All entries after those runs; never empty if there are any.
    tail: HeldEntries,
    /// How many entries are in the file.
    stored: usize,
}

impl Default for Levels {
    fn default() -> Self {
        Self::of_runs(RUN_LENGTH)
    }
}

impl Levels {
    pub(crate) fn of_runs(length: usize) -> Self {
        Self { run_length: length.max(1), run_firsts: Vec::new(), tail: HeldEntries(Vec::new()), stored: 0 }
    }

    pub(crate) fn count(&self) -> usize {
        self.run_firsts.len() * self.run_length + self.tail.0.len()
    }

    pub(crate) fn last(&self) -> Option<&IndexEntry> {
        self.tail.0.last()
    }

    pub(crate) fn push(&mut self, entry: IndexEntry) {
        debug_assert!(self.last().is_none_or(|last| last.precedes(&entry)), "{entry:?} falls behind {:?}", self.last());
        self.tail.0.push(entry);
    }

    /// The first `count` entries are in the file.
    pub(crate) fn stored(&mut self, count: usize) {
        debug_assert!(count <= self.count(), "{count} of {} entries are stored", self.count());
        self.stored = self.stored.max(count);
        let Self { run_length, run_firsts, tail: HeldEntries(tail), stored } = self;
        while 2 * *run_length <= tail.len() && (run_firsts.len() + 1) * *run_length <= *stored {
            run_firsts.push(tail[0]);
            tail.drain(..*run_length);
        }
        tail.shrink_to(2 * *run_length); // More were held while the file could not be written.
        debug_assert!(run_firsts.is_empty() || *run_length <= tail.len(), "the last run stays in memory");
        debug_assert!(run_firsts.len() * *run_length <= *stored, "an entry that is in no file stays in memory");
    }

    /// Bytes of memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        (self.run_firsts.capacity() + self.tail.0.capacity()) * size_of::<IndexEntry>()
    }

    pub(crate) fn window(&self, target: SearchTarget) -> IndexWindow<'_> {
        let number = self.run_firsts.partition_point(|first| target.admits(first)).saturating_sub(1);
        let tail = self.tail.0.first();
        match (self.run_firsts.get(number), self.run_firsts.get(number + 1).or(tail)) {
            (Some(first), Some(next)) if !target.admits(next) => {
                IndexWindow::Stored(EntryRun { number, length: self.run_length, first: *first, next: *next })
            }
            _ => IndexWindow::Held(&self.tail),
        }
    }
}

/// Entries in memory.
#[derive(Debug)]
struct HeldEntries(Vec<IndexEntry>);

impl SegmentIndex for HeldEntries {
    fn entry_count(&self) -> usize {
        self.0.len()
    }

    fn entry(&self, at: usize) -> Option<IndexEntry> {
        self.0.get(at).copied()
    }

    fn floor(&self, target: SearchTarget) -> Interval {
        Interval::after(&self.0, self.0.partition_point(|entry| target.admits(entry)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::search;
    use crate::{GrowingIndex, IndexedBatch, SparseIndex};
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Operation {
        /// A batch: its length, how many offsets it has, its time.
        Note(u32, u32, i64),
        Finish,
        /// Writes more entries into the file, this many.
        Write(usize),
        /// Loses the end of the file and rebuilds the index; this share stays, in 255ths.
        Reopen(u8),
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            12 => (1u32..60, 1u32..4, -5i64..40).prop_map(|(length, offsets, time)| Operation::Note(length, offsets, time)),
            1 => Just(Operation::Finish),
            6 => (0usize..12).prop_map(Operation::Write),
            1 => any::<u8>().prop_map(Operation::Reopen),
        ]
    }

    /// A growing index, its file, and all entries as a plain list.
    struct IndexModel {
        make: Box<dyn Fn() -> SparseIndex>,
        index: SparseIndex,
        entries: Vec<IndexEntry>,
        file: Vec<u8>,
    }

    impl IndexModel {
        fn apply(&mut self, operation: &Operation) {
            match operation {
                Operation::Note(length, offsets, time) => self.note(*length, *offsets, *time),
                Operation::Finish => self.entries.extend(self.index.finish(self.entries.len() as u32)),
                Operation::Write(more) => {
                    let written = self.file.len() / 32;
                    self.file.extend(self.entries.iter().skip(written).take(*more).flat_map(IndexEntry::encode));
                    self.index.stored(self.file.len() / 32);
                }
                Operation::Reopen(share) => {
                    let kept = self.file.len() / 32 * usize::from(*share) / 255;
                    self.file.truncate(kept * 32);
                    self.entries.truncate(kept);
                    self.index = (self.make)();
                    self.entries.iter().for_each(|entry| self.index.restore(*entry));
                }
            }
        }

        fn note(&mut self, length: u32, offsets: u32, time: i64) {
            let last = self.entries.last();
            let (offset, end) = last.map_or((0, 0), |last| (last.relative_offset, last.position));
            let batch = IndexedBatch {
                prefix: &[0; 21],
                next_relative_offset: offset + offsets,
                end: end + length,
                max_timestamp: last.map_or(0, |last| last.max_timestamp) + time,
                checksummed: true,
            };
            self.entries.extend(self.index.note(&batch, 0));
        }

        fn check(&self) {
            assert_eq!(self.index.entry_count(), self.entries.len());
            for entry in self.entries.iter().chain([&crate::contract::sample(0)]) {
                for near in -1..=1 {
                    self.check_search(SearchTarget::Offset(entry.relative_offset.saturating_add_signed(near)));
                    self.check_search(SearchTarget::Position(entry.position.saturating_add_signed(near)));
                    self.check_search(SearchTarget::Time(entry.max_timestamp + i64::from(near)));
                }
            }
        }

        fn check_search(&self, target: SearchTarget) {
            let count = self.entries.iter().take_while(|entry| target.admits(entry)).count();
            assert_eq!(search(&self.index, target, &self.file), Interval::after(&self.entries, count), "{target:?}");
        }
    }

    proptest! {
        #[test]
        fn two_levels_find_what_a_list_finds(run in 1usize..5, operations in prop::collection::vec(operation(), 0..80)) {
            let make = move || SparseIndex::new(0, 0).in_runs_of(run);
            let mut model = IndexModel { make: Box::new(make), index: make(), entries: Vec::new(), file: Vec::new() };
            for operation in &operations {
                model.apply(operation);
            }
            model.check();
        }
    }

    /// An index with this many entries, and this many of them in the file.
    fn levels(count: u32, stored: usize) -> Levels {
        let mut levels = Levels::default();
        for n in 1..=count {
            levels.push(crate::contract::sample(n));
            levels.stored(stored.min(n as usize));
        }
        levels
    }

    #[test]
    fn memory_is_bounded_by_what_is_in_the_file() {
        let kib = |levels: Levels| levels.memory_bytes() >> 10;
        assert_eq!(kib(levels(0, 0)), 0);
        assert_eq!(kib(levels(1 << 18, 1 << 18)), 48, "1 GiB of log at the default interval");
        assert_eq!(kib(levels(1 << 14, 0)), 512, "what cannot be written stays");
        let mut late = levels(1 << 14, 0);
        late.stored(1 << 14);
        assert_eq!(kib(late), 18, "until it can");
    }

    #[test]
    fn an_entry_that_is_not_in_the_file_is_never_looked_for_there() {
        for stored in 0..2_000 {
            let levels = levels(2_000, stored);
            assert!(levels.run_firsts.len() * RUN_LENGTH <= stored, "{stored} are stored");
        }
    }
}
