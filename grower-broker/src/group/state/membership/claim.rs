//! InstanceClaims to an instance name that a living member has.
//!
//! A join proves nothing: it may have been long under way, and its sender be dead by now. So under the name of a member
//! that lives it makes a claimant only, which takes the name with its next heartbeat: that can be sent by nobody but who
//! heard the answer. Until then nobody notices. A claimant has no join_order and no partitions, and counts only as far as its
//! memory goes. It is not written down: after a restart it is unknown and joins again.
//!
//! Whoever gets the name ends all claims to it. So who loses it loses it to somebody who lived when the loser had it
//! already, however late and in whatever order messages arrive. Of several that claim it the last to confirm has it: each
//! asked for it while somebody else was there, so each is a takeover that somebody wanted.

use super::GroupMembership;
use crate::group::state::limits;
use crate::group::state::member::after;
use grower_protocol::ids::{MemberEpoch, MemberId, Timestamp};
use grower_protocol::message::{Heartbeat, HeartbeatAnswer};
use std::collections::BTreeMap;

/// Who wants which name.
#[derive(Clone, Debug, Default)]
pub(super) struct InstanceClaims(BTreeMap<MemberId, InstanceClaim>);

#[derive(Clone, Debug)]
struct InstanceClaim {
    instance: String,
    /// As answered: who says it heard the answer.
    epoch: MemberEpoch,
    expires: Timestamp,
}

impl InstanceClaims {
    /// The name that this heartbeat confirms a claim to.
    pub(super) fn confirmed_by(&self, beat: &Heartbeat) -> Option<String> {
        self.0.get(&beat.member).filter(|claim| claim.epoch == beat.epoch).map(|claim| claim.instance.clone())
    }

    pub(super) fn contains(&self, id: &MemberId) -> bool {
        self.0.contains_key(id)
    }

    pub(super) fn withdraw(&mut self, id: &MemberId) -> bool {
        self.0.remove(id).is_some()
    }

    /// Somebody has the name now.
    pub(super) fn end(&mut self, instance: &str) {
        self.0.retain(|_, claim| claim.instance != instance);
    }

    pub(super) fn expire(&mut self, at: Timestamp) {
        self.0.retain(|_, claim| at < claim.expires);
    }

    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.0.values().map(|claim| claim.expires).min()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl GroupMembership {
    /// Whether a member that did not step out has the name.
    pub(super) fn is_name_taken(&self, instance: &str) -> bool {
        self.members.values().any(|member| !member.detached && member.holds(instance))
    }

    /// Answers a join under a name that somebody has. One that came twice gets the same answer.
    pub(super) fn claim(&mut self, beat: &Heartbeat, instance: &str, at: Timestamp) -> HeartbeatAnswer {
        let before = self.claims.0.get(&beat.member).filter(|claim| claim.instance == instance);
        let epoch = before.map(|claim| claim.epoch).unwrap_or_else(|| MemberEpoch::new(self.tick()));
        let expires = after(at, limits::claim_timeout(beat.session_timeout_ms));
        self.claims.0.insert(beat.member.clone(), InstanceClaim { instance: instance.to_owned(), epoch, expires });
        HeartbeatAnswer { epoch, interval_ms: 0, assignment: Vec::new() }
    }
}
