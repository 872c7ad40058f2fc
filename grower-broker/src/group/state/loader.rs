//! Rebuilds a shard from its log.

use super::group::Group;
use super::limits::GroupLimits;
use super::membership::MembershipState;
use super::record::{GroupRecord, StoredGroup, StoredMember, StoredOffset};
use super::shard::GroupShard;
use super::topic_id_partition::TopicIdPartition;
use grower_protocol::ids::{GroupId, MemberId, Timestamp};
use std::collections::BTreeMap;

/// Builds a shard from all records of its log, in order.
#[derive(Debug, Default)]
pub struct ShardLoader {
    groups: BTreeMap<GroupId, LoadedGroup>,
    minimum_epoch: u32,
}

#[derive(Debug, Default)]
struct LoadedGroup {
    state: Option<StoredGroup>,
    members: BTreeMap<MemberId, StoredMember>,
    offsets: BTreeMap<TopicIdPartition, StoredOffset>,
}

impl ShardLoader {
    /// Takes in the next record of the log.
    pub fn push(&mut self, record: GroupRecord) {
        match record {
            GroupRecord::Group { group, state: Some(state) } => self.group(group).state = Some(state),
            GroupRecord::Group { group, state: None } => drop(self.groups.remove(&group)),
            GroupRecord::Member { group, member, state } => set(&mut self.group(group).members, member, state),
            GroupRecord::Offset { group, partition, state } => set(&mut self.group(group).offsets, partition, state),
            GroupRecord::MinimumEpoch { epoch } => self.minimum_epoch = self.minimum_epoch.max(epoch),
        }
    }

    fn group(&mut self, group: GroupId) -> &mut LoadedGroup {
        self.groups.entry(group).or_default()
    }

    /// Builds the shard after the last record. Members keep their partitions and have a full session from `at` to come
    /// back.
    pub fn finish(self, at: Timestamp, limits: GroupLimits) -> GroupShard {
        // A late tombstone of a member or offset must not bring back a deleted group.
        let there = self.groups.into_iter().filter(|(_, group)| !group.is_bare());
        GroupShard::restored(there.map(|(id, group)| (id, group.build(at))).collect(), self.minimum_epoch, limits)
    }
}

impl LoadedGroup {
    fn is_bare(&self) -> bool {
        self.state.is_none() && self.members.is_empty() && self.offsets.is_empty()
    }

    fn build(self, at: Timestamp) -> Group {
        let mut group = Group { members: MembershipState::restored(self.state, self.members, at), ..Group::default() };
        for (partition, state) in self.offsets {
            group.offsets.set(partition, Some(state));
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
