//! The index to compare others with: an entry after each batch, looked for from the end.

use crate::{Entry, Even, GrowingIndex, NotedBatch, SegmentIndex, Stretch, Wanted, Window, Witness};

/// Simple and obvious. It holds all its entries, and searches are linear: meant for tests and for tiny logs.
#[derive(Debug)]
pub struct DenseIndex {
    seed: u32,
    entries: Vec<Entry>,
}

impl DenseIndex {
    /// An index of an empty segment.
    pub fn new(seed: u32) -> Self {
        Self { seed, entries: Vec::new() }
    }
}

impl SegmentIndex for DenseIndex {
    fn entry_count(&self) -> usize {
        self.entries.len()
    }

    fn entry(&self, at: usize) -> Option<Entry> {
        self.entries.get(at).copied()
    }

    fn floor(&self, wanted: Wanted) -> Stretch {
        let count = self.entries.iter().rposition(|entry| wanted.admits(entry)).map_or(0, |last| last + 1);
        Stretch::after(&self.entries, count)
    }
}

impl GrowingIndex for DenseIndex {
    fn note(&mut self, batch: &NotedBatch<'_>, durable_end: u32) -> Option<Entry> {
        let mut witness = Witness::new(self.seed);
        witness.add(batch.prefix);
        let max_before = self.entries.last().map_or(i64::MIN, |entry| entry.max_timestamp);
        let entry = Entry {
            relative_offset: batch.next_relative_offset,
            position: batch.end,
            max_timestamp: max_before.max(batch.max_timestamp),
            durable_end,
            witness: witness.take(),
            witnessed: batch.witnessed,
            even: Even::default(),
        };
        self.entries.push(entry);
        Some(entry)
    }

    fn finish(&mut self, durable_end: u32) -> Option<Entry> {
        let last = *self.entries.last().filter(|last| last.durable_end < durable_end)?;
        let entry = Entry { durable_end, witness: Witness::new(self.seed).take(), witnessed: true, ..last };
        self.entries.push(entry);
        Some(entry)
    }

    fn restore(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    fn stored(&mut self, _count: usize) {}

    fn entry_count(&self) -> usize {
        self.entries.len()
    }

    fn window(&self, _wanted: Wanted) -> Window<'_> {
        Window::Held(self)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_keeps_the_contract() {
        crate::contract::growing(|seed| Box::new(super::DenseIndex::new(seed)));
    }
}
