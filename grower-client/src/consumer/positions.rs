//! Positions of the reader: where it is, how far from the end, and jumps to other places.

use super::Consumer;
use super::state::PartitionFetchState;
use super::tasks::start;
use crate::error::ConsumeError;
use crate::record::TopicPartition;
use grower_protocol::ids::{Offset, PartitionId, Timestamp};
use grower_protocol::message::OffsetSpec;

impl Consumer {
    /// Returns the next offset to hand out; `None` if the partition is not assigned or its start is not known yet.
    pub fn position(&self, topic: impl AsRef<str>, partition: impl Into<PartitionId>) -> Option<Offset> {
        self.inspect(topic, partition, |partition| Some(partition.position().offset))
    }

    /// Returns the high watermark, the first offset that is not committed, as of the last fetch.
    pub fn high_watermark(&self, topic: impl AsRef<str>, partition: impl Into<PartitionId>) -> Option<Offset> {
        self.inspect(topic, partition, |partition| partition.high_watermark)
    }

    /// Returns the number of offsets between position and high watermark, as of the last fetch.
    pub fn lag(&self, topic: impl AsRef<str>, partition: impl Into<PartitionId>) -> Option<u64> {
        self.inspect(topic, partition, |partition| {
            partition.high_watermark.map(|end| end.since(partition.position().offset))
        })
    }

    /// Continues at `offset`.
    pub fn seek(
        &self,
        topic: impl AsRef<str>,
        partition: impl Into<PartitionId>,
        offset: Offset,
    ) -> Result<(), ConsumeError> {
        let topic_partition = TopicPartition::new(topic, partition)?;
        self.shared.lock().seek(&topic_partition, offset)
    }

    /// Continues, in each assigned partition, at the first record at or after `time`, or at the end if there is none.
    pub async fn seek_to_time(&self, time: Timestamp) -> Result<(), ConsumeError> {
        let topic_partitions = self.assignment();
        let lookups: Vec<_> =
            topic_partitions.iter().map(|topic_partition| (topic_partition, OffsetSpec::AtOrAfter(time))).collect();
        let found = start::look_up_offsets(&self.cluster, &lookups, self.cluster.deadline())
            .await
            .map_err(ConsumeError::Start)?;
        let found = found.into_iter().collect::<Result<Vec<_>, _>>().map_err(ConsumeError::Start)?;
        for (topic_partition, offset) in topic_partitions.iter().zip(found) {
            drop(self.shared.lock().seek(topic_partition, offset)); // A revoked partition needs no seek.
        }
        Ok(())
    }

    fn inspect<T>(
        &self,
        topic: impl AsRef<str>,
        partition: impl Into<PartitionId>,
        inspect: impl FnOnce(&PartitionFetchState) -> Option<T>,
    ) -> Option<T> {
        let topic_partition = TopicPartition::new(topic, partition).ok()?;
        self.shared.lock().partitions.get(&topic_partition).filter(|partition| !partition.is_starting).and_then(inspect)
    }
}
