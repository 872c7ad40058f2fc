//! A partition as groups name it, and sets of them.

use grower_protocol::ids::{PartitionId, TopicId};
use grower_protocol::message::TopicPartitions;
use std::collections::BTreeSet;

/// One partition that a member may own: by the topic's identity, so that a topic created again is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionId,
}

pub(super) type Slots = BTreeSet<Slot>;

pub(super) fn to_message(slots: &Slots) -> Vec<TopicPartitions> {
    let mut topics: Vec<TopicPartitions> = Vec::new();
    for slot in slots {
        match topics.last_mut().filter(|last| last.topic == slot.topic) {
            Some(last) => last.partitions.push(slot.partition),
            None => topics.push(TopicPartitions { topic: slot.topic, partitions: vec![slot.partition] }),
        }
    }
    topics
}

pub(super) fn from_message(topics: &[TopicPartitions]) -> impl Iterator<Item = Slot> {
    let slots = |one: &TopicPartitions| {
        let topic = one.topic;
        one.partitions.clone().into_iter().map(move |partition| Slot { topic, partition })
    };
    topics.iter().flat_map(slots)
}
