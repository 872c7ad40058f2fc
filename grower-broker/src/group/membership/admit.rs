//! Who may speak for a group: joining, coming back, and being fenced.

use super::{Membership, unknown};
use crate::group::assignor::Assignor;
use crate::group::limits::GroupLimits;
use crate::group::member::Member;
use crate::group::slot::Slot;
use crate::group::{GroupRefusal, slot};
use grower_protocol::ids::{MemberEpoch, MemberId, NAME_LENGTH_MAX};
use grower_protocol::message::Heartbeat;

/// What a heartbeat proves its sender to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The newest answer.
    Current,
    /// At most the answer before: nothing can be concluded from what the member holds.
    Behind,
}

impl Membership {
    /// Checks all of a heartbeat that does not depend on who is in the group.
    pub(in crate::group) fn check(beat: &Heartbeat, limits: &GroupLimits) -> Result<(), GroupRefusal> {
        if limits.topics < beat.topics.len() {
            return Err(GroupRefusal::LimitReached { what: "topics of one member", max: limits.topics });
        }
        if beat.instance.as_ref().is_some_and(|name| !(1..=NAME_LENGTH_MAX).contains(&name.len())) {
            return Err(GroupRefusal::InstanceName);
        }
        assignor_of(beat)?;
        // Otherwise what it still reads would count as free.
        let joins_owning = beat.epoch == MemberEpoch::default() && slot::from_message(&beat.owned).next().is_some();
        if joins_owning { Err(GroupRefusal::JoinsOwning) } else { Ok(()) }
    }

    pub(super) fn admit(&mut self, beat: &Heartbeat, limits: &GroupLimits) -> Result<Standing, GroupRefusal> {
        Self::check(beat, limits)?;
        if beat.epoch == MemberEpoch::default() {
            return self.join(beat, limits);
        }
        let member = self.members.get(&beat.member).ok_or_else(|| unknown(&beat.member))?;
        check_not_replaced(member)?;
        if beat.epoch == member.epoch {
            Ok(Standing::Current)
        } else if Some(beat.epoch) == member.previous {
            Ok(Standing::Behind)
        } else {
            Err(fenced(&beat.member, member, beat.epoch))
        }
    }

    /// Epoch 0: a new member, or one that lost its epoch and starts again.
    fn join(&mut self, beat: &Heartbeat, limits: &GroupLimits) -> Result<Standing, GroupRefusal> {
        if let Some(member) = self.members.get(&beat.member) {
            check_not_replaced(member)?;
            // It keeps its seat and, for now, what it was granted: this may be an old request that was long under
            // way while the member reads already. What it does not list in its next heartbeat is free then.
            return Ok(Standing::Behind);
        }
        if limits.members <= self.members.len() {
            return Err(GroupRefusal::LimitReached { what: "members of one group", max: limits.members });
        }
        if self.members.is_empty() {
            self.assignor = assignor_of(beat)?;
            self.unsaved.group();
        }
        let seat = self.seat_of(beat);
        self.members.insert(beat.member.clone(), Member { instance: beat.instance.clone(), ..Member::joining(seat) });
        self.stale = true;
        self.unsaved.changed(&beat.member);
        Ok(Standing::Current)
    }

    /// A restarted process takes over the seat of its instance name; otherwise members sit in the order they join.
    fn seat_of(&mut self, beat: &Heartbeat) -> u64 {
        let holder = |member: &&mut Member| member.instance == beat.instance && member.replaced_by.is_none();
        let replaced = match &beat.instance {
            Some(_) => self.members.values_mut().find(holder),
            None => None,
        };
        if let Some(member) = replaced {
            member.replaced_by = Some(beat.member.clone());
            return member.seat;
        }
        self.next_seat = self.next_seat.saturating_add(1);
        self.next_seat
    }

    /// Whether the member may commit for a partition: it must know its epoch and still hold the partition.
    pub(in crate::group) fn check_owner(&self, id: &MemberId, slot: Slot) -> Result<(), GroupRefusal> {
        let holds = self.members.get(id).is_some_and(|member| member.granted.contains(&slot));
        if holds { Ok(()) } else { Err(GroupRefusal::NotAssigned { member: id.clone() }) }
    }

    /// Whether a member has this epoch; the one before counts while the newest answer may be under way.
    pub(in crate::group) fn check_epoch(&self, id: &MemberId, epoch: MemberEpoch) -> Result<(), GroupRefusal> {
        let member = self.members.get(id).ok_or_else(|| unknown(id))?;
        check_not_replaced(member)?;
        let known = epoch == member.epoch || Some(epoch) == member.previous;
        if known { Ok(()) } else { Err(fenced(id, member, epoch)) }
    }
}

fn assignor_of(beat: &Heartbeat) -> Result<Assignor, GroupRefusal> {
    let Some(name) = &beat.assignor else { return Ok(Assignor::default()) };
    let unknown = || GroupRefusal::UnknownAssignor { name: name.chars().take(64).collect() };
    Assignor::named(name).ok_or_else(unknown)
}

fn check_not_replaced(member: &Member) -> Result<(), GroupRefusal> {
    match (&member.replaced_by, &member.instance) {
        (Some(holder), Some(instance)) => {
            Err(GroupRefusal::InstanceTaken { instance: instance.clone(), holder: holder.clone() })
        }
        _ => Ok(()),
    }
}

fn fenced(id: &MemberId, member: &Member, claimed: MemberEpoch) -> GroupRefusal {
    GroupRefusal::FencedMember { member: id.clone(), current: member.epoch, claimed }
}
