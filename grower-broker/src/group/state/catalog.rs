//! What groups must know of topics, and no more.

use grower_protocol::ids::{PartitionId, TopicId, TopicName};
use std::collections::BTreeMap;

/// A topic's identity and how many partitions it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// Its identity.
    pub topic: TopicId,
    /// Its partitions are `0..partitions`.
    pub partitions: u32,
}

/// Finds topics by the names that members subscribe to.
pub trait Catalog {
    /// The topic of that name; none if there is none now.
    fn find(&self, name: &TopicName) -> Option<Subscribed>;
}

impl Catalog for BTreeMap<TopicName, Subscribed> {
    fn find(&self, name: &TopicName) -> Option<Subscribed> {
        self.get(name).copied()
    }
}

impl Subscribed {
    pub(super) fn slots(self) -> impl Iterator<Item = super::Slot> {
        (0..self.partitions).map(move |number| super::Slot { topic: self.topic, partition: PartitionId::new(number) })
    }
}
