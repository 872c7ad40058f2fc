//! What groups take of memory, by estimates a little above the truth.

use super::catalog::Catalog;
use super::group::Group;
use super::membership::GroupMembership;
use grower_protocol::ids::TopicName;
use grower_protocol::message::{Heartbeat, PositionToCommit};

/// A group without members and offsets.
pub(super) const GROUP: usize = 1024;
/// A member that subscribes to nothing.
pub(super) const MEMBER: usize = 1024;
/// A partition that members share: who has it, and who shall.
pub(super) const PARTITION: usize = 384;
/// A committed offset beside its text.
pub(super) const OFFSET: usize = 128;

/// A topic that a member subscribes to.
pub(super) fn topic(name: &TopicName) -> usize {
    128 + 2 * name.as_str().len()
}

/// How much more a group takes once it has heard this, at most: for a member that comes, and for topics that are new.
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

/// How much more a group takes that commits these, at most.
pub(super) fn growth_by_commit(group: Option<&Group>, positions: &[PositionToCommit]) -> usize {
    let more = |wish: &PositionToCommit| match group.and_then(|group| group.offsets.text_length(wish)) {
        Some(before) => wish.metadata.len().saturating_sub(before),
        None => OFFSET + wish.metadata.len(),
    };
    positions.iter().map(more).sum::<usize>() + if group.is_none() { GROUP } else { 0 }
}

impl GroupMembership {
    /// How much more its members take once a topic has so many partitions, at most.
    pub(super) fn growth_by_topic(&self, name: &TopicName, partitions: u32, catalog: &dyn Catalog) -> usize {
        let before = match self.known(name) {
            Some(topic) => topic,
            // Nothing was assigned yet since the coordinator started: its members have what they had.
            None if self.is_subscribed(name) => catalog.find(name),
            None => return 0,
        };
        let before = before.map_or(0, |topic| topic.partitions);
        partitions.saturating_sub(before) as usize * PARTITION
    }

    /// Members with what they subscribe to and have.
    pub(super) fn bytes(&self) -> usize {
        let members: usize = self.subscribed().map(|topics| MEMBER + topics.map(topic).sum::<usize>()).sum();
        members + self.partitions() * PARTITION
    }
}
