//! Memory of idempotent producers in a partition's log, counted and bounded.

use super::{Partition, PartitionTail};
use grower_protocol::ids::Timestamp;

/// Memory that a log takes for one producer.
const PRODUCER_BYTES: usize = 256;

impl Partition {
    /// Forgets producers that were silent for longer than `silent_ms`.
    pub(crate) fn forget_producers(&self, now: Timestamp, silent_ms: u64) {
        let mut tail = self.writer.lock_slowly();
        if 0 < tail.producers.bytes() && !tail.deleted {
            tail.log.forget_producers(now, silent_ms, usize::MAX);
            tail.count_producers();
        }
    }
}

impl PartitionTail {
    pub(super) fn count_producers(&mut self) {
        self.producers.set(self.log.producers() * PRODUCER_BYTES);
    }

    /// Counts after an append. If the memory of all producers is used up, a log with many of them forgets those that
    /// were silent longest; a regular look at all partitions usually did so before.
    pub(super) fn bound_producers(&mut self, now: Timestamp) {
        let before = self.producers.bytes();
        self.count_producers();
        let producers = self.log.producers();
        if before < self.producers.bytes() && self.producers.room() == 0 && 1 < producers {
            self.log.forget_producers(now, u64::MAX, producers - (producers / 8).max(1));
            self.count_producers();
            debug_assert!(self.log.producers() < producers, "memory is full and no producer was forgotten");
        }
    }
}
