//! Heartbeats that arrived and are not answered yet.
//!
//! A member sends one heartbeat at a time. While its answer waits, for the disk or for an assignment change, the
//! member cannot send another, so its session does not end. The answer starts a new session. A refused heartbeat
//! proves nothing about the member that it names: its sender may have been fenced long ago.

use grower_protocol::ids::{GroupId, MemberEpoch, MemberId};
use grower_protocol::message::{Failure, Heartbeat, HeartbeatAnswer};
use std::collections::BTreeMap;

/// A heartbeat that arrived and is not answered yet. [`super::GroupShard::heartbeat_answered`] ends it.
#[must_use = "the member's session does not end before it is answered"]
#[derive(Debug)]
pub struct UnansweredHeartbeat {
    pub(super) group: GroupId,
    pub(super) member: MemberId,
    /// The epoch that the sender knows; none if the heartbeat was refused.
    pub(super) knows: Option<MemberEpoch>,
}

impl UnansweredHeartbeat {
    /// The group of the member.
    pub fn group(&self) -> &GroupId {
        &self.group
    }

    /// Notes the answer. Without an answer the sender knows the epoch that it sent.
    pub fn settle(&mut self, answer: &Result<HeartbeatAnswer, Failure>) {
        self.knows = answer.as_ref().ok().map(|answer| answer.epoch);
    }
}

/// The number of unanswered heartbeats of each member.
#[derive(Clone, Debug, Default)]
pub(super) struct UnansweredHeartbeats(BTreeMap<GroupId, BTreeMap<MemberId, u32>>);

impl UnansweredHeartbeats {
    pub(super) fn begin(&mut self, beat: &Heartbeat) -> UnansweredHeartbeat {
        *self.0.entry(beat.group.clone()).or_default().entry(beat.member.clone()).or_default() += 1;
        UnansweredHeartbeat { group: beat.group.clone(), member: beat.member.clone(), knows: Some(beat.epoch) }
    }

    pub(super) fn end(&mut self, heartbeat: &UnansweredHeartbeat) {
        let members = self.0.get_mut(&heartbeat.group);
        debug_assert!(members.is_some(), "an unanswered heartbeat is counted until it ends");
        let Some(members) = members else { return };
        let count = members.get_mut(&heartbeat.member);
        debug_assert!(count.as_ref().is_some_and(|count| 0 < **count), "each heartbeat ends once");
        let Some(count) = count else { return };
        *count -= 1;
        if 0 < *count {
            return;
        }
        members.remove(&heartbeat.member);
        if members.is_empty() {
            self.0.remove(&heartbeat.group);
        }
    }

    /// The members of a group with unanswered heartbeats.
    pub(super) fn of(&self, group: &GroupId) -> Option<&BTreeMap<MemberId, u32>> {
        self.0.get(group)
    }
}
