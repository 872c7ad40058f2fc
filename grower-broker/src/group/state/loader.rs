//! Builds a shard again from its log.

use super::group::Group;
use super::limits::GroupLimits;
use super::membership::Membership;
use super::record::{GroupRecord, GroupState, MemberState, OffsetState};
use super::shard::Shard;
use super::slot::Slot;
use grower_protocol::ids::{GroupId, MemberId, Timestamp};
use std::collections::BTreeMap;

/// Takes all records of a shard's log, in order, and gives the shard back.
#[derive(Debug, Default)]
pub struct ShardLoader {
    groups: BTreeMap<GroupId, Parts>,
    floor: u32,
}

#[derive(Debug, Default)]
struct Parts {
    state: Option<GroupState>,
    members: BTreeMap<MemberId, MemberState>,
    offsets: BTreeMap<Slot, OffsetState>,
}

impl ShardLoader {
    /// The next record of the log.
    pub fn push(&mut self, record: GroupRecord) {
        match record {
            GroupRecord::Group { group, state: Some(state) } => self.parts(group).state = Some(state),
            GroupRecord::Group { group, state: None } => drop(self.groups.remove(&group)),
            GroupRecord::Member { group, member, state } => set(&mut self.parts(group).members, member, state),
            GroupRecord::Offset { group, slot, state } => set(&mut self.parts(group).offsets, slot, state),
            GroupRecord::Floor { epoch } => self.floor = self.floor.max(epoch),
        }
    }

    fn parts(&mut self, group: GroupId) -> &mut Parts {
        self.groups.entry(group).or_default()
    }

    /// The log is read to its end. Members have a full session from `at` to come back; until then they own what they owned.
    pub fn finish(self, at: Timestamp, limits: GroupLimits) -> Shard {
        // A late tombstone of something in a group that is gone makes no group.
        let there = self.groups.into_iter().filter(|(_, parts)| !parts.is_bare());
        Shard::restored(there.map(|(id, parts)| (id, parts.build(at))).collect(), self.floor, limits)
    }
}

impl Parts {
    fn is_bare(&self) -> bool {
        self.state.is_none() && self.members.is_empty() && self.offsets.is_empty()
    }

    fn build(self, at: Timestamp) -> Group {
        let mut group = Group { members: Membership::restored(self.state, self.members, at), ..Group::default() };
        for (slot, state) in self.offsets {
            group.offsets.set(slot, Some(state));
        }
        group
    }
}

fn set<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}
