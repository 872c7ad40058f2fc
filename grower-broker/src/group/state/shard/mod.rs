//! The groups of one partition of the internal topic: requests in, answers and records out.

mod limits;
mod offsets;

use super::GroupRefusal;
use super::catalog::Catalog;
use super::committers::Committers;
use super::decision::GroupDecision;
use super::group::Group;
use super::heartbeat_context::HeartbeatContext;
use super::limits::GroupLimits;
use super::record::GroupRecord;
use super::unanswered::{UnansweredHeartbeat, UnansweredHeartbeats};
use grower_protocol::ids::{GroupId, MemberId, Timestamp};
use grower_protocol::message::{GroupDescription, GroupInspection, GroupSummary, Heartbeat, HeartbeatAnswer};
use std::collections::BTreeMap;
use std::ops::Bound;

/// The groups of one partition of the internal topic.
///
/// Times are milliseconds of a clock that never goes back; where it starts does not matter.
#[derive(Debug, Default)]
pub struct GroupShard {
    pub(super) groups: BTreeMap<GroupId, Group>,
    /// No group that is made from now on uses an epoch up to this.
    pub(super) minimum_epoch: u32,
    pub(super) limits: GroupLimits,
    committers: Committers,
    held: UnansweredHeartbeats,
    /// What its groups take of memory.
    bytes: usize,
    /// How much more they may take; none if that is not bounded.
    memory_left: Option<usize>,
}

impl GroupShard {
    /// A shard without groups. One that has a log is built by [`super::ShardLoader`].
    pub fn new(limits: GroupLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// A shard as its log left it.
    pub(super) fn restored(groups: BTreeMap<GroupId, Group>, minimum_epoch: u32, limits: GroupLimits) -> Self {
        let mut shard = Self { groups, minimum_epoch, ..Self::new(limits) };
        shard.groups.values_mut().for_each(|group| group.count(true));
        shard.bytes = shard.groups.values().map(|group| group.counted).sum();
        shard
    }

    /// What its groups and their committers take of memory, by an estimate.
    pub fn bytes(&self) -> usize {
        self.bytes + self.committers.bytes()
    }

    /// How much more they may take: who needs more is refused from now on.
    pub fn set_memory_left(&mut self, bytes: usize) {
        self.memory_left = Some(bytes);
    }

    /// Joins a group, keeps the membership alive, and learns the assignment.
    pub fn heartbeat(
        &mut self,
        beat: &Heartbeat,
        received: &HeartbeatContext<'_>,
        catalog: &dyn Catalog,
    ) -> GroupDecision<HeartbeatAnswer> {
        let fits = self.check_subscription(beat).and_then(|()| self.check_memory(beat, catalog));
        let answer = fits.and_then(|()| self.make_group_for(beat)).and_then(|()| {
            let group = self.groups.get_mut(&beat.group).ok_or_else(|| unknown_member(&beat.member))?;
            group.members.heartbeat(beat, received, catalog, &self.limits)
        });
        self.step(&beat.group, answer)
    }

    /// Looks again at a heartbeat whose answer was held back because there was no news: what to say now, if anything.
    pub fn assignment_change(
        &mut self,
        beat: &Heartbeat,
        received: &HeartbeatContext<'_>,
        catalog: &dyn Catalog,
    ) -> GroupDecision<Option<HeartbeatAnswer>> {
        let answer = match self.groups.get_mut(&beat.group) {
            Some(group) => group.members.assignment_change(&beat.member, beat.epoch, received, catalog),
            None => Err(unknown_member(&beat.member)),
        };
        self.step(&beat.group, answer)
    }

    /// Ends a membership: the member gave up everything.
    pub fn leave(&mut self, group: &GroupId, member: &MemberId) -> GroupDecision<()> {
        let answer = match self.groups.get_mut(group) {
            Some(group) => group.members.leave(member),
            None => Err(unknown_member(member)),
        };
        self.step(group, answer)
    }

    /// The member reads nothing any more; its partitions wait for its instance name.
    pub fn detach(&mut self, group: &GroupId, member: &MemberId, at: Timestamp) -> GroupDecision<()> {
        let answer = match self.groups.get_mut(group) {
            Some(group) => group.members.detach(member, at),
            None => Err(unknown_member(member)),
        };
        self.step(group, answer)
    }

    /// The broker has a heartbeat: until it is answered the session of its member does not end. None if the heartbeat will
    /// be refused, since the group gave its sender up before it arrived.
    pub fn heartbeat_arrived(&mut self, beat: &Heartbeat) -> Option<UnansweredHeartbeat> {
        let is_fenced = self.groups.get(&beat.group).is_some_and(|group| group.members.has_fenced(beat));
        (!is_fenced).then(|| self.held.begin(beat))
    }

    /// The heartbeat is answered, or its connection has ended. Unless it was refused, the member has a full session again.
    pub fn heartbeat_answered(&mut self, held: UnansweredHeartbeat, at: Timestamp) {
        self.held.end(&held);
        if let (Some(epoch), Some(group)) = (held.knows, self.groups.get_mut(&held.group)) {
            group.members.renew_session(&held.member, epoch, at);
        }
    }

    /// Nobody could be heard for this long, since the broker itself stood still: no session counts that time.
    pub fn extend_sessions(&mut self, millis: u64) {
        self.groups.values_mut().for_each(|group| group.members.extend_sessions(millis));
    }

    /// Groups in which somebody was silent for too long. To be asked for about every 100 ms.
    pub fn due(&self, at: Timestamp) -> Vec<GroupId> {
        let due =
            |(id, group): &(&GroupId, &Group)| group.members.next_expiry(self.held.of(id)).is_some_and(|due| due <= at);
        self.groups.iter().filter(due).map(|(id, _)| id.clone()).collect()
    }

    /// Removes members of a group that were silent for too long.
    pub fn expire(&mut self, id: &GroupId, at: Timestamp) -> GroupDecision<()> {
        if let Some(group) = self.groups.get_mut(id) {
            group.members.expire(at, self.held.of(id));
        }
        self.step(id, Ok(()))
    }

    /// Groups that have to assign anew since topics were created, grown or deleted.
    ///
    /// A member also notices by itself at its next heartbeat; this is for everybody else.
    pub fn affected_by_topics(&self, catalog: &dyn Catalog) -> Vec<GroupId> {
        let affected = self.groups.iter().filter(|(_, group)| group.members.is_affected_by_topics(catalog));
        affected.map(|(id, _)| id.clone()).collect()
    }

    /// Topics were created, grown or deleted: a group that subscribes to them assigns anew.
    pub fn topics_changed(&mut self, id: &GroupId, catalog: &dyn Catalog) -> GroupDecision<()> {
        if let Some(group) = self.groups.get_mut(id) {
            group.members.topics_changed(catalog);
        }
        self.step(id, Ok(()))
    }

    /// All groups, sorted by id.
    pub fn list(&self) -> Vec<GroupSummary> {
        self.list_after(None, usize::MAX)
    }

    /// The first groups, at most so many, whose ids come after this one.
    pub fn list_after(&self, after: Option<&GroupId>, most: usize) -> Vec<GroupSummary> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let groups = self.groups.range((start, Bound::Unbounded)).take(most);
        groups.map(|(id, group)| group.summary(id)).collect()
    }

    /// One group with its members and offsets.
    pub fn describe(&self, group: &GroupId) -> Result<GroupDescription, GroupRefusal> {
        self.find(group).map(|found| found.describe(group))
    }

    /// One group with all that helps to look after it.
    pub fn inspect(&self, group: &GroupId, at: Timestamp) -> Result<GroupInspection, GroupRefusal> {
        self.find(group).map(|found| found.inspect(group, at))
    }

    fn find(&self, group: &GroupId) -> Result<&Group, GroupRefusal> {
        self.groups.get(group).ok_or_else(|| GroupRefusal::UnknownGroup { group: group.clone() })
    }

    /// Forgets a group that has no members.
    pub fn delete(&self, group: &GroupId) -> GroupDecision<()> {
        match self.find(group).and_then(|found| found.delete(group)) {
            Ok(records) => GroupDecision::writing((), records),
            Err(refusal) => GroupDecision::refused(refusal),
        }
    }

    /// Writes the minimum_epoch once more: the last one in the log is the one that compaction keeps.
    pub fn repeat_minimum_epoch(&self) -> GroupDecision<()> {
        let records = if self.minimum_epoch == 0 {
            Vec::new()
        } else {
            vec![GroupRecord::MinimumEpoch { epoch: self.minimum_epoch }]
        };
        GroupDecision::writing((), records)
    }

    /// The log keeps the last minimum_epoch only, so each one that is written is the highest so far.
    pub(super) fn raise_minimum_epochs(&self, records: &mut [GroupRecord]) {
        let mut highest = self.minimum_epoch;
        for record in records {
            if let GroupRecord::MinimumEpoch { epoch } = record {
                highest = highest.max(*epoch);
                *epoch = highest;
            }
        }
    }

    fn step<T>(&mut self, id: &GroupId, answer: Result<T, GroupRefusal>) -> GroupDecision<T> {
        let mut step = answer.map_or_else(GroupDecision::refused, GroupDecision::of);
        if let Some(group) = self.groups.get_mut(id) {
            step.take_from(id, group);
        }
        self.count(id, false);
        step
    }

    /// Counts anew what a group takes of memory.
    fn count(&mut self, id: &GroupId, members_too: bool) {
        if let Some(group) = self.groups.get_mut(id) {
            self.bytes -= group.counted;
            group.count(members_too);
            self.bytes += group.counted;
        }
    }

    /// These records of a [step](GroupDecision::take_records) are in the log.
    pub fn appended(&mut self, records: Vec<GroupRecord>) {
        let mut changed: BTreeMap<GroupId, bool> = BTreeMap::new();
        for record in records {
            if let Some((group, members)) = record.concerns() {
                *changed.entry(group.clone()).or_default() |= members;
            }
            match record {
                GroupRecord::Group { group, state: Some(state) } => {
                    let minimum_epoch = self.minimum_epoch;
                    self.groups.entry(group).or_insert_with(|| Group::after(minimum_epoch)).members.saved_group(&state);
                }
                GroupRecord::Group { group, state: None } => {
                    self.bytes -= self.groups.remove(&group).map_or(0, |gone| gone.counted);
                }
                GroupRecord::Member { group, member, .. } => {
                    self.groups.entry(group).and_modify(|group| group.members.saved_member(&member));
                }
                GroupRecord::Offset { group, partition, state } => {
                    self.groups.entry(group).and_modify(|group| group.offsets.set(partition, state));
                }
                GroupRecord::MinimumEpoch { epoch } => self.minimum_epoch = self.minimum_epoch.max(epoch),
            }
        }
        changed.into_iter().for_each(|(group, members)| self.count(&group, members));
    }
}

fn unknown_member(member: &MemberId) -> GroupRefusal {
    GroupRefusal::UnknownMember { member: member.clone() }
}
