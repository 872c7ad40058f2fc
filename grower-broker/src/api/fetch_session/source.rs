//! The partitions as the slots of a session see them.

use crate::api::partition_read::{self, PartitionRead, ReadLimits};
use crate::partition::WaitingFetches;
use crate::topic::Topics;
use grower_protocol::message::{FetchPartition, Part};
use std::sync::Arc;

/// Reads partitions.
pub(super) trait SlotSource {
    /// Reads from the position of a slot.
    fn read(&self, wanted: &FetchPartition, limits: ReadLimits) -> Part<SlotRead>;
}

/// What a slot finds in its partition.
pub(super) struct SlotRead {
    pub(super) read: PartitionRead,
    /// Where it waits for more: with the very object that was read.
    pub(super) fetches: Arc<WaitingFetches>,
}

impl SlotSource for Topics {
    fn read(&self, wanted: &FetchPartition, limits: ReadLimits) -> Part<SlotRead> {
        let partition = self.partition(wanted.topic, wanted.partition)?;
        let read = partition_read::read(&partition, wanted, limits)?;
        if read.next.is_some() {
            partition.traffic.fetched(read.records(), read.bytes());
        }
        Ok(SlotRead { read, fetches: partition.fetches().clone() })
    }
}
