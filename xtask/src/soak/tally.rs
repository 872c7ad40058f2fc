//! Counts the work of the loads.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of all loads.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) acknowledged: Count,
    pub(super) consumed: Count,
    /// Members that joined the group.
    pub(super) joins: Count,
    /// Topics created, written to, read and deleted.
    pub(super) topics: Count,
    pub(super) scrapes: Count,
    /// Rounds over all keys of the compacted topic.
    pub(super) rounds: Count,
    pub(super) backups: Count,
    /// Consumers that never read their responses.
    pub(super) stalled: Count,
    /// Topics deleted and created again during production.
    pub(super) recreated: Count,
    /// Times that `flush` was altered and restored.
    pub(super) flips: Count,
    /// Jumps of the clock and back.
    pub(super) jumps: Count,
    /// Clients that left during a long poll.
    pub(super) polls: Count,
    /// Times that retention overtook the slow reader.
    pub(super) gaps: Count,
    group: Mutex<BTreeMap<u32, u64>>,
}

/// A counter that only grows.
#[derive(Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Tally {
    /// Counts the record at `offset` of a group member. Fails if no member ever got the one before it.
    pub(super) fn add_group_record(&self, partition: u32, offset: u64) -> anyhow::Result<()> {
        let mut group = self.group.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let next = group.entry(partition).or_default();
        anyhow::ensure!(offset <= *next, "the group got offset {offset} of partition {partition} and never {next}");
        *next = (*next).max(offset + 1); // A smaller offset is a repeated read after a killed member.
        Ok(())
    }

    /// Whether the group read each of these partitions up to `end`.
    pub(super) fn group_has_read(&self, partitions: u32, end: u64) -> bool {
        let group = self.group.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        (0..partitions).all(|partition| group.get(&partition) == Some(&end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_may_read_twice_but_never_skip() {
        let tally = Tally::default();
        for offset in [0, 1, 2, 1, 2, 3] {
            tally.add_group_record(0, offset).unwrap();
        }
        assert!(tally.add_group_record(0, 5).is_err());
        assert!(tally.group_has_read(1, 4) && !tally.group_has_read(1, 5) && !tally.group_has_read(2, 4));
    }
}
