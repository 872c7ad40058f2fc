//! Sessions: a member that is silent for its session timeout is removed.

use super::MembershipState;
use crate::group::state::limits;
use crate::group::state::member::after;
use grower_protocol::ids::{MemberEpoch, MemberId, Timestamp};
use std::collections::BTreeMap;

/// Members with an unanswered heartbeat, if there are any.
type Unanswered<'a> = Option<&'a BTreeMap<MemberId, u32>>;

impl MembershipState {
    /// Removes members whose sessions ended, and claims that were not confirmed. A member with an unanswered heartbeat
    /// is not silent.
    pub(in crate::group::state) fn expire(&mut self, at: Timestamp, unanswered: Unanswered<'_>) {
        self.claims.expire(at);
        let dead = self.members.iter().filter(|(id, member)| member.expires <= at && !waits(unanswered, id));
        for id in dead.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.remove(&id);
        }
        debug_assert!(self.next_expiry(unanswered).is_none_or(|next| at < next), "all that was due is gone");
    }

    /// The next time at which [`MembershipState::expire`] has something to do, unless heartbeats arrive.
    pub(in crate::group::state) fn next_expiry(&self, unanswered: Unanswered<'_>) -> Option<Timestamp> {
        let silent = self.members.iter().filter(|(id, _)| !waits(unanswered, id));
        silent.map(|(_, member)| member.expires).chain(self.claims.next_expiry()).min()
    }

    /// Starts a new session of a member that was answered and knows this epoch. Fenced, replaced and detached members
    /// get no new session.
    pub(in crate::group::state) fn renew_session(&mut self, id: &MemberId, epoch: MemberEpoch, at: Timestamp) {
        if self.check_epoch(id, epoch).is_err() {
            return;
        }
        let Some(member) = self.members.get_mut(id) else { return };
        let session = limits::timeout(member.session_timeout_ms);
        member.expires = member.expires.max(after(at, session));
    }

    /// Extends all sessions by the time in which the broker could receive nothing.
    pub(in crate::group::state) fn extend_sessions(&mut self, millis: u64) {
        for member in self.members.values_mut() {
            member.expires = member.expires.plus_millis(millis);
        }
    }
}

fn waits(unanswered: Unanswered<'_>, id: &MemberId) -> bool {
    unanswered.is_some_and(|members| members.contains_key(id))
}
