//! Limits of a shard: the number of groups, their subscriptions, and their memory.

use super::GroupShard;
use crate::group::state::catalog::Catalog;
use crate::group::state::group::Group;
use crate::group::state::membership::MembershipState;
use crate::group::state::{GroupRefusal, size};
use grower_protocol::ids::{MemberEpoch, TopicName};
use grower_protocol::message::Heartbeat;

impl GroupShard {
    pub(super) fn make_group_for(&mut self, beat: &Heartbeat) -> Result<(), GroupRefusal> {
        if beat.epoch != MemberEpoch::default() || self.groups.contains_key(&beat.group) {
            return Ok(());
        }
        MembershipState::check(beat, &self.limits)?;
        self.check_group_limit()?;
        self.groups.insert(beat.group.clone(), Group::starting_above(self.minimum_epoch));
        Ok(())
    }

    /// Subscriptions are most of what is stored about members, so their number over all groups is bounded.
    pub(super) fn check_subscription(&self, beat: &Heartbeat) -> Result<(), GroupRefusal> {
        let (before, now) = (self.subscribed(beat), beat.topics.len().max(1));
        let max = self.limits.subscriptions;
        if now <= before
            || now - before + self.groups.values().map(|group| group.members.subscriptions()).sum::<usize>() <= max
        {
            return Ok(());
        }
        Err(GroupRefusal::LimitReached { what: "subscriptions in a sixteenth of all groups", max })
    }

    fn subscribed(&self, beat: &Heartbeat) -> usize {
        self.groups.get(&beat.group).map_or(0, |group| group.members.subscriptions_of(&beat.member))
    }

    pub(super) fn check_memory(&self, beat: &Heartbeat, catalog: &dyn Catalog) -> Result<(), GroupRefusal> {
        let group = self.groups.get(&beat.group);
        let joins = beat.epoch == MemberEpoch::default();
        // An unknown member that does not join is refused as such.
        if !joins && group.is_none_or(|group| !group.members.knows(beat)) {
            return Ok(());
        }
        self.check_growth(size::growth(group, beat, catalog))
    }

    pub(super) fn check_growth(&self, bytes: usize) -> Result<(), GroupRefusal> {
        match self.memory_left {
            Some(left) if left < bytes => Err(GroupRefusal::MemoryFull { bytes, left }),
            _ => Ok(()),
        }
    }

    /// The largest growth of memory once a topic has this many partitions.
    pub fn growth_by_topic(&self, name: &TopicName, partitions: u32, catalog: &dyn Catalog) -> usize {
        self.groups.values().map(|group| group.members.growth_by_topic(name, partitions, catalog)).sum()
    }

    pub(super) fn check_group_limit(&self) -> Result<(), GroupRefusal> {
        let max = self.limits.groups;
        if self.groups.len() < max { Ok(()) } else { Err(GroupRefusal::LimitReached { what: "groups", max }) }
    }
}
