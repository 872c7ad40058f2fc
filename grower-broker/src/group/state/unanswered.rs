//! Members whose heartbeats the broker has and has not answered yet.
//!
//! A member sends one heartbeat at a time. While its answer waits, for the disk or for news, the member cannot say anything,
//! so its session does not end; once it was answered it has a full session again. A heartbeat that is refused proves nothing
//! about the member that it names: its sender may have been fenced long ago.

use grower_protocol::ids::{GroupId, MemberEpoch, MemberId};
use grower_protocol::message::{Failure, Heartbeat, HeartbeatAnswer};
use std::collections::BTreeMap;

/// A heartbeat that the broker has and has not answered yet; [`super::GroupShard::heartbeat_answered`] ends it.
#[must_use = "until it is ended the session of its member does not end"]
#[derive(Debug)]
pub struct UnansweredHeartbeat {
    pub(super) group: GroupId,
    pub(super) member: MemberId,
    /// The epoch that its sender knows; none if it was refused.
    pub(super) knows: Option<MemberEpoch>,
}

impl UnansweredHeartbeat {
    /// The group of the member.
    pub fn group(&self) -> &GroupId {
        &self.group
    }

    /// This is the answer. Without one the sender knows the epoch that it said.
    pub fn settle(&mut self, answer: &Result<HeartbeatAnswer, Failure>) {
        self.knows = answer.as_ref().ok().map(|answer| answer.epoch);
    }
}

/// How many heartbeats of each member wait for their answers.
#[derive(Clone, Debug, Default)]
pub(super) struct UnansweredHeartbeats(BTreeMap<GroupId, BTreeMap<MemberId, u32>>);

impl UnansweredHeartbeats {
    pub(super) fn begin(&mut self, beat: &Heartbeat) -> UnansweredHeartbeat {
        *self.0.entry(beat.group.clone()).or_default().entry(beat.member.clone()).or_default() += 1;
        UnansweredHeartbeat { group: beat.group.clone(), member: beat.member.clone(), knows: Some(beat.epoch) }
    }

    pub(super) fn end(&mut self, held: &UnansweredHeartbeat) {
        let Some(members) = self.0.get_mut(&held.group) else { return };
        let Some(count) = members.get_mut(&held.member) else { return };
        *count -= 1;
        if 0 < *count {
            return;
        }
        members.remove(&held.member);
        if members.is_empty() {
            self.0.remove(&held.group);
        }
    }

    /// The members of a group that wait.
    pub(super) fn of(&self, group: &GroupId) -> Option<&BTreeMap<MemberId, u32>> {
        self.0.get(group)
    }
}
