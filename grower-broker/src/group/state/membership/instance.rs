//! Static members: a name that survives a process.
//!
//! Who comes under a name takes the join_order of the one that had it before, so that nobody else notices. If that one stepped
//! out, its partitions go over in the same step. If it may still be there, who comes has to [claim](super::claim) the
//! name first, and its partitions wait until it left (it is told at once that it was replaced) or until the lease of
//! the name is over: see [`instance_lease`].
//!
//! [`instance_lease`]: grower_protocol::message::instance_lease

use super::{GroupMembership, unknown};
use crate::group::state::GroupRefusal;
use crate::group::state::member::GroupMember;
use grower_protocol::ids::{MemberId, Timestamp};
use grower_protocol::message::Heartbeat;

impl GroupMembership {
    /// The member reads nothing any more and may come back, as another process with its instance name.
    pub(in crate::group::state) fn detach(&mut self, id: &MemberId, at: Timestamp) -> Result<(), GroupRefusal> {
        if self.claims.withdraw(id) {
            return Ok(()); // It had nothing that could wait for it.
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

    /// Who is detached reads nothing: what it shall not own any more is free at once.
    pub(super) fn take_from_detached(&mut self) {
        for (id, member) in self.members.iter_mut().filter(|(_, member)| member.detached) {
            for partition in member.granted.difference(&member.target).copied().collect::<Vec<_>>() {
                member.granted.remove(&partition);
                self.owners.free(partition);
                self.assignment_changed = true;
                self.unsaved.changed(id);
            }
        }
    }

    /// Whether the sender is counted already: it claims a name, or comes back under one that waits for it.
    pub(super) fn expects(&self, beat: &Heartbeat) -> bool {
        let waits =
            |member: &GroupMember| member.detached && beat.instance.as_deref().is_some_and(|name| member.holds(name));
        self.claims.contains(&beat.member) || self.members.values().any(waits)
    }

    /// A new member in the join_order of the one that had its instance name; none if nobody had.
    pub(super) fn succeed(&mut self, id: &MemberId, instance: &str, date: Timestamp) -> Option<GroupMember> {
        self.claims.end(instance);
        let holder = self.members.iter().find(|(_, member)| member.holds(instance)).map(|(id, _)| id.clone())?;
        let member = self.members.get_mut(&holder)?;
        if !member.detached {
            member.replace(id.clone());
            let join_order = member.join_order;
            (self.stale, self.assignment_changed) = (true, true);
            return Some(GroupMember::joining(join_order));
        }
        let successor = member.successor();
        self.members.remove(&holder);
        self.unsaved.changed(&holder);
        for partition in &successor.granted {
            self.owners.grant(*partition, id, date);
        }
        Some(successor)
    }

    /// For whom an owner's partitions are meant: itself, or who took its place.
    pub(super) fn successor_of<'a>(&'a self, owner: &'a MemberId) -> &'a MemberId {
        let replaced_by = |id| self.members.get(id).and_then(|member| member.replaced_by.as_ref());
        // A chain of replacements cannot be longer than there are members.
        let heirs = std::iter::successors(Some(owner), |id| replaced_by(*id)).take(self.members.len() + 1);
        heirs.last().unwrap_or(owner)
    }
}
