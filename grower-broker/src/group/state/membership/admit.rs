//! Admission of heartbeats: joins, returns, and fencing.

use super::{MembershipState, unknown};
use crate::group::state::assignor::Assignor;
use crate::group::state::limits::GroupLimits;
use crate::group::state::member::MemberState;
use crate::group::state::topic_id_partition::TopicIdPartition;
use crate::group::state::{GroupRefusal, topic_id_partition};
use grower_protocol::ids::{MemberEpoch, MemberId, NAME_LENGTH_MAX, Timestamp};
use grower_protocol::message::Heartbeat;

/// The answer that a heartbeat proves its sender to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KnownAnswer {
    /// The newest answer.
    Newest,
    /// At most the answer before: the partitions that it lists prove nothing.
    Older,
}

/// The sender of an admitted heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission<'a> {
    Member(KnownAnswer),
    /// It joins under the instance name of another member.
    Claimant {
        instance: &'a str,
    },
}

impl MembershipState {
    /// Checks everything in a heartbeat that does not depend on the group's members.
    pub(in crate::group::state) fn check(beat: &Heartbeat, limits: &GroupLimits) -> Result<(), GroupRefusal> {
        if limits.topics < beat.topics.len() {
            return Err(GroupRefusal::LimitReached { what: "topics of one member", max: limits.topics });
        }
        if beat.instance.as_ref().is_some_and(|name| !(1..=NAME_LENGTH_MAX).contains(&name.len())) {
            return Err(GroupRefusal::InstanceName);
        }
        assignor_of(beat)?;
        // Otherwise partitions that it still reads would count as free.
        let joins_owning =
            beat.epoch == MemberEpoch::default() && topic_id_partition::from_message(&beat.owned).next().is_some();
        if joins_owning { Err(GroupRefusal::JoinsOwning) } else { Ok(()) }
    }

    pub(super) fn admit<'a>(
        &mut self,
        beat: &'a Heartbeat,
        limits: &GroupLimits,
        wall: Timestamp,
    ) -> Result<Admission<'a>, GroupRefusal> {
        Self::check(beat, limits)?;
        if beat.epoch == MemberEpoch::default() {
            return self.join(beat, limits, wall);
        }
        if let Some(instance) = self.claims.confirmed_by(beat) {
            self.enter(beat, Some(&instance), wall)?;
            return Ok(Admission::Member(KnownAnswer::Newest));
        }
        let member = self.members.get(&beat.member).ok_or_else(|| unknown(&beat.member))?;
        check_present(&beat.member, member)?;
        if beat.epoch == member.epoch {
            Ok(Admission::Member(KnownAnswer::Newest))
        } else if Some(beat.epoch) == member.previous {
            Ok(Admission::Member(KnownAnswer::Older))
        } else {
            Err(fenced(&beat.member, member, beat.epoch))
        }
    }

    /// Admits epoch 0: a new member, or one that lost its epoch and starts again.
    fn join<'a>(
        &mut self,
        beat: &'a Heartbeat,
        limits: &GroupLimits,
        wall: Timestamp,
    ) -> Result<Admission<'a>, GroupRefusal> {
        if let Some(member) = self.members.get_mut(&beat.member) {
            check_not_replaced(member)?;
            if std::mem::take(&mut member.detached) {
                member.instance.iter().for_each(|instance| self.claims.end(instance));
            }
            // The member keeps its granted partitions for now: this may be a delayed request of a member that reads
            // already. Partitions missing from its next heartbeat are free then.
            return Ok(Admission::Member(KnownAnswer::Older));
        }
        if limits.members <= self.members.len() + self.claims.len() && !self.expects(beat) {
            return Err(GroupRefusal::LimitReached { what: "members of one group", max: limits.members });
        }
        let instance = beat.instance.as_deref();
        if let Some(instance) = instance.filter(|instance| self.is_name_taken(instance)) {
            return Ok(Admission::Claimant { instance });
        }
        self.enter(beat, instance, wall)?;
        Ok(Admission::Member(KnownAnswer::Newest))
    }

    /// Adds the sender as a member, in the place of the earlier holder of its instance name if there is one.
    fn enter(&mut self, beat: &Heartbeat, instance: Option<&str>, wall: Timestamp) -> Result<(), GroupRefusal> {
        if self.members.is_empty() {
            self.assignor = assignor_of(beat)?;
            self.unsaved.group();
        }
        self.claims.withdraw(&beat.member);
        let successor = instance.and_then(|instance| self.succeed(&beat.member, instance, wall));
        let member = successor.unwrap_or_else(|| self.new_member());
        let instance = instance.map(str::to_owned);
        self.members.insert(beat.member.clone(), MemberState { instance, ..member });
        self.unsaved.changed(&beat.member);
        Ok(())
    }

    /// A new member, last in the order of joining.
    fn new_member(&mut self) -> MemberState {
        self.stale = true;
        self.next_join_order = self.next_join_order.saturating_add(1);
        MemberState::joining(self.next_join_order)
    }

    /// Checks that the member still holds the partition it commits for.
    pub(in crate::group::state) fn check_owner(
        &self,
        id: &MemberId,
        partition: TopicIdPartition,
    ) -> Result<(), GroupRefusal> {
        let holds = self.members.get(id).is_some_and(|member| member.granted.contains(&partition));
        if holds { Ok(()) } else { Err(GroupRefusal::NotAssigned { member: id.clone() }) }
    }

    /// Checks a member's epoch. The one before is valid while the newest answer may be under way.
    pub(in crate::group::state) fn check_epoch(&self, id: &MemberId, epoch: MemberEpoch) -> Result<(), GroupRefusal> {
        let member = self.members.get(id).ok_or_else(|| unknown(id))?;
        check_present(id, member)?;
        let known = epoch == member.epoch || Some(epoch) == member.previous;
        if known { Ok(()) } else { Err(fenced(id, member, epoch)) }
    }

    /// Whether the group has fenced the sender: a newer epoch was given out, or another member has its name. That is
    /// final: a sender only knows epochs of the past.
    pub(in crate::group::state) fn has_fenced(&self, beat: &Heartbeat) -> bool {
        let Some(member) = self.members.get(&beat.member) else { return false };
        match beat.epoch == MemberEpoch::default() {
            true => check_not_replaced(member).is_err(),
            false => self.check_epoch(&beat.member, beat.epoch).is_err(),
        }
    }

    /// Refuses a commit that a later one of the member has overtaken.
    pub(in crate::group::state) fn check_order(
        &mut self,
        id: &MemberId,
        epoch: MemberEpoch,
        sequence: u64,
    ) -> Result<(), GroupRefusal> {
        let member = self.members.get_mut(id).ok_or_else(|| unknown(id))?;
        if (epoch, sequence) < member.newest_commit {
            return Err(GroupRefusal::OvertakenCommit { committer: id.into(), sequence });
        }
        member.newest_commit = (epoch, sequence);
        Ok(())
    }
}

fn assignor_of(beat: &Heartbeat) -> Result<Assignor, GroupRefusal> {
    let Some(name) = &beat.assignor else { return Ok(Assignor::default()) };
    let unknown = || GroupRefusal::UnknownAssignor { name: name.chars().take(64).collect() };
    Assignor::named(name).ok_or_else(unknown)
}

/// Refuses delayed requests of replaced and detached members.
pub(super) fn check_present(id: &MemberId, member: &MemberState) -> Result<(), GroupRefusal> {
    check_not_replaced(member)?;
    if member.detached { Err(unknown(id)) } else { Ok(()) }
}

fn check_not_replaced(member: &MemberState) -> Result<(), GroupRefusal> {
    match (&member.replaced_by, &member.instance) {
        (Some(holder), Some(instance)) => {
            Err(GroupRefusal::InstanceTaken { instance: instance.clone(), holder: holder.clone() })
        }
        _ => Ok(()),
    }
}

pub(super) fn fenced(id: &MemberId, member: &MemberState, claimed: MemberEpoch) -> GroupRefusal {
    GroupRefusal::FencedMember { member: id.clone(), current: member.epoch, claimed }
}
