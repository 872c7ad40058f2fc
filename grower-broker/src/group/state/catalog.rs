//! What groups must know of topics, and no more.

use grower_protocol::ids::{PartitionId, TopicId, TopicName};
use std::collections::BTreeMap;

/// A topic's identity and how many partitions it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatalogTopic {
    /// Its identity.
    pub topic: TopicId,
    /// Its partitions are `0..partitions`.
    pub partitions: u32,
}

/// Finds topics by the names that members subscribe to.
pub trait Catalog {
    /// The topic of that name; none if there is none now.
    fn find(&self, name: &TopicName) -> Option<CatalogTopic>;
}

impl Catalog for BTreeMap<TopicName, CatalogTopic> {
    fn find(&self, name: &TopicName) -> Option<CatalogTopic> {
        self.get(name).copied()
    }
}

impl CatalogTopic {
    pub(super) fn partitions(self) -> impl Iterator<Item = super::PartitionKey> {
        (0..self.partitions)
            .map(move |number| super::PartitionKey { topic: self.topic, partition: PartitionId::new(number) })
    }
}
