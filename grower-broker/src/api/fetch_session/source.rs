//! The partitions as the slots of a session see them.

use super::ready::ReadySlots;
use crate::api::partition_read::{self, PartitionRead, ReadLimits};
use crate::partition::FetchWaker;
use crate::topic::Topics;
use grower_protocol::ids::Offset;
use grower_protocol::message::{FetchPartition, FetchSlot, Part};
use std::sync::Arc;

/// Reads partitions, and waits for them.
pub(super) trait SlotSource {
    /// Reads from the position of a slot.
    fn read(&self, wanted: &FetchPartition, limits: ReadLimits) -> Part<PartitionRead>;

    /// Makes the slot ready when its high watermark passes `seen`, or when its partition ends: at once if either has
    /// happened.
    fn wait(&self, slot: FetchSlot, wanted: &FetchPartition, seen: Offset);

    /// Ends the wait of a slot. True if it still waited; else it has been made ready.
    fn forget(&self, slot: FetchSlot, wanted: &FetchPartition) -> bool;
}

/// The partitions of this broker, for one session.
pub(super) struct ServedSource<'a> {
    pub(super) topics: &'a Topics,
    pub(super) ready: &'a Arc<ReadySlots>,
}

impl ServedSource<'_> {
    fn waker(&self) -> Arc<dyn FetchWaker> {
        self.ready.clone()
    }
}

impl SlotSource for ServedSource<'_> {
    fn read(&self, wanted: &FetchPartition, limits: ReadLimits) -> Part<PartitionRead> {
        let read = partition_read::read(self.topics, wanted, limits)?;
        if read.next.is_some()
            && let Ok(partition) = self.topics.partition(wanted.topic, wanted.partition)
        {
            partition.traffic.fetched(read.records(), read.bytes());
        }
        Ok(read)
    }

    fn wait(&self, slot: FetchSlot, wanted: &FetchPartition, seen: Offset) {
        let waker = self.waker();
        match self.topics.partition(wanted.topic, wanted.partition) {
            Err(_) => self.ready.push(slot),
            Ok(partition) => {
                partition.wake_beyond(seen, &waker, slot.0);
                // After registering: a partition that ends later wakes the slot.
                let ended = self.topics.partition(wanted.topic, wanted.partition).is_err();
                if ended && partition.forget_fetch(&waker, slot.0) {
                    self.ready.push(slot);
                }
            }
        }
    }

    fn forget(&self, slot: FetchSlot, wanted: &FetchPartition) -> bool {
        // A partition that ended has woken the slot.
        let partition = self.topics.partition(wanted.topic, wanted.partition);
        partition.is_ok_and(|partition| partition.forget_fetch(&self.waker(), slot.0))
    }
}
