//! The broker's index: one entry for a fixed number of log bytes.

use crate::levels::Levels;
use crate::uniform::Comparison;
use crate::{GrowingIndex, HeaderChecksum, IndexEntry, IndexPosition, IndexWindow, IndexedBatch, SearchTarget};

/// Holds the last few hundred entries, and one in 256 of those in its file: 48 KiB of memory for 1 GiB of log at the
/// default interval.
#[derive(Debug)]
pub struct SparseIndex {
    interval_bytes: u32,
    entries: Levels,
    pending: PendingEntry,
}

/// The batches since the last entry.
#[derive(Debug)]
struct PendingEntry {
    header_checksum: HeaderChecksum,
    checksummed: bool,
    comparison: Comparison,
    /// Where the last batch ended.
    end: IndexPosition,
    max_timestamp: i64,
}

impl SparseIndex {
    /// An index of an empty segment: an entry after each `interval_bytes` of log, 0 for one after each batch.
    pub fn new(interval_bytes: u32, seed: u32) -> Self {
        let pending = PendingEntry {
            header_checksum: HeaderChecksum::new(seed),
            checksummed: true,
            comparison: Comparison::default(),
            end: IndexPosition::START,
            max_timestamp: i64::MIN,
        };
        Self { interval_bytes, entries: Levels::default(), pending }
    }

    /// Holds one in `entries` of those in its file, instead of one in 256, so that a small test reads something back.
    pub fn in_runs_of(self, entries: usize) -> Self {
        Self { entries: Levels::of_runs(entries), ..self }
    }

    /// How much memory the entries take, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.entries.memory_bytes()
    }

    fn last_position(&self) -> IndexPosition {
        self.entries.last().copied().map_or(IndexPosition::START, IndexPosition::from)
    }

    fn push(&mut self, durable_end: u32) -> IndexEntry {
        let pending = &mut self.pending;
        let entry = IndexEntry {
            relative_offset: pending.end.relative_offset,
            position: pending.end.position,
            max_timestamp: pending.max_timestamp,
            durable_end,
            header_checksum: pending.header_checksum.take(),
            checksummed: std::mem::replace(&mut pending.checksummed, true),
            uniform: pending.comparison.take(),
        };
        self.entries.push(entry);
        entry
    }
}

impl GrowingIndex for SparseIndex {
    fn note(&mut self, batch: &IndexedBatch<'_>, durable_end: u32) -> Option<IndexEntry> {
        let pending = &mut self.pending;
        pending.header_checksum.add(batch.prefix);
        pending.checksummed &= batch.checksummed;
        debug_assert!(pending.end.position <= batch.end, "batches come in the order of the file");
        debug_assert!(pending.end.relative_offset <= batch.next_relative_offset, "offsets rise");
        let length = batch.end - pending.end.position;
        let offsets = batch.next_relative_offset - pending.end.relative_offset;
        pending.comparison.add(length, offsets, batch.max_timestamp);
        pending.end = IndexPosition { relative_offset: batch.next_relative_offset, position: batch.end };
        pending.max_timestamp = pending.max_timestamp.max(batch.max_timestamp);
        let since_last = batch.end - self.last_position().position;
        (self.interval_bytes <= since_last).then(|| self.push(durable_end))
    }

    fn finish(&mut self, durable_end: u32) -> Option<IndexEntry> {
        let knows_more = self.entries.last().is_some_and(|last| last.durable_end < durable_end);
        let covers_more = self.last_position() != self.pending.end;
        (covers_more || knows_more).then(|| self.push(durable_end))
    }

    fn restore(&mut self, entry: IndexEntry) {
        debug_assert_eq!(self.last_position(), self.pending.end, "entries come back before any batch is added");
        self.pending.end = entry.into();
        self.pending.max_timestamp = self.pending.max_timestamp.max(entry.max_timestamp);
        self.entries.push(entry);
        self.entries.stored(self.entries.count());
    }

    fn stored(&mut self, count: usize) {
        self.entries.stored(count);
    }

    fn entry_count(&self) -> usize {
        self.entries.count()
    }

    fn window(&self, target: SearchTarget) -> IndexWindow<'_> {
        self.entries.window(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sparse(interval_bytes: u32) -> SparseIndex {
        SparseIndex::new(interval_bytes, 0)
    }

    #[test]
    fn it_keeps_the_contract() {
        for interval in [0, 100, u32::MAX] {
            crate::contract::growing(|seed| Box::new(SparseIndex::new(interval, seed)));
            for run in [1, 2, 5] {
                crate::contract::growing(|seed| Box::new(SparseIndex::new(interval, seed).in_runs_of(run)));
            }
        }
    }

    fn batch(end: u32) -> IndexedBatch<'static> {
        IndexedBatch { prefix: &[0; 21], next_relative_offset: end / 10, end, max_timestamp: 0, checksummed: true }
    }

    #[test]
    fn an_entry_is_due_after_each_interval() {
        let mut index = sparse(100);
        let due: Vec<bool> = (1..=7).map(|at| index.note(&batch(at * 40), 0).is_some()).collect();
        assert_eq!(due, [false, false, true, false, false, true, false]);
    }

    #[test]
    fn a_clean_stop_covers_the_rest_once() {
        let mut index = sparse(100);
        assert_eq!(index.finish(0), None, "an empty segment has nothing to say");
        index.note(&batch(40), 0);
        assert_eq!(index.finish(40).map(|entry| (entry.position, entry.durable_end)), Some((40, 40)));
        assert_eq!(index.finish(40), None);
    }

    #[test]
    fn a_batch_found_in_the_file_leaves_one_entry_without_a_trusted_checksum() {
        let mut index = sparse(0);
        let found = IndexedBatch { checksummed: false, ..batch(40) };
        assert!(!index.note(&found, 0).unwrap().checksummed);
        assert!(index.note(&batch(80), 0).unwrap().checksummed);
    }
}
