//! Partitions by topic id, and sets of them.

use grower_protocol::ids::{PartitionId, TopicId};
use grower_protocol::message::TopicPartitions;
use std::collections::BTreeSet;

/// A partition by its topic's id: a topic that is created again under the same name is another topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicIdPartition {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionId,
}

pub(super) type PartitionSet = BTreeSet<TopicIdPartition>;

pub(super) fn to_message(partitions: &PartitionSet) -> Vec<TopicPartitions> {
    let mut topics: Vec<TopicPartitions> = Vec::new();
    for partition in partitions {
        match topics.last_mut().filter(|last| last.topic == partition.topic) {
            Some(last) => last.partitions.push(partition.partition),
            None => topics.push(TopicPartitions { topic: partition.topic, partitions: vec![partition.partition] }),
        }
    }
    topics
}

pub(super) fn from_message(topics: &[TopicPartitions]) -> impl Iterator<Item = TopicIdPartition> {
    let partitions = |one: &TopicPartitions| {
        let topic = one.topic;
        one.partitions.clone().into_iter().map(move |partition| TopicIdPartition { topic, partition })
    };
    topics.iter().flat_map(partitions)
}
