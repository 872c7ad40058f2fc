//! The owner of each partition, and the time when it was granted: the union of all members' `granted`.

use super::topic_id_partition::TopicIdPartition;
use grower_protocol::ids::{MemberId, Timestamp};
use std::collections::BTreeMap;

/// Owners by partition. A partition has at most one.
#[derive(Clone, Debug, Default)]
pub(super) struct PartitionOwners(BTreeMap<TopicIdPartition, Ownership>);

#[derive(Clone, Debug)]
pub(super) struct Ownership {
    pub(super) member: MemberId,
    /// Wall-clock time.
    pub(super) since: Timestamp,
}

impl PartitionOwners {
    pub(super) fn is_free(&self, partition: TopicIdPartition) -> bool {
        !self.0.contains_key(&partition)
    }

    pub(super) fn owner_of(&self, partition: TopicIdPartition) -> Option<&MemberId> {
        self.0.get(&partition).map(|owner| &owner.member)
    }

    /// Grants a free partition.
    pub(super) fn grant(&mut self, partition: TopicIdPartition, member: &MemberId, since: Timestamp) {
        let before = self.0.insert(partition, Ownership { member: member.clone(), since });
        debug_assert!(before.is_none(), "a granted partition was free");
    }

    /// Moves a partition from a member that does not read it to its successor.
    pub(super) fn transfer(&mut self, partition: TopicIdPartition, from: &MemberId, to: &MemberId, since: Timestamp) {
        let before = self.0.insert(partition, Ownership { member: to.clone(), since });
        debug_assert!(before.is_some_and(|owner| owner.member == *from), "the predecessor owned the partition");
    }

    /// Frees a partition of its owner.
    pub(super) fn free(&mut self, partition: TopicIdPartition, owner: &MemberId) {
        let before = self.0.remove(&partition);
        debug_assert!(before.is_some_and(|before| before.member == *owner), "only the owner frees a partition");
    }

    /// The time when an owned partition was granted.
    pub(super) fn since(&self, partition: TopicIdPartition) -> Timestamp {
        debug_assert!(!self.is_free(partition), "only an owned partition was granted");
        self.0.get(&partition).map(|owner| owner.since).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (TopicIdPartition, &MemberId)> {
        self.0.iter().map(|(partition, owner)| (*partition, &owner.member))
    }
}
