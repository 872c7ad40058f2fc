//! Requests about offsets: how far groups have read, and where they begin.

use super::{GroupShard, unknown_member};
use crate::group::state::commit::GroupCommit;
use crate::group::state::decision::GroupDecision;
use crate::group::state::group::Group;
use crate::group::state::offsets::LogEnds;
use crate::group::state::record::GroupRecord;
use crate::group::state::{GroupRefusal, size};
use grower_protocol::ids::{GroupId, PartitionId, TopicId};
use grower_protocol::message::{CommittedOffset, CommittedPosition, CommitterIdentity, Part, StartPositions};
use std::collections::BTreeSet;

impl GroupShard {
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
    pub fn topic_deleted(&self, id: &GroupId, topic: TopicId) -> GroupDecision<()> {
        let records = self.groups.get(id).map(|group| group.offsets.forget(id, Some(topic))).unwrap_or_default();
        GroupDecision::writing((), records)
    }

    /// Remembers how far a group has read. Whoever fetches sees it after it was settled.
    pub fn commit_offsets(&mut self, commit: &GroupCommit, log_ends: &LogEnds<'_>) -> GroupDecision<Vec<Part<()>>> {
        match self.check_commit(commit, log_ends) {
            Ok((answer, records)) => GroupDecision::writing(answer, records),
            Err(refusal) => GroupDecision::refused(refusal),
        }
    }

    fn check_commit(
        &mut self,
        commit: &GroupCommit,
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
                self.check_group_limit()?;
                Group::after(self.minimum_epoch).commit(commit, &self.limits, log_ends)
            }
        }
    }

    /// Decides where a group begins, in partitions where that is open; the answer is where it stands in all of them.
    pub fn start_positions(
        &mut self,
        wish: &StartPositions,
        log_ends: &LogEnds<'_>,
    ) -> GroupDecision<Vec<CommittedPosition>> {
        match self.check_start(wish, log_ends) {
            Ok((answer, records)) => GroupDecision::writing(answer, records),
            Err(refusal) => GroupDecision::refused(refusal),
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
                self.check_group_limit()?;
                Group::after(self.minimum_epoch).start(wish, log_ends)
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
}
