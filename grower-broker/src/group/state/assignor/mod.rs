//! Who shall own what: pure functions of who subscribes to what.

mod range;
mod round_robin;
mod sticky;

use super::catalog::CatalogTopic;
use super::partition_key::{PartitionKey, PartitionSet};
use grower_protocol::ids::{MemberId, TopicName};
use std::collections::{BTreeMap, BTreeSet};

/// How partitions are assigned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Assignor {
    /// Each topic by itself: members in the order they joined get neighbouring partitions, the first ones one more.
    #[default]
    Range,
    /// All partitions of all topics, one after the other, to the members in the order they joined.
    RoundRobin,
    /// Even, and as few partitions as possible change hands.
    Sticky,
}

/// A member as assignors see it.
pub(super) struct Subscriber<'a> {
    pub(super) member: &'a MemberId,
    pub(super) topics: &'a BTreeSet<TopicName>,
}

/// What is to be assigned to whom. Subscribers stand in the order they joined.
pub(super) struct Assignment<'a> {
    pub(super) subscribers: Vec<Subscriber<'a>>,
    pub(super) topics: &'a BTreeMap<TopicName, CatalogTopic>,
    /// Who had what; only the sticky assignor cares.
    pub(super) before: BTreeMap<PartitionKey, &'a MemberId>,
}

impl Assignor {
    /// The assignor of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Range, Self::RoundRobin, Self::Sticky].into_iter().find(|assignor| assignor.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "round-robin",
            Self::Sticky => "sticky",
        }
    }

    /// What each subscriber shall own, in their order: every partition that somebody subscribes to, once.
    pub(super) fn assign(self, assignment: &Assignment<'_>) -> Vec<PartitionSet> {
        match self {
            Self::Range => range::assign(assignment),
            Self::RoundRobin => round_robin::assign(assignment),
            Self::Sticky => sticky::assign(assignment),
        }
    }
}

impl Assignment<'_> {
    /// Which subscribers want a topic, in their order.
    fn wanting(&self, topic: &TopicName) -> Vec<usize> {
        let wants = |(_, subscriber): &(usize, &Subscriber<'_>)| subscriber.topics.contains(topic);
        self.subscribers.iter().enumerate().filter(wants).map(|(at, _)| at).collect()
    }

    fn nothing(&self) -> Vec<PartitionSet> {
        self.subscribers.iter().map(|_| PartitionSet::new()).collect()
    }
}

#[cfg(test)]
mod tests;
