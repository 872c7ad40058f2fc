//! Changes that a member with a waiting heartbeat should learn at once.

use super::admit::{self, KnownAnswer};
use super::{MembershipState, unknown};
use crate::group::state::GroupRefusal;
use crate::group::state::catalog::Catalog;
use crate::group::state::heartbeat_context::HeartbeatContext;
use crate::group::state::topic_id_partition::{self, PartitionSet};
use grower_protocol::ids::{MemberEpoch, MemberId};
use grower_protocol::message::{Heartbeat, HeartbeatAnswer};

/// Whether an answer is urgent: the member has a new epoch, or lists a partition that it may not read.
pub fn is_assignment_change(beat: &Heartbeat, answer: &HeartbeatAnswer) -> bool {
    let assigned: PartitionSet = topic_id_partition::from_message(&answer.assignment).collect();
    beat.epoch != answer.epoch
        || topic_id_partition::from_message(&beat.owned).any(|partition| !assigned.contains(&partition))
}

impl MembershipState {
    /// Answers a heartbeat that was held back, if the member's assignment changed since.
    ///
    /// Waiting proves nothing about the sender: its session counts from the arrival of the heartbeat.
    pub(in crate::group::state) fn assignment_change(
        &mut self,
        id: &MemberId,
        epoch: MemberEpoch,
        context: &HeartbeatContext<'_>,
        catalog: &dyn Catalog,
    ) -> Result<Option<HeartbeatAnswer>, GroupRefusal> {
        self.check_still_waits(id, epoch)?;
        self.rebalance_if_stale(id, catalog);
        let member = self.members.get(id).ok_or_else(|| unknown(id))?;
        if member.due(&self.owners) == member.assignment {
            return Ok(None);
        }
        self.grant(id, context.wall);
        Ok(Some(self.answer(id, epoch, context.steady, KnownAnswer::Newest)))
    }

    /// Refuses a member that sent a newer heartbeat meanwhile: it gets the answer to that one.
    fn check_still_waits(&self, id: &MemberId, epoch: MemberEpoch) -> Result<(), GroupRefusal> {
        let member = self.members.get(id).ok_or_else(|| unknown(id))?;
        admit::check_present(id, member)?;
        if member.epoch == epoch { Ok(()) } else { Err(admit::fenced(id, member, epoch)) }
    }

    /// Whether an assignment may have changed since this was last asked.
    pub(in crate::group::state) fn take_assignment_changed(&mut self) -> bool {
        std::mem::take(&mut self.assignment_changed)
    }
}
