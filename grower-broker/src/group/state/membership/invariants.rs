//! The invariants of a membership, checked after each decision in debug builds.

use super::MembershipState;
use crate::group::state::member::MemberState;
use grower_protocol::ids::MemberId;

impl MembershipState {
    /// Asserts all invariants. The cost is linear in the size of the group.
    pub(in crate::group::state) fn check_invariants(&self) {
        if cfg!(debug_assertions) {
            self.members.iter().for_each(|(id, member)| self.check_member(id, member));
            let granted: usize = self.members.values().map(|member| member.granted.len()).sum();
            assert_eq!(granted, self.owners.len(), "each owned partition is granted to one member");
            assert!(self.target_epoch <= self.epoch, "the target assignment has an epoch of the group");
            let holders = self.members.values().filter(|member| member.replaced_by.is_none());
            let mut names: Vec<&str> = holders.filter_map(|member| member.instance.as_deref()).collect();
            names.sort_unstable();
            assert!(names.is_sorted_by(|a, b| a < b), "each instance name has one holder: {names:?}");
        }
    }

    fn check_member(&self, id: &MemberId, member: &MemberState) {
        assert!(member.epoch.value() <= self.epoch, "{id} has epoch {}, its group {}", member.epoch, self.epoch);
        assert!(member.join_order <= self.next_join_order, "{id} has joined");
        assert!(!self.claims.contains(id), "{id} is a member and claims no name");
        let is_owner = |partition| self.owners.owner_of(partition) == Some(id);
        assert!(member.granted.iter().copied().all(is_owner), "{id} owns what it was granted");
        assert!(member.owned.is_subset(&member.granted), "{id} reads a part of its granted partitions");
        let is_granted = |partition| member.granted.contains(partition);
        assert!(member.pending_revocations.keys().all(is_granted), "{id} holds what is revoked from it");
        if member.detached {
            assert!(member.owned.is_empty(), "{id} is detached and reads nothing");
        } else if member.replaced_by.is_none() {
            assert!(member.assignment.is_subset(&member.granted), "{id} is assigned a part of its granted partitions");
        }
    }
}
