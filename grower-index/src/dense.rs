//! The index to compare others with: an entry after each batch, looked for from the end.

use crate::{Entry, GrowingIndex, Mark, NotedBatch, SegmentIndex, Witness};

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

    fn last_where(&self, not_too_far: impl Fn(&Entry) -> bool) -> Mark {
        self.entries.iter().rev().find(|entry| not_too_far(entry)).copied().map_or(Mark::START, Mark::from)
    }
}

impl SegmentIndex for DenseIndex {
    fn entry_count(&self) -> usize {
        self.entries.len()
    }

    fn entry(&self, at: usize) -> Option<Entry> {
        self.entries.get(at).copied()
    }

    fn floor_by_offset(&self, relative_offset: u32) -> Mark {
        self.last_where(|entry| entry.relative_offset <= relative_offset)
    }

    fn floor_by_time(&self, timestamp: i64) -> Mark {
        self.last_where(|entry| entry.max_timestamp < timestamp)
    }

    fn floor_by_position(&self, position: u32) -> Mark {
        self.last_where(|entry| entry.position <= position)
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
