//! The reference index: an entry after each batch, searched linearly from the end.

use crate::{
    GrowingIndex, HeaderChecksum, IndexEntry, IndexWindow, IndexedBatch, Interval, SearchTarget, SegmentIndex, Uniform,
};

/// Simple and obvious, for tests and tiny logs. All entries stay in memory.
#[derive(Debug)]
pub struct DenseIndex {
    seed: u32,
    entries: Vec<IndexEntry>,
}

impl DenseIndex {
    /// An index of an empty segment.
    pub fn new(seed: u32) -> Self {
        Self { seed, entries: Vec::new() }
    }

    fn push(&mut self, entry: IndexEntry) {
        debug_assert!(self.entries.last().is_none_or(|last| last.precedes(&entry)), "no field of an entry falls");
        self.entries.push(entry);
    }
}

impl SegmentIndex for DenseIndex {
    fn entry_count(&self) -> usize {
        self.entries.len()
    }

    fn entry(&self, at: usize) -> Option<IndexEntry> {
        self.entries.get(at).copied()
    }

    fn floor(&self, target: SearchTarget) -> Interval {
        let count = self.entries.iter().rposition(|entry| target.admits(entry)).map_or(0, |last| last + 1);
        Interval::after(&self.entries, count)
    }
}

impl GrowingIndex for DenseIndex {
    fn note(&mut self, batch: &IndexedBatch<'_>, durable_end: u32) -> Option<IndexEntry> {
        let mut header_checksum = HeaderChecksum::new(self.seed);
        header_checksum.add(batch.prefix);
        let max_before = self.entries.last().map_or(i64::MIN, |entry| entry.max_timestamp);
        let entry = IndexEntry {
            relative_offset: batch.next_relative_offset,
            position: batch.end,
            max_timestamp: max_before.max(batch.max_timestamp),
            durable_end,
            header_checksum: header_checksum.take(),
            checksummed: batch.checksummed,
            uniform: Uniform::default(),
        };
        self.push(entry);
        Some(entry)
    }

    fn finish(&mut self, durable_end: u32) -> Option<IndexEntry> {
        let last = *self.entries.last().filter(|last| last.durable_end < durable_end)?;
        let entry = IndexEntry {
            durable_end,
            header_checksum: HeaderChecksum::new(self.seed).take(),
            checksummed: true,
            ..last
        };
        self.push(entry);
        Some(entry)
    }

    fn restore(&mut self, entry: IndexEntry) {
        self.push(entry);
    }

    fn stored(&mut self, _count: usize) {}

    fn entry_count(&self) -> usize {
        self.entries.len()
    }

    fn window(&self, _wanted: SearchTarget) -> IndexWindow<'_> {
        IndexWindow::Held(self)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_keeps_the_contract() {
        crate::contract::growing(|seed| Box::new(super::DenseIndex::new(seed)));
    }
}
