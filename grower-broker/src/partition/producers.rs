//! The idempotent producers of a partition: their fences, and their memory in its log, counted and bounded.

use super::{Partition, PartitionTail, refusal};
use crate::critical::StateGuard;
use grower_protocol::ids::{ProducerId, ProducerIdentity, Timestamp};
use grower_protocol::message::{Part, ProducerFence};

/// Memory that a log takes for one producer.
const PRODUCER_BYTES: usize = 256;

/// The epoch of a producer to begin in partitions.
#[derive(Debug)]
pub(crate) struct PartitionFence {
    pub(crate) producer: ProducerIdentity,
    /// Earlier ids of the same named producer.
    pub(crate) former: Vec<ProducerId>,
    pub(crate) now: Timestamp,
}

impl Partition {
    /// Begins an epoch of a producer. It refuses batches of earlier epochs wherever they wait: in the append queue, in a
    /// connection, or in a request that has not reached the writer's lock.
    ///
    /// The record in the answer may not be committed yet.
    pub(crate) fn fence_producer(&self, fence: &PartitionFence) -> Part<ProducerFence> {
        Self::fence_under_lock(self.writer.lock(), fence)
    }

    /// As [`Partition::fence_producer`], if that does not wait for slow work; else none, and the caller queues the
    /// fence.
    pub(crate) fn offer_fence(&self, fence: &PartitionFence) -> Option<Part<ProducerFence>> {
        self.writer.lock_unless_slow().map(|tail| Self::fence_under_lock(tail, fence))
    }

    fn fence_under_lock(mut tail: StateGuard<'_, PartitionTail>, fence: &PartitionFence) -> Part<ProducerFence> {
        tail.writable_epoch()?;
        let fenced = tail.log.fence_producer(fence.producer, &fence.former, fence.now);
        let last = fenced.map_err(|error| refusal::of_fence(&error))?;
        tail.bound_producers(fence.now);
        Ok(ProducerFence { last })
    }

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
