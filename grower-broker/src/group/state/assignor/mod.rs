//! Assignors: pure functions from subscriptions to target assignments.

mod range;
mod round_robin;
mod sticky;

use super::catalog::CatalogTopic;
use super::topic_id_partition::{PartitionSet, TopicIdPartition};
use grower_protocol::ids::{MemberId, TopicName};
use std::collections::{BTreeMap, BTreeSet};

/// The rule by which a group assigns partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Assignor {
    /// Each topic alone: members get neighbouring partitions, in the order they joined; the first ones get one more.
    #[default]
    Range,
    /// All partitions of all topics, dealt one after the other to the members in the order they joined.
    RoundRobin,
    /// Even, with as few moves of partitions as possible.
    Sticky,
}

/// A member, as assignors see it.
pub(super) struct Subscriber<'a> {
    pub(super) member: &'a MemberId,
    pub(super) topics: &'a BTreeSet<TopicName>,
}

/// The input of an assignor. Subscribers stand in the order they joined.
pub(super) struct Assignment<'a> {
    pub(super) subscribers: Vec<Subscriber<'a>>,
    pub(super) topics: &'a BTreeMap<TopicName, CatalogTopic>,
    /// The owners until now; only the sticky assignor uses them.
    pub(super) before: BTreeMap<TopicIdPartition, &'a MemberId>,
}

/// Larger assignments are not checked in debug builds.
const CHECKED_SUBSCRIBERS_MAX: usize = 64;

impl Assignor {
    /// All assignors. Parsing, the refusal of an unknown name and the tests follow this list.
    pub const ALL: [Self; 3] = [Self::Range, Self::RoundRobin, Self::Sticky];

    /// The assignor of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// All names as a phrase: `a, b and c`.
    pub(super) fn all_names() -> String {
        let [names @ .., last] = Self::ALL.map(Self::name);
        format!("{} and {last}", names.join(", "))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "round-robin",
            Self::Sticky => "sticky",
        }
    }

    /// The target of each subscriber, in their order. Every subscribed partition is assigned exactly once.
    pub(super) fn assign(self, assignment: &Assignment<'_>) -> Vec<PartitionSet> {
        let shares = match self {
            Self::Range => range::assign(assignment),
            Self::RoundRobin => round_robin::assign(assignment),
            Self::Sticky => sticky::assign(assignment),
        };
        debug_assert_eq!(shares.len(), assignment.subscribers.len(), "each subscriber has a share");
        debug_assert!(assignment.is_assigned_once(&shares), "each subscribed partition is in one share");
        shares
    }
}

impl Assignment<'_> {
    /// The subscribers of a topic, in their order.
    fn subscribers_of(&self, topic: &TopicName) -> Vec<usize> {
        let wants = |(_, subscriber): &(usize, &Subscriber<'_>)| subscriber.topics.contains(topic);
        self.subscribers.iter().enumerate().filter(wants).map(|(at, _)| at).collect()
    }

    /// Whether the shares have each partition of each subscribed topic exactly once. With many subscribers that would
    /// cost too much.
    fn is_assigned_once(&self, shares: &[PartitionSet]) -> bool {
        if CHECKED_SUBSCRIBERS_MAX < shares.len() {
            return true;
        }
        let subscribed = self.topics.iter().filter(|(name, _)| !self.subscribers_of(name).is_empty());
        let all: PartitionSet = subscribed.flat_map(|(_, topic)| topic.partitions()).collect();
        let assigned: PartitionSet = shares.iter().flatten().copied().collect();
        assigned == all && shares.iter().map(BTreeSet::len).sum::<usize>() == all.len()
    }

    /// A share without partitions for each subscriber.
    fn empty_shares(&self) -> Vec<PartitionSet> {
        self.subscribers.iter().map(|_| PartitionSet::new()).collect()
    }
}

#[cfg(test)]
mod tests;
