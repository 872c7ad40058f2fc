//! Sessions: for how long members may be silent.

use super::GroupMembership;
use crate::group::state::limits;
use crate::group::state::member::after;
use grower_protocol::ids::{MemberEpoch, MemberId, Timestamp};
use std::collections::BTreeMap;

/// Members whose heartbeats wait for their answers, if there are any.
type Unanswered<'a> = Option<&'a BTreeMap<MemberId, u32>>;

impl GroupMembership {
    /// Removes members that were silent for too long, and claims that nobody confirmed. Who waits for an answer is not
    /// silent.
    pub(in crate::group::state) fn expire(&mut self, at: Timestamp, held: Unanswered<'_>) {
        self.claims.expire(at);
        let dead = self.members.iter().filter(|(id, member)| member.expires <= at && !is_unanswered(held, id));
        for id in dead.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.remove(&id);
        }
    }

    /// When [`GroupMembership::expire`] will next have something to do, unless heartbeats come.
    pub(in crate::group::state) fn next_expiry(&self, held: Unanswered<'_>) -> Option<Timestamp> {
        let silent = self.members.iter().filter(|(id, _)| !is_unanswered(held, id));
        silent.map(|(_, member)| member.expires).chain(self.claims.next_expiry()).min()
    }

    /// A heartbeat of a sender that knows this epoch is answered. A member of another epoch, one that lost its name and one
    /// that stepped out are waited for no longer than before.
    pub(in crate::group::state) fn renew_session(&mut self, id: &MemberId, epoch: MemberEpoch, at: Timestamp) {
        if self.check_epoch(id, epoch).is_err() {
            return;
        }
        let Some(member) = self.members.get_mut(id) else { return };
        let session = limits::timeout(member.session_timeout_ms);
        member.expires = member.expires.max(after(at, session));
    }

    /// The broker heard nobody for this long.
    pub(in crate::group::state) fn extend_sessions(&mut self, millis: u64) {
        for member in self.members.values_mut() {
            member.expires = member.expires.plus_millis(millis);
        }
    }
}

fn is_unanswered(held: Unanswered<'_>, id: &MemberId) -> bool {
    held.is_some_and(|held| held.contains_key(id))
}
