//! The facts about topics that groups need.

use grower_protocol::ids::{PartitionId, TopicId, TopicName};
use std::collections::BTreeMap;

/// A topic's identity and partition count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatalogTopic {
    /// Its identity.
    pub topic: TopicId,
    /// Its partitions are `0..partitions`.
    pub partitions: u32,
}

/// Finds topics by their subscribed names.
pub trait Catalog {
    /// The topic of that name, if there is one now.
    fn find(&self, name: &TopicName) -> Option<CatalogTopic>;
}

impl Catalog for BTreeMap<TopicName, CatalogTopic> {
    fn find(&self, name: &TopicName) -> Option<CatalogTopic> {
        self.get(name).copied()
    }
}

impl CatalogTopic {
    pub(super) fn partitions(self) -> impl Iterator<Item = super::TopicIdPartition> {
        (0..self.partitions)
            .map(move |number| super::TopicIdPartition { topic: self.topic, partition: PartitionId::new(number) })
    }
}
