//! Reading up to an end: each partition hands out what is before its end, and then waits for the others.

use super::{PartitionFetchState, SubscriptionState};
use crate::record::TopicPartition;
use grower_protocol::ids::{Offset, TopicName};
use std::collections::BTreeMap;

impl SubscriptionState {
    /// Hands out only records before these ends. A partition without one waits.
    pub(crate) fn read_up_to(&mut self, ends: &BTreeMap<TopicPartition, Offset>) {
        self.reads_to_end = true;
        self.partitions.update_all(
            |_| true,
            |partition| partition.read_end = Some(ends.get(&partition.topic_partition).copied().unwrap_or_default()),
        );
    }

    /// Hands out all records again.
    pub(crate) fn forget_read_ends(&mut self) {
        self.reads_to_end = false;
        self.partitions.update_all(|_| true, |partition| partition.read_end = None);
    }

    /// Whether all partitions are read up to their ends.
    pub(crate) fn is_at_read_ends(&self) -> bool {
        !self.partitions.iter().any(|partition| partition.is_before_read_end())
    }

    /// The positions of the partitions that have nothing for the reader before their ends.
    pub(crate) fn quiet_before_read_ends(&self) -> Vec<(TopicPartition, Offset)> {
        let quiet = self.partitions.iter().filter(|partition| partition.is_quiet_before_read_end());
        quiet.map(|partition| (partition.topic_partition.clone(), partition.position().offset)).collect()
    }

    /// Reads a partition no further for now.
    pub(crate) fn stop_reading(&mut self, topic_partition: &TopicPartition) {
        if let Some(mut partition) = self.partitions.update(topic_partition) {
            partition.stop_reading();
        }
    }

    /// Reads the partitions of a topic no further for now.
    pub(crate) fn stop_reading_topic(&mut self, topic: &TopicName) {
        let picks = |partition: &PartitionFetchState| partition.topic_partition.topic == *topic;
        self.partitions.update_all(picks, PartitionFetchState::stop_reading);
    }

    /// Reads a partition no further if it is still at `position` and its log has no record before the end: the next one
    /// is at `next`.
    pub(crate) fn stop_reading_behind_last(
        &mut self,
        topic_partition: &TopicPartition,
        position: Offset,
        next: Option<Offset>,
    ) {
        let has_none = |partition: &PartitionFetchState| {
            partition.is_quiet_before_read_end()
                && partition.position().offset == position
                && next.is_none_or(|next| partition.read_end <= Some(next))
        };
        if self.partitions.get(topic_partition).is_some_and(has_none) {
            self.stop_reading(topic_partition);
        }
    }
}
