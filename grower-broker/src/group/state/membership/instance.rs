//! Static members: an instance name survives the process that had it.
//!
//! A new process with the name takes the place of the old one, unnoticed by other members. If the old one is detached,
//! its partitions move in the same decision. If it may be alive, the new one must [claim](super::claim) the name
//! first. The partitions then wait until the old one leaves, which is told at once that it was replaced, or until the
//! lease of the name ends: see [`instance_lease`].
//!
//! [`instance_lease`]: grower_protocol::message::instance_lease

use super::{MembershipState, unknown};
use crate::group::state::GroupRefusal;
use crate::group::state::member::MemberState;
use grower_protocol::ids::{MemberId, Timestamp};
use grower_protocol::message::Heartbeat;

impl MembershipState {
    /// Detaches a member: it stopped reading, and may come back as another process with its instance name.
    pub(in crate::group::state) fn detach(&mut self, id: &MemberId, at: Timestamp) -> Result<(), GroupRefusal> {
        if self.claims.withdraw(id) {
            return Ok(()); // A claimant has no partitions that could wait for it.
        }
        let member = self.members.get_mut(id).ok_or_else(|| unknown(id))?;
        if member.instance.is_none() || member.replaced_by.is_some() {
            return self.leave(id);
        }
        member.detach(at);
        self.unsaved.changed(id);
        self.take_from_detached();
        Ok(())
    }

    /// Frees the partitions of detached members that their targets no longer list: they are not reading them.
    pub(super) fn take_from_detached(&mut self) {
        for (id, member) in self.members.iter_mut().filter(|(_, member)| member.detached) {
            for partition in member.granted.difference(&member.target).copied().collect::<Vec<_>>() {
                member.granted.remove(&partition);
                self.owners.free(partition, id);
                self.assignment_changed = true;
                self.unsaved.changed(id);
            }
        }
    }

    /// Whether the sender is counted already: it is a claimant, or returns under the name of a detached member.
    pub(super) fn expects(&self, beat: &Heartbeat) -> bool {
        let waits =
            |member: &MemberState| member.detached && beat.instance.as_deref().is_some_and(|name| member.holds(name));
        self.claims.contains(&beat.member) || self.members.values().any(waits)
    }

    /// The new member in the place of the last holder of the instance name; none if the name is free.
    pub(super) fn succeed(&mut self, id: &MemberId, instance: &str, wall: Timestamp) -> Option<MemberState> {
        self.claims.end(instance);
        let (holder, member) = self.members.iter_mut().find(|(_, member)| member.holds(instance))?;
        let holder = holder.clone();
        debug_assert!(holder != *id, "a member does not replace itself");
        if !member.detached {
            member.replace(id.clone());
            let join_order = member.join_order;
            (self.stale, self.assignment_changed) = (true, true);
            return Some(MemberState::joining(join_order));
        }
        let successor = member.inherit();
        self.members.remove(&holder);
        self.unsaved.changed(&holder);
        for partition in &successor.granted {
            self.owners.transfer(*partition, &holder, id, wall);
        }
        Some(successor)
    }

    /// The member that an owner's partitions are meant for: the owner, or the one that replaced it.
    pub(super) fn successor_of<'a>(&'a self, owner: &'a MemberId) -> &'a MemberId {
        let replaced_by = |id| self.members.get(id).and_then(|member| member.replaced_by.as_ref());
        // A chain of replacements is not longer than the number of members.
        let chain = std::iter::successors(Some(owner), |id| replaced_by(*id)).take(self.members.len() + 1);
        let successor = chain.last().unwrap_or(owner);
        debug_assert!(replaced_by(successor).is_none(), "replacements form no cycle");
        successor
    }
}
