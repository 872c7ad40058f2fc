//! The index to compare others with: an entry after each batch, looked for from the end.

use crate::{Entry, Even, GrowingIndex, NotedBatch, SegmentIndex, Stretch, Witness};

/// Simple and obvious. Searches are linear: meant for tests and for tiny logs.
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

    fn floor(&self, not_too_far: impl Fn(&Entry) -> bool) -> Stretch {
        let count = self.entries.iter().rposition(not_too_far).map_or(0, |last| last + 1);
        Stretch::after(&self.entries, count)
    }
}

impl SegmentIndex for DenseIndex {
    fn entry_count(&self) -> usize {
        self.entries.len()
    }

    fn entry(&self, at: usize) -> Option<Entry> {
        self.entries.get(at).copied()
    }

    fn floor_by_offset(&self, relative_offset: u32) -> Stretch {
        self.floor(|entry| entry.relative_offset <= relative_offset)
    }

    fn floor_by_time(&self, timestamp: i64) -> Stretch {
        self.floor(|entry| entry.max_timestamp < timestamp)
    }

    fn floor_by_position(&self, position: u32) -> Stretch {
        self.floor(|entry| entry.position <= position)
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
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_keeps_the_contract() {
        crate::contract::growing(|seed| Box::new(super::DenseIndex::new(seed)));
    }
}
