//! Claims to the instance name of a living member.
//!
//! A join proves nothing: it may be a delayed request of a dead process. Under the name of a living member it only
//! makes a claimant. The claimant takes the name with its next heartbeat, which proves that it received the answer and
//! lives. Until then the group does not change. A claimant has no partitions; only its memory counts. It is not
//! written to the log: after a restart it is unknown and joins again.
//!
//! A takeover ends all claims to the name. So a member only loses its name to a process that was alive when the member
//! had it already, in whatever order messages arrive. The last claimant to confirm wins.

use super::MembershipState;
use crate::group::state::limits;
use crate::group::state::member::after;
use grower_protocol::ids::{MemberEpoch, MemberId, Timestamp};
use grower_protocol::message::{Heartbeat, HeartbeatAnswer};
use std::collections::BTreeMap;

/// Claims by claimant.
#[derive(Clone, Debug, Default)]
pub(super) struct InstanceClaims(BTreeMap<MemberId, InstanceClaim>);

#[derive(Clone, Debug)]
struct InstanceClaim {
    instance: String,
    /// The epoch in the answer: a claimant that sends it has received the answer.
    epoch: MemberEpoch,
    expires: Timestamp,
}

impl InstanceClaims {
    /// The instance name, if this heartbeat confirms a claim to it.
    pub(super) fn confirmed_by(&self, beat: &Heartbeat) -> Option<String> {
        self.0.get(&beat.member).filter(|claim| claim.epoch == beat.epoch).map(|claim| claim.instance.clone())
    }

    pub(super) fn contains(&self, id: &MemberId) -> bool {
        self.0.contains_key(id)
    }

    pub(super) fn withdraw(&mut self, id: &MemberId) -> bool {
        self.0.remove(id).is_some()
    }

    /// Ends all claims to a name that was taken.
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

impl MembershipState {
    /// Whether a member that is not detached has the name.
    pub(super) fn is_name_taken(&self, instance: &str) -> bool {
        self.members.values().any(|member| !member.detached && member.holds(instance))
    }

    /// Answers a join under a taken name. A repeated join gets the same answer.
    pub(super) fn claim(&mut self, beat: &Heartbeat, instance: &str, at: Timestamp) -> HeartbeatAnswer {
        debug_assert!(!self.members.contains_key(&beat.member), "a member claims no name");
        let before = self.claims.0.get(&beat.member).filter(|claim| claim.instance == instance);
        let epoch = before.map(|claim| claim.epoch).unwrap_or_else(|| MemberEpoch::new(self.tick()));
        let expires = after(at, limits::claim_timeout(beat.session_timeout_ms));
        self.claims.0.insert(beat.member.clone(), InstanceClaim { instance: instance.to_owned(), epoch, expires });
        HeartbeatAnswer { epoch, interval_ms: 0, assignment: Vec::new() }
    }
}
