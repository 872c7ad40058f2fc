//! The idempotent producers of a partition: their fences, and their memory in its log, counted and bounded.

use super::{Partition, PartitionTail, refusal};
use crate::critical::StateGuard;
use grower_protocol::ids::{LastWritten, ProducerId, ProducerIdentity, Timestamp};
use grower_protocol::message::{ErrorCode, Failure, Part, ProducerFence};

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
    /// Begins an epoch of a producer. It refuses batches of earlier epochs wherever they wait: in the append queue, in
    /// a connection, or in a request that has not reached the writer's lock.
    ///
    /// The record in the answer may not be committed yet.
    pub(crate) fn fence_producer(&self, fence: &PartitionFence) -> Part<ProducerFence> {
        self.fence_under_lock(self.writer.lock(), fence)
    }

    /// As [`Partition::fence_producer`], if that does not wait for slow work; else none, and the caller queues the
    /// fence.
    pub(crate) fn offer_fence(&self, fence: &PartitionFence) -> Option<Part<ProducerFence>> {
        self.writer.lock_unless_slow().map(|tail| self.fence_under_lock(tail, fence))
    }

    fn fence_under_lock(&self, mut tail: StateGuard<'_, PartitionTail>, fence: &PartitionFence) -> Part<ProducerFence> {
        tail.writable_epoch()?;
        if fence.producer.id.is_named() {
            self.registry.check(fence.producer)?;
            tail.admit_named(fence.producer.id)?;
        }
        let fenced = tail.log.fence_producer(fence.producer, &fence.former, fence.now);
        let last = fenced.map_err(|error| refusal::of_fence(&error))?;
        tail.bound_producers(fence.now);
        Ok(ProducerFence { last })
    }

    /// The last record of any of a producer's ids; none if it wrote nothing here. The record may not be committed yet.
    pub(crate) fn last_written(&self, ids: &[ProducerId]) -> Option<LastWritten> {
        let tail = self.writer.lock();
        if tail.deleted {
            return None;
        }
        let producers = tail.log.producers();
        ids.iter().filter_map(|id| producers.last_written(*id)).max_by_key(|last| last.offset)
    }

    /// The named producers, and when each last appended or was fenced, by the steady clock.
    pub(crate) fn named_producers(&self) -> Vec<(ProducerId, Timestamp)> {
        let tail = self.writer.lock();
        if tail.deleted { Vec::new() } else { tail.log.producers().named().collect() }
    }

    /// Forgets producers without a name that were silent for longer than `silent_ms`, and those with an id that no name
    /// has any more.
    pub(crate) fn forget_producers(&self, now: Timestamp, silent_ms: u64) {
        let mut tail = self.writer.lock_slowly();
        if 0 < tail.producers.bytes() && !tail.deleted {
            tail.log.forget_producers(now, silent_ms, usize::MAX);
            // The registry is read under the lock, for which the first batch of a new name waits.
            tail.log.forget_named_producers(&|id| self.registry.knows(id));
            tail.count_producers();
        }
    }
}

impl PartitionTail {
    pub(super) fn count_producers(&mut self) {
        self.producers.set(self.log.producers().len() * PRODUCER_BYTES);
    }

    /// Counts after an append. If the memory of all producers is used up, a log with many of them forgets those that
    /// were silent longest; a regular look at all partitions usually did so before.
    pub(super) fn bound_producers(&mut self, now: Timestamp) {
        let before = self.producers.bytes();
        self.count_producers();
        let (producers, unnamed) = (self.log.producers().len(), self.unnamed());
        if before < self.producers.bytes() && self.producers.room() == 0 && 1 < unnamed {
            self.log.forget_producers(now, u64::MAX, unnamed - (unnamed / 8).max(1));
            self.count_producers();
            debug_assert!(self.log.producers().len() < producers, "memory is full and no producer was forgotten");
        }
    }

    /// Refuses a named producer that needs memory for a new state while there is none. States of others are forgotten
    /// first; that of a named producer is kept, as promised.
    pub(super) fn admit_named(&mut self, id: ProducerId) -> Result<(), Failure> {
        if self.producers.room() != 0 || self.log.producers().remembers(id) {
            return Ok(());
        }
        let unnamed = self.unnamed();
        self.log.forget_producers(Timestamp::MIN, u64::MAX, unnamed - unnamed.div_ceil(8));
        self.count_producers();
        if self.producers.room() != 0 {
            return Ok(());
        }
        let detail = "the states of producers use all memory that they may: try again later, delete named producers \
                      that are not used any more (grower-cli producer delete NAME), or raise broker.memory";
        Err(Failure::new(ErrorCode::MemoryFull, detail))
    }

    fn unnamed(&self) -> usize {
        let producers = self.log.producers();
        producers.len() - producers.named().len()
    }
}
