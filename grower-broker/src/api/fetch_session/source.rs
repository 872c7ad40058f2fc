//! Reads partitions for slots.

use crate::api::partition_read::{self, PartitionRead, ReadLimits};
use crate::partition::WaitingFetches;
use crate::topic::Topics;
use grower_protocol::message::{FetchPartition, Part};
use std::sync::Arc;

/// The partitions of a broker, or of a model.
pub(super) trait SlotSource {
    /// Reads from the position of a slot.
    fn read(&self, wanted: &FetchPartition, limits: ReadLimits) -> Part<SlotRead>;
}

/// A read of a slot's partition.
pub(super) struct SlotRead {
    pub(super) read: PartitionRead,
    /// The waiting fetches of the object that was read, not of a later one.
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
