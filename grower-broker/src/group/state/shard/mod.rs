//! A shard, the groups of one partition of the internal topic: requests in, answers and records out.

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
use grower_protocol::message::{GroupDescription, Heartbeat, HeartbeatAnswer};
use std::collections::BTreeMap;
use std::ops::Bound;

/// The groups of one partition of the internal topic.
///
/// Times named `at` are milliseconds of a monotonic clock with any start.
///
/// Invariant: `bytes` is the sum of the groups' counted memory.
#[derive(Debug, Default)]
pub struct GroupShard {
    pub(super) groups: BTreeMap<GroupId, Group>,
    /// New groups start with epochs above this one.
    pub(super) minimum_epoch: u32,
    pub(super) limits: GroupLimits,
    committers: Committers,
    unanswered: UnansweredHeartbeats,
    /// Memory of all groups.
    bytes: usize,
    /// Memory left for groups; none if it is not bounded.
    memory_left: Option<usize>,
}

impl GroupShard {
    /// An empty shard. [`super::ShardLoader`] builds one from its log.
    pub fn new(limits: GroupLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// A shard with the groups of its log.
    pub(super) fn restored(groups: BTreeMap<GroupId, Group>, minimum_epoch: u32, limits: GroupLimits) -> Self {
        let mut shard = Self { groups, minimum_epoch, ..Self::new(limits) };
        shard.groups.values_mut().for_each(|group| group.count(true));
        shard.bytes = shard.groups.values().map(|group| group.counted).sum();
        shard.groups.values().for_each(|group| group.members.check_invariants());
        shard
    }

    /// Estimated memory of all groups and committers.
    pub fn bytes(&self) -> usize {
        self.bytes + self.committers.bytes()
    }

    /// Sets the memory left for groups. Requests that need more are refused.
    pub fn set_memory_left(&mut self, bytes: usize) {
        self.memory_left = Some(bytes);
    }

    /// Handles a heartbeat: a join, a new session, and the member's assignment.
    pub fn heartbeat(
        &mut self,
        beat: &Heartbeat,
        context: &HeartbeatContext<'_>,
        catalog: &dyn Catalog,
    ) -> GroupDecision<HeartbeatAnswer> {
        let fits = self.check_subscription(beat).and_then(|()| self.check_memory(beat, catalog));
        let answer = fits.and_then(|()| self.make_group_for(beat)).and_then(|()| {
            let group = self.groups.get_mut(&beat.group).ok_or_else(|| unknown_member(&beat.member))?;
            group.members.heartbeat(beat, context, catalog, &self.limits)
        });
        self.decide(&beat.group, answer)
    }

    /// Looks again at a heartbeat whose answer was held back. Returns an answer if the assignment changed.
    pub fn assignment_change(
        &mut self,
        beat: &Heartbeat,
        context: &HeartbeatContext<'_>,
        catalog: &dyn Catalog,
    ) -> GroupDecision<Option<HeartbeatAnswer>> {
        let answer = match self.groups.get_mut(&beat.group) {
            Some(group) => group.members.assignment_change(&beat.member, beat.epoch, context, catalog),
            None => Err(unknown_member(&beat.member)),
        };
        self.decide(&beat.group, answer)
    }

    /// Removes a member that gave up all partitions.
    pub fn leave(&mut self, group: &GroupId, member: &MemberId) -> GroupDecision<()> {
        let answer = match self.groups.get_mut(group) {
            Some(group) => group.members.leave(member),
            None => Err(unknown_member(member)),
        };
        self.decide(group, answer)
    }

    /// Detaches a member that stopped reading: its partitions wait for the next process of its instance name.
    pub fn detach(&mut self, group: &GroupId, member: &MemberId, at: Timestamp) -> GroupDecision<()> {
        let answer = match self.groups.get_mut(group) {
            Some(group) => group.members.detach(member, at),
            None => Err(unknown_member(member)),
        };
        self.decide(group, answer)
    }

    /// Notes that a heartbeat arrived: the member's session does not end before the answer. Returns none for a fenced
    /// sender, whose heartbeat will be refused.
    pub fn heartbeat_arrived(&mut self, beat: &Heartbeat) -> Option<UnansweredHeartbeat> {
        let is_fenced = self.groups.get(&beat.group).is_some_and(|group| group.members.has_fenced(beat));
        (!is_fenced).then(|| self.unanswered.begin(beat))
    }

    /// Notes that a heartbeat was answered, or its connection ended. Unless it was refused, the member has a new
    /// session.
    pub fn heartbeat_answered(&mut self, heartbeat: UnansweredHeartbeat, at: Timestamp) {
        self.unanswered.end(&heartbeat);
        if let (Some(epoch), Some(group)) = (heartbeat.knows, self.groups.get_mut(&heartbeat.group)) {
            group.members.renew_session(&heartbeat.member, epoch, at);
        }
    }

    /// Extends all sessions by the time in which the broker stood still and could receive nothing.
    pub fn extend_sessions(&mut self, millis: u64) {
        self.groups.values_mut().for_each(|group| group.members.extend_sessions(millis));
    }

    /// Groups with expired members or claims. The shell asks about every 100 ms.
    pub fn due(&self, at: Timestamp) -> Vec<GroupId> {
        let due = |(id, group): &(&GroupId, &Group)| {
            group.members.next_expiry(self.unanswered.of(id)).is_some_and(|due| due <= at)
        };
        self.groups.iter().filter(due).map(|(id, _)| id.clone()).collect()
    }

    /// Removes the expired members and claims of a group.
    pub fn expire(&mut self, id: &GroupId, at: Timestamp) -> GroupDecision<()> {
        if let Some(group) = self.groups.get_mut(id) {
            group.members.expire(at, self.unanswered.of(id));
        }
        self.decide(id, Ok(()))
    }

    /// Groups that need a new assignment because topics were created, grown or deleted.
    ///
    /// A heartbeat notices such changes for its own topics; this finds them for all members.
    pub fn affected_by_topics(&self, catalog: &dyn Catalog) -> Vec<GroupId> {
        let affected = self.groups.iter().filter(|(_, group)| group.members.is_affected_by_topics(catalog));
        affected.map(|(id, _)| id.clone()).collect()
    }

    /// Computes a new assignment of a group after topics were created, grown or deleted.
    pub fn topics_changed(&mut self, id: &GroupId, catalog: &dyn Catalog) -> GroupDecision<()> {
        if let Some(group) = self.groups.get_mut(id) {
            group.members.topics_changed(catalog);
        }
        self.decide(id, Ok(()))
    }

    /// All groups, sorted by id, each with the number of its members.
    pub fn list(&self) -> Vec<(GroupId, usize)> {
        self.groups.iter().map(|(id, group)| (id.clone(), group.members())).collect()
    }

    /// The ids of the first groups, at max `max`, that come after this one.
    pub fn list_after(&self, after: Option<&GroupId>, max: usize) -> Vec<GroupId> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.groups.range((start, Bound::Unbounded)).take(max).map(|(id, _)| id.clone()).collect()
    }

    /// One group with its members, what each holds, and its offsets.
    pub fn describe(&self, group: &GroupId, at: Timestamp) -> Result<GroupDescription, GroupRefusal> {
        self.find(group).map(|found| found.describe(group, at))
    }

    fn find(&self, group: &GroupId) -> Result<&Group, GroupRefusal> {
        self.groups.get(group).ok_or_else(|| GroupRefusal::UnknownGroup { group: group.clone() })
    }

    /// Deletes a group that has no members.
    pub fn delete(&self, group: &GroupId) -> GroupDecision<()> {
        match self.find(group).and_then(|found| found.delete(group)) {
            Ok(records) => GroupDecision::writing((), records),
            Err(refusal) => GroupDecision::refused(refusal),
        }
    }

    /// Writes the minimum epoch again: compaction keeps the last one in the log.
    pub fn repeat_minimum_epoch(&self) -> GroupDecision<()> {
        let records = if self.minimum_epoch == 0 {
            Vec::new()
        } else {
            vec![GroupRecord::MinimumEpoch { epoch: self.minimum_epoch }]
        };
        GroupDecision::writing((), records)
    }

    /// Raises each minimum epoch to the largest so far, since compaction keeps only the last one.
    pub(super) fn raise_minimum_epochs(&self, records: &mut [GroupRecord]) {
        let mut highest = self.minimum_epoch;
        for record in records {
            if let GroupRecord::MinimumEpoch { epoch } = record {
                highest = highest.max(*epoch);
                *epoch = highest;
            }
        }
    }

    fn decide<T>(&mut self, id: &GroupId, answer: Result<T, GroupRefusal>) -> GroupDecision<T> {
        let is_refused = answer.is_err();
        let mut decision = answer.map_or_else(GroupDecision::refused, GroupDecision::of);
        if let Some(group) = self.groups.get_mut(id) {
            decision.collect_changes(id, group);
            // A refusal may have removed a member: see `RevocationTimedOut`. Others changed nothing.
            if !is_refused || !decision.records().is_empty() {
                group.members.check_invariants();
            }
        }
        self.count(id, false);
        decision
    }

    /// Counts a group's memory again.
    fn count(&mut self, id: &GroupId, members_too: bool) {
        if let Some(group) = self.groups.get_mut(id) {
            self.bytes -= group.counted;
            group.count(members_too);
            self.bytes += group.counted;
        }
        self.check_bytes();
    }

    /// Asserts that `bytes` is the sum over all groups; with many groups that would cost too much.
    fn check_bytes(&self) {
        let few = cfg!(debug_assertions) && self.groups.len() <= 16;
        debug_assert!(!few || self.bytes == self.groups.values().map(|group| group.counted).sum::<usize>());
    }

    /// Notes that records of a [decision](GroupDecision::take_records) are in the log.
    pub fn appended(&mut self, records: Vec<GroupRecord>) {
        let mut changed: BTreeMap<GroupId, bool> = BTreeMap::new();
        for record in records {
            if let Some((group, members)) = record.concerns() {
                *changed.entry(group.clone()).or_default() |= members;
            }
            debug_assert!(self.may_append(&record), "a group's own record comes first: {record:?}");
            match record {
                GroupRecord::Group { group, state: Some(state) } => {
                    let minimum_epoch = self.minimum_epoch;
                    self.groups
                        .entry(group)
                        .or_insert_with(|| Group::starting_above(minimum_epoch))
                        .members
                        .saved_group(&state);
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
                GroupRecord::MinimumEpoch { epoch } => {
                    debug_assert!(self.minimum_epoch <= epoch, "each minimum epoch in the log is the largest so far");
                    self.minimum_epoch = epoch;
                }
            }
        }
        changed.into_iter().for_each(|(group, members)| self.count(&group, members));
    }

    /// Whether a record belongs to a known group, or makes one.
    fn may_append(&self, record: &GroupRecord) -> bool {
        match record {
            GroupRecord::Group { .. } | GroupRecord::MinimumEpoch { .. } => true,
            GroupRecord::Member { group, .. } | GroupRecord::Offset { group, .. } => self.groups.contains_key(group),
        }
    }
}

fn unknown_member(member: &MemberId) -> GroupRefusal {
    GroupRefusal::UnknownMember { member: member.clone() }
}
