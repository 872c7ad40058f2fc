//! The groups of one partition of the internal topic: requests in, answers and records out.

use super::GroupRefusal;
use super::catalog::Catalog;
use super::commit::Commit;
use super::committers::Committers;
use super::group::Group;
use super::held::{HeldAnswers, HeldHeartbeat};
use super::limits::GroupLimits;
use super::membership::Membership;
use super::offsets::LogEnds;
use super::received::Received;
use super::record::GroupRecord;
use super::size;
use grower_protocol::ids::{GroupId, MemberEpoch, MemberId, PartitionId, Timestamp, TopicId, TopicName};
use grower_protocol::message::{
    CommittedOffset, CommittedPosition, CommitterIdentity, Failure, GroupDescription, GroupInspection, GroupSummary,
    Heartbeat, HeartbeatAnswer, Part, StartPositions,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// What a request leads to: an answer, and what must be in the log before it is given.
#[must_use = "settle it: the answer may be given only after the records are durable"]
#[derive(Debug)]
pub struct Step<T> {
    answer: Result<T, Failure>,
    records: Vec<GroupRecord>,
    stirred: Vec<GroupId>,
}

/// The groups of one partition of the internal topic.
///
/// Times are milliseconds of a clock that never goes back; where it starts does not matter.
#[derive(Debug, Default)]
pub struct Shard {
    pub(super) groups: BTreeMap<GroupId, Group>,
    /// No group that is made from now on uses an epoch up to this.
    pub(super) floor: u32,
    pub(super) limits: GroupLimits,
    committers: Committers,
    held: HeldAnswers,
    /// What its groups take of memory.
    bytes: usize,
    /// How much more they may take; none if that is not bounded.
    room: Option<usize>,
}

impl Shard {
    /// A shard without groups. One that has a log is built by [`super::ShardLoader`].
    pub fn new(limits: GroupLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// A shard as its log left it.
    pub(super) fn restored(groups: BTreeMap<GroupId, Group>, floor: u32, limits: GroupLimits) -> Self {
        let mut shard = Self { groups, floor, ..Self::new(limits) };
        shard.groups.values_mut().for_each(|group| group.count(true));
        shard.bytes = shard.groups.values().map(|group| group.counted).sum();
        shard
    }

    /// What its groups and their committers take of memory, by an estimate.
    pub fn bytes(&self) -> usize {
        self.bytes + self.committers.bytes()
    }

    /// How much more they may take: who needs more is refused from now on.
    pub fn set_room(&mut self, bytes: usize) {
        self.room = Some(bytes);
    }

    /// Joins a group, keeps the membership alive, and learns the assignment.
    pub fn heartbeat(
        &mut self,
        beat: &Heartbeat,
        received: &Received<'_>,
        catalog: &dyn Catalog,
    ) -> Step<HeartbeatAnswer> {
        let fits = self.check_subscription(beat).and_then(|()| self.check_memory(beat, catalog));
        let answer = fits.and_then(|()| self.make_group_for(beat)).and_then(|()| {
            let group = self.groups.get_mut(&beat.group).ok_or_else(|| unknown_member(&beat.member))?;
            group.members.heartbeat(beat, received, catalog, &self.limits)
        });
        self.step(&beat.group, answer)
    }

    /// Looks again at a heartbeat whose answer was held back because there was no news: what to say now, if anything.
    pub fn news(
        &mut self,
        beat: &Heartbeat,
        received: &Received<'_>,
        catalog: &dyn Catalog,
    ) -> Step<Option<HeartbeatAnswer>> {
        let answer = match self.groups.get_mut(&beat.group) {
            Some(group) => group.members.news(&beat.member, beat.epoch, received, catalog),
            None => Err(unknown_member(&beat.member)),
        };
        self.step(&beat.group, answer)
    }

    fn make_group_for(&mut self, beat: &Heartbeat) -> Result<(), GroupRefusal> {
        if beat.epoch != MemberEpoch::default() || self.groups.contains_key(&beat.group) {
            return Ok(());
        }
        Membership::check(beat, &self.limits)?;
        self.check_room()?;
        self.groups.insert(beat.group.clone(), Group::after(self.floor));
        Ok(())
    }

    /// What members subscribe to is most of what is kept of them: it must not grow for ever, over all groups.
    fn check_subscription(&self, beat: &Heartbeat) -> Result<(), GroupRefusal> {
        let (before, now) = (self.subscribed(beat), beat.topics.len().max(1));
        let max = self.limits.subscriptions;
        if now <= before
            || now - before + self.groups.values().map(|group| group.members.subscriptions()).sum::<usize>() <= max
        {
            return Ok(());
        }
        Err(GroupRefusal::LimitReached { what: "subscriptions of a sixteenth of all groups", max })
    }

    fn subscribed(&self, beat: &Heartbeat) -> usize {
        self.groups.get(&beat.group).map_or(0, |group| group.members.subscriptions_of(&beat.member))
    }

    fn check_memory(&self, beat: &Heartbeat, catalog: &dyn Catalog) -> Result<(), GroupRefusal> {
        let group = self.groups.get(&beat.group);
        let joins = beat.epoch == MemberEpoch::default();
        // Who is not there and does not join is told so.
        if !joins && group.is_none_or(|group| !group.members.knows(beat)) {
            return Ok(());
        }
        self.check_growth(size::growth(group, beat, catalog))
    }

    fn check_growth(&self, bytes: usize) -> Result<(), GroupRefusal> {
        match self.room {
            Some(room) if room < bytes => Err(GroupRefusal::MemoryFull { bytes, room }),
            _ => Ok(()),
        }
    }

    /// How much more its groups take once a topic has so many partitions, at most.
    pub fn growth_by_topic(&self, name: &TopicName, partitions: u32, catalog: &dyn Catalog) -> usize {
        self.groups.values().map(|group| group.members.growth_by_topic(name, partitions, catalog)).sum()
    }

    fn check_room(&self) -> Result<(), GroupRefusal> {
        let max = self.limits.groups;
        if self.groups.len() < max { Ok(()) } else { Err(GroupRefusal::LimitReached { what: "groups", max }) }
    }

    /// Ends a membership: the member gave up everything.
    pub fn leave(&mut self, group: &GroupId, member: &MemberId) -> Step<()> {
        let answer = match self.groups.get_mut(group) {
            Some(group) => group.members.leave(member),
            None => Err(unknown_member(member)),
        };
        self.step(group, answer)
    }

    /// The member reads nothing any more; its partitions wait for its instance name.
    pub fn step_out(&mut self, group: &GroupId, member: &MemberId, at: Timestamp) -> Step<()> {
        let answer = match self.groups.get_mut(group) {
            Some(group) => group.members.step_out(member, at),
            None => Err(unknown_member(member)),
        };
        self.step(group, answer)
    }

    /// The broker has a heartbeat: until it is answered the session of its member does not end. None if the heartbeat will
    /// be refused, since the group gave its sender up before it arrived.
    pub fn begin_answer(&mut self, beat: &Heartbeat) -> Option<HeldHeartbeat> {
        let is_fenced = self.groups.get(&beat.group).is_some_and(|group| group.members.has_fenced(beat));
        (!is_fenced).then(|| self.held.begin(beat))
    }

    /// The heartbeat is answered, or its connection has ended. Unless it was refused, the member has a full session again.
    pub fn end_answer(&mut self, held: HeldHeartbeat, at: Timestamp) {
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
    pub fn expire(&mut self, id: &GroupId, at: Timestamp) -> Step<()> {
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
    pub fn topics_changed(&mut self, id: &GroupId, catalog: &dyn Catalog) -> Step<()> {
        if let Some(group) = self.groups.get_mut(id) {
            group.members.topics_changed(catalog);
        }
        self.step(id, Ok(()))
    }

    /// Groups that remember offsets in a topic.
    pub fn remembers_topic(&self, topic: TopicId) -> Vec<GroupId> {
        let remembers = self.groups.iter().filter(|(_, group)| group.offsets.topics().any(|known| known == topic));
        remembers.map(|(id, _)| id.clone()).collect()
    }

    /// The topics that groups remember offsets in.
    pub fn remembered_topics(&self) -> BTreeSet<TopicId> {
        self.groups.values().flat_map(|group| group.offsets.topics()).collect()
    }

    /// A topic's deletion was committed: what a group remembers in it means nothing any more.
    pub fn topic_deleted(&self, id: &GroupId, topic: TopicId) -> Step<()> {
        let records = self.groups.get(id).map(|group| group.offsets.forget(id, Some(topic))).unwrap_or_default();
        Step { records, ..Step::of(()) }
    }

    /// Remembers how far a group has read. Whoever fetches sees it after it was settled.
    pub fn commit_offsets(&mut self, commit: &Commit, log_ends: &LogEnds<'_>) -> Step<Vec<Part<()>>> {
        match self.check_commit(commit, log_ends) {
            Ok((answer, records)) => Step { records, ..Step::of(answer) },
            Err(refusal) => Step::refused(refusal),
        }
    }

    fn check_commit(
        &mut self,
        commit: &Commit,
        log_ends: &LogEnds<'_>,
    ) -> Result<(Vec<Part<()>>, Vec<GroupRecord>), GroupRefusal> {
        self.check_growth(size::growth_by_commit(self.groups.get(&commit.group), &commit.positions))?;
        if let Some(CommitterIdentity::Outside(committer)) = &commit.committer {
            self.committers.check_order(&commit.group, committer, commit.sequence, self.limits.committers)?;
        }
        match (self.groups.get_mut(&commit.group), &commit.committer) {
            (Some(group), _) => group.commit(commit, &self.limits, log_ends),
            (None, Some(CommitterIdentity::Member(member, _))) => Err(unknown_member(member)),
            (None, Some(CommitterIdentity::Outside(_)) | None) => {
                self.check_room()?;
                Group::after(self.floor).commit(commit, &self.limits, log_ends)
            }
        }
    }

    /// Decides where a group begins, in partitions where that is open; the answer is where it stands in all of them.
    pub fn start_positions(&mut self, wish: &StartPositions, log_ends: &LogEnds<'_>) -> Step<Vec<CommittedPosition>> {
        match self.check_start(wish, log_ends) {
            Ok((answer, records)) => Step { records, ..Step::of(answer) },
            Err(refusal) => Step::refused(refusal),
        }
    }

    fn check_start(
        &mut self,
        wish: &StartPositions,
        log_ends: &LogEnds<'_>,
    ) -> Result<(Vec<CommittedPosition>, Vec<GroupRecord>), GroupRefusal> {
        self.check_growth(size::growth_by_commit(self.groups.get(&wish.group), &wish.starts))?;
        match (self.groups.get(&wish.group), &wish.committer) {
            (Some(group), _) => group.start(wish, log_ends),
            (None, CommitterIdentity::Member(member, _)) => Err(unknown_member(member)),
            (None, CommitterIdentity::Outside(_)) => {
                self.check_room()?;
                Group::after(self.floor).start(wish, log_ends)
            }
        }
    }

    /// The positions of a group, in these partitions or in all.
    pub fn fetch_positions(
        &self,
        group: &GroupId,
        partitions: Option<&[(TopicId, PartitionId)]>,
    ) -> Vec<CommittedPosition> {
        self.groups.get(group).map(|group| group.offsets.positions(partitions)).unwrap_or_default()
    }

    /// How far a group has read: of these partitions, or of all. A group that is not there has read nothing.
    pub fn fetch_offsets(
        &self,
        group: &GroupId,
        partitions: Option<&[(TopicId, PartitionId)]>,
    ) -> Vec<CommittedOffset> {
        self.groups.get(group).map(|group| group.offsets.fetch(partitions)).unwrap_or_default()
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
    pub fn delete(&self, group: &GroupId) -> Step<()> {
        match self.find(group).and_then(|found| found.delete(group)) {
            Ok(records) => Step { records, ..Step::of(()) },
            Err(refusal) => Step::refused(refusal),
        }
    }

    /// Writes the floor once more: the last one in the log is the one that compaction keeps.
    pub fn repeat_floor(&self) -> Step<()> {
        let records = if self.floor == 0 { Vec::new() } else { vec![GroupRecord::Floor { epoch: self.floor }] };
        Step { records, ..Step::of(()) }
    }

    /// The log keeps the last floor only, so each one that is written is the highest so far.
    fn raise_floors(&self, records: &mut [GroupRecord]) {
        let mut highest = self.floor;
        for record in records {
            if let GroupRecord::Floor { epoch } = record {
                highest = highest.max(*epoch);
                *epoch = highest;
            }
        }
    }

    fn step<T>(&mut self, id: &GroupId, answer: Result<T, GroupRefusal>) -> Step<T> {
        let mut step = answer.map_or_else(Step::refused, Step::of);
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

    /// These records of a [step](Step::take_records) are in the log.
    pub fn appended(&mut self, records: Vec<GroupRecord>) {
        let mut changed: BTreeMap<GroupId, bool> = BTreeMap::new();
        for record in records {
            if let Some((group, members)) = record.concerns() {
                *changed.entry(group.clone()).or_default() |= members;
            }
            match record {
                GroupRecord::Group { group, state: Some(state) } => {
                    let floor = self.floor;
                    self.groups.entry(group).or_insert_with(|| Group::after(floor)).members.saved_group(&state);
                }
                GroupRecord::Group { group, state: None } => {
                    self.bytes -= self.groups.remove(&group).map_or(0, |gone| gone.counted);
                }
                GroupRecord::Member { group, member, .. } => {
                    self.groups.entry(group).and_modify(|group| group.members.saved_member(&member));
                }
                GroupRecord::Offset { group, slot, state } => {
                    self.groups.entry(group).and_modify(|group| group.offsets.set(slot, state));
                }
                GroupRecord::Floor { epoch } => self.floor = self.floor.max(epoch),
            }
        }
        changed.into_iter().for_each(|(group, members)| self.count(&group, members));
    }
}

impl Step<()> {
    /// Does nothing.
    pub(crate) fn nothing() -> Self {
        Self::of(())
    }
}

impl<T> Step<T> {
    fn of(answer: T) -> Self {
        Self { answer: Ok(answer), records: Vec::new(), stirred: Vec::new() }
    }

    fn refused(refusal: GroupRefusal) -> Self {
        Self { answer: Err(refusal.into()), records: Vec::new(), stirred: Vec::new() }
    }

    fn take_from(&mut self, id: &GroupId, group: &mut Group) {
        self.records.extend(group.unsaved(id));
        if group.members.take_stirred() {
            self.stirred.push(id.clone());
        }
    }

    /// Why nothing is done, if it is not.
    pub(crate) fn refusal(&self) -> Option<&Failure> {
        self.answer.as_ref().err()
    }

    /// The groups of which members that wait for an answer should [look for news](Shard::news), once this is settled.
    pub fn take_stirred(&mut self) -> Vec<GroupId> {
        std::mem::take(&mut self.stirred)
    }

    /// Takes the records that must be in the log before the answer is given, to be appended in their order. They are the
    /// next records of the shard's log. Until the shard was told what was [appended](Shard::appended), nobody else may
    /// change the groups that they are about, nor append.
    ///
    /// If they cannot be appended, the step is undone as far as anybody can see, and the error is the answer.
    pub fn take_records(&mut self, shard: &Shard) -> Vec<GroupRecord> {
        shard.raise_floors(&mut self.records);
        std::mem::take(&mut self.records)
    }

    /// The answer, for after the log is durable up to where its records end.
    pub fn into_answer(self) -> Result<T, Failure> {
        debug_assert!(self.records.is_empty(), "a step is answered that was not written down");
        self.answer
    }

    /// Appends the records and releases the answer, for those who hold the shard all the while.
    pub fn settle<E>(
        mut self,
        shard: &mut Shard,
        append: impl FnOnce(&[GroupRecord]) -> Result<(), E>,
    ) -> Result<Result<T, Failure>, E> {
        let records = self.take_records(shard);
        if !records.is_empty() {
            append(&records)?;
            shard.appended(records);
        }
        Ok(self.into_answer())
    }

    /// What must be in the log before the answer is given.
    pub fn records(&self) -> &[GroupRecord] {
        &self.records
    }
}

fn unknown_member(member: &MemberId) -> GroupRefusal {
    GroupRefusal::UnknownMember { member: member.clone() }
}
