//! What a member that waits for its answer should hear at once.

use super::admit::{self, KnownAnswer};
use super::{GroupMembership, unknown};
use crate::group::state::GroupRefusal;
use crate::group::state::catalog::Catalog;
use crate::group::state::heartbeat_context::HeartbeatContext;
use crate::group::state::partition_key::{self, PartitionSet};
use grower_protocol::ids::{MemberEpoch, MemberId};
use grower_protocol::message::{Heartbeat, HeartbeatAnswer};

/// Whether the member should hear this at once: it has a new epoch, or reads what it should not.
pub fn is_assignment_change(beat: &Heartbeat, answer: &HeartbeatAnswer) -> bool {
    let assigned: PartitionSet = partition_key::from_message(&answer.assignment).collect();
    beat.epoch != answer.epoch
        || partition_key::from_message(&beat.owned).any(|partition| !assigned.contains(&partition))
}

impl GroupMembership {
    /// Answers a heartbeat that was heard before and found nothing new, if there is news by now.
    ///
    /// That the broker held it back proves nothing about its sender: the session counts from when it came.
    pub(in crate::group::state) fn assignment_change(
        &mut self,
        id: &MemberId,
        epoch: MemberEpoch,
        received: &HeartbeatContext<'_>,
        catalog: &dyn Catalog,
    ) -> Result<Option<HeartbeatAnswer>, GroupRefusal> {
        self.check_still_waits(id, epoch)?;
        self.rebalance_if_stale(id, catalog);
        let member = self.members.get(id).ok_or_else(|| unknown(id))?;
        if member.due(&self.owners) == member.assignment {
            return Ok(None);
        }
        self.grant(id, received.date);
        Ok(self.answer(id, epoch, received.at, KnownAnswer::Newest))
    }

    /// Somebody who spoke again meanwhile hears the answer to that.
    fn check_still_waits(&self, id: &MemberId, epoch: MemberEpoch) -> Result<(), GroupRefusal> {
        let member = self.members.get(id).ok_or_else(|| unknown(id))?;
        admit::check_present(id, member)?;
        if member.epoch == epoch { Ok(()) } else { Err(admit::fenced(id, member, epoch)) }
    }

    /// Whether somebody may be told something new since this was last asked.
    pub(in crate::group::state) fn take_assignment_changed(&mut self) -> bool {
        std::mem::take(&mut self.assignment_changed)
    }
}
