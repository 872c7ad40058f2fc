//! The records of a membership, and how it is rebuilt from them.
//!
//! The log holds the newest state of each member. After a restart members keep their epochs, no partition that one of
//! them may be reading is granted to another, and a member that does not come back expires.

use super::MembershipState;
use crate::group::state::assignor::Assignor;
use crate::group::state::member::MemberState;
use crate::group::state::record::{GroupRecord, StoredGroup, StoredMember};
use grower_protocol::ids::{GroupId, MemberId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Changes that are not in the log yet.
#[derive(Clone, Debug, Default)]
pub(super) struct UnsavedChanges {
    /// Members that changed or were removed.
    members: BTreeSet<MemberId>,
    group: bool,
    /// The newest epoch in the log.
    saved_epoch: u32,
}

impl UnsavedChanges {
    pub(super) fn changed(&mut self, id: &MemberId) {
        if !self.members.contains(id) {
            self.members.insert(id.clone());
        }
    }

    pub(super) fn group(&mut self) {
        self.group = true;
    }
}

impl MembershipState {
    /// Records for every change that is not in the log yet.
    pub(in crate::group::state) fn unsaved(&self, group: &GroupId) -> Vec<GroupRecord> {
        let mut records = Vec::new();
        if self.unsaved.group || self.unsaved.saved_epoch != self.epoch {
            records.push(self.group_record(group));
        }
        records.extend(self.unsaved.members.iter().map(|id| self.member_record(group, id)));
        records
    }

    fn group_record(&self, group: &GroupId) -> GroupRecord {
        let state = StoredGroup { epoch: self.epoch, assignor: self.assignor.name().to_owned() };
        GroupRecord::Group { group: group.clone(), state: Some(state) }
    }

    fn member_record(&self, group: &GroupId, id: &MemberId) -> GroupRecord {
        let state = self.members.get(id).map(|member| member.state(&self.owners));
        GroupRecord::Member { group: group.clone(), member: id.clone(), state }
    }

    /// Notes that the group's record is in the log.
    pub(in crate::group::state) fn saved_group(&mut self, state: &StoredGroup) {
        debug_assert!(state.epoch <= self.epoch, "the log is never ahead of memory");
        debug_assert!(self.unsaved.saved_epoch <= state.epoch, "epochs only rise");
        self.unsaved.group = false;
        self.unsaved.saved_epoch = state.epoch;
    }

    /// Notes that the member's record is in the log.
    pub(in crate::group::state) fn saved_member(&mut self, id: &MemberId) {
        self.unsaved.members.remove(id);
    }

    /// Rebuilds a membership from the log's records.
    pub(in crate::group::state) fn restored(
        group: Option<StoredGroup>,
        members: BTreeMap<MemberId, StoredMember>,
        at: Timestamp,
    ) -> Self {
        let newest = members.values().map(|member| member.epoch.value()).max().unwrap_or_default();
        let saved_epoch = group.as_ref().map_or(0, |group| group.epoch);
        let since: BTreeMap<MemberId, Vec<Timestamp>> =
            members.iter().map(|(id, state)| (id.clone(), state.since.clone())).collect();
        let mut restored = Self {
            epoch: newest.max(saved_epoch),
            assignor: group.and_then(|group| Assignor::named(&group.assignor)).unwrap_or_default(),
            members: members.into_iter().map(|(id, state)| (id, MemberState::restored(state, at))).collect(),
            stale: true,
            ..Self::default()
        };
        restored.target_epoch = restored.epoch;
        restored.unsaved.saved_epoch = saved_epoch;
        restored.next_join_order = restored.members.values().map(|member| member.join_order).max().unwrap_or_default();
        restored.settle_owners(&since);
        restored.settle_instances();
        restored
    }

    /// Rebuilds the owners. A sound log has one owner for each partition; in a foreign one the newest epoch wins.
    fn settle_owners(&mut self, since: &BTreeMap<MemberId, Vec<Timestamp>>) {
        let mut by_epoch: Vec<_> = self.members.iter_mut().collect();
        by_epoch.sort_by_key(|(_, member)| std::cmp::Reverse(member.epoch));
        for (id, member) in by_epoch {
            let dates = since.get(id).into_iter().flatten().copied().chain(std::iter::repeat(Timestamp::default()));
            for (partition, since) in member.granted.clone().into_iter().zip(dates) {
                if self.owners.is_free(partition) {
                    self.owners.grant(partition, id, since);
                } else {
                    member.granted.remove(&partition);
                    member.assignment.remove(&partition);
                    member.owned.remove(&partition);
                }
            }
        }
    }

    /// Gives each instance name to its newest holder. Earlier holders are replaced members.
    fn settle_instances(&mut self) {
        let mut holders: BTreeMap<String, (u32, MemberId)> = BTreeMap::new();
        for (id, member) in &self.members {
            let Some(instance) = &member.instance else { continue };
            let this = (member.epoch.value(), id.clone());
            let newest = holders.entry(instance.clone()).or_insert_with(|| this.clone());
            *newest = this.max(newest.clone());
        }
        for (id, member) in &mut self.members {
            let holder = member.instance.as_ref().and_then(|instance| holders.get(instance));
            if let Some((_, holder)) = holder.filter(|(_, holder)| holder != id) {
                member.replace(holder.clone());
            }
        }
    }
}
