//! Members whose heartbeats the broker has and has not answered yet.
//!
//! A member sends one heartbeat at a time. While its answer waits, for the disk or for news, the member cannot say anything,
//! so its session does not end; once it was answered it has a full session again.

use grower_protocol::ids::{GroupId, MemberId};
use std::collections::BTreeMap;

/// How many heartbeats of each member wait for their answers.
#[derive(Clone, Debug, Default)]
pub(super) struct HeldAnswers(BTreeMap<GroupId, BTreeMap<MemberId, u32>>);

impl HeldAnswers {
    pub(super) fn begin(&mut self, group: &GroupId, member: &MemberId) {
        *self.0.entry(group.clone()).or_default().entry(member.clone()).or_default() += 1;
    }

    /// True if it was the last one of the member.
    pub(super) fn end(&mut self, group: &GroupId, member: &MemberId) -> bool {
        let Some(members) = self.0.get_mut(group) else { return false };
        let Some(count) = members.get_mut(member) else { return false };
        *count -= 1;
        if 0 < *count {
            return false;
        }
        members.remove(member);
        if members.is_empty() {
            self.0.remove(group);
        }
        true
    }

    /// The members of a group that wait.
    pub(super) fn of(&self, group: &GroupId) -> Option<&BTreeMap<MemberId, u32>> {
        self.0.get(group)
    }
}
