//! Estimates of the memory of groups, slightly too large.

use super::catalog::Catalog;
use super::group::Group;
use super::membership::MembershipState;
use grower_protocol::ids::TopicName;
use grower_protocol::message::{Heartbeat, OffsetToCommit};

/// A group without members and offsets.
pub(super) const GROUP: usize = 1024;
/// A member without subscriptions.
pub(super) const MEMBER: usize = 1024;
/// A partition of the group's topics: its owner and its target.
pub(super) const PARTITION: usize = 384;
/// A committed offset without its metadata text.
pub(super) const OFFSET: usize = 128;

/// One subscription of a member.
pub(super) fn topic(name: &TopicName) -> usize {
    128 + 2 * name.as_str().len()
}

/// The largest growth of a group by this heartbeat: a new member, and new topics.
pub(super) fn growth(group: Option<&Group>, beat: &Heartbeat, catalog: &dyn Catalog) -> usize {
    let members = group.map(|group| &group.members);
    let comes = members.is_none_or(|members| !members.knows(beat));
    let new_to_member = |name: &&TopicName| comes || members.is_none_or(|m| !m.subscribes(&beat.member, name));
    let new_to_group = |name: &TopicName| members.is_none_or(|members| !members.reads(name));
    let topics: usize = beat
        .topics
        .iter()
        .filter(new_to_member)
        .map(|name| {
            let partitions = catalog.find(name).filter(|_| new_to_group(name)).map_or(0, |found| found.partitions);
            topic(name) + partitions as usize * PARTITION
        })
        .sum();
    let group = if group.is_none() { GROUP } else { 0 };
    topics + group + if comes { MEMBER } else { 0 }
}

/// The largest growth of a group by this commit.
pub(super) fn growth_by_commit(group: Option<&Group>, offsets: &[OffsetToCommit]) -> usize {
    let more = |request: &OffsetToCommit| match group.and_then(|group| group.offsets.text_length(request)) {
        Some(before) => request.metadata.len().saturating_sub(before),
        None => OFFSET + request.metadata.len(),
    };
    offsets.iter().map(more).sum::<usize>() + if group.is_none() { GROUP } else { 0 }
}

impl MembershipState {
    /// The largest growth of the members once a topic has this many partitions.
    pub(super) fn growth_by_topic(&self, name: &TopicName, partitions: u32, catalog: &dyn Catalog) -> usize {
        let before = match self.assigned_topic(name) {
            Some(topic) => topic,
            // No assignment was computed since the start: the members have the topic's present partitions.
            None if self.is_subscribed(name) => catalog.find(name),
            None => return 0,
        };
        let before = before.map_or(0, |topic| topic.partitions);
        partitions.saturating_sub(before) as usize * PARTITION
    }

    /// Members with their subscriptions and partitions.
    pub(super) fn bytes(&self) -> usize {
        let members: usize = self.subscribed().map(|topics| MEMBER + topics.map(topic).sum::<usize>()).sum();
        members + self.partition_count() * PARTITION
    }
}
