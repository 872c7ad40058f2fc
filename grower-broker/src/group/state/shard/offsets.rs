//! Requests about offsets: commits, start offsets and fetches.

use super::{GroupShard, unknown_member};
use crate::group::state::decision::GroupDecision;
use crate::group::state::group::Group;
use crate::group::state::offsets::LogEnds;
use crate::group::state::record::GroupRecord;
use crate::group::state::{GroupRefusal, size};
use grower_protocol::ids::{GroupId, PartitionId, TopicId};
use grower_protocol::message::{CommittedOffset, CommitterIdentity, OffsetCommit, Part, StartOffsets};
use std::collections::BTreeSet;

impl GroupShard {
    /// Groups with offsets in a topic.
    pub fn groups_with_offsets_in(&self, topic: TopicId) -> Vec<GroupId> {
        let remembers = self.groups.iter().filter(|(_, group)| group.offsets.topics().any(|known| known == topic));
        remembers.map(|(id, _)| id.clone()).collect()
    }

    /// Topics in which groups have offsets.
    pub fn topics_with_offsets(&self) -> BTreeSet<TopicId> {
        self.groups.values().flat_map(|group| group.offsets.topics()).collect()
    }

    /// Deletes a group's offsets in a topic whose deletion was committed.
    pub fn topic_deleted(&self, id: &GroupId, topic: TopicId) -> GroupDecision<()> {
        let records = self.groups.get(id).map(|group| group.offsets.forget(id, Some(topic))).unwrap_or_default();
        GroupDecision::writing((), records)
    }

    /// Commits offsets. A fetch sees them once they are in the log.
    pub fn commit_offsets(&mut self, commit: &OffsetCommit, log_ends: &LogEnds<'_>) -> GroupDecision<Vec<Part<()>>> {
        match self.check_commit(commit, log_ends) {
            Ok((answer, records)) => GroupDecision::writing(answer, records),
            Err(refusal) => GroupDecision::refused(refusal),
        }
    }

    fn check_commit(
        &mut self,
        commit: &OffsetCommit,
        log_ends: &LogEnds<'_>,
    ) -> Result<(Vec<Part<()>>, Vec<GroupRecord>), GroupRefusal> {
        self.check_growth(size::growth_by_commit(self.groups.get(&commit.group), &commit.offsets))?;
        if let CommitterIdentity::Outside(committer) = &commit.committer {
            self.committers.check_order(&commit.group, committer, commit.sequence, self.limits.committers)?;
        }
        match (self.groups.get_mut(&commit.group), &commit.committer) {
            (Some(group), _) => group.commit(commit, &self.limits, log_ends),
            (None, CommitterIdentity::Member(member, _)) => Err(unknown_member(member)),
            (None, CommitterIdentity::Outside(_) | CommitterIdentity::Anonymous) => {
                self.check_group_limit()?;
                Group::starting_above(self.minimum_epoch).commit(commit, &self.limits, log_ends)
            }
        }
    }

    /// Decides start offsets for partitions without one. The answer has the offsets of all requested partitions.
    pub fn start_offsets(
        &mut self,
        request: &StartOffsets,
        log_ends: &LogEnds<'_>,
    ) -> GroupDecision<Vec<CommittedOffset>> {
        match self.check_start(request, log_ends) {
            Ok((answer, records)) => GroupDecision::writing(answer, records),
            Err(refusal) => GroupDecision::refused(refusal),
        }
    }

    fn check_start(
        &mut self,
        request: &StartOffsets,
        log_ends: &LogEnds<'_>,
    ) -> Result<(Vec<CommittedOffset>, Vec<GroupRecord>), GroupRefusal> {
        self.check_growth(size::growth_by_commit(self.groups.get(&request.group), &request.starts))?;
        match (self.groups.get(&request.group), &request.committer) {
            (Some(group), _) => group.start(request, log_ends),
            (None, CommitterIdentity::Member(member, _)) => Err(unknown_member(member)),
            (None, CommitterIdentity::Outside(_) | CommitterIdentity::Anonymous) => {
                self.check_group_limit()?;
                Group::starting_above(self.minimum_epoch).start(request, log_ends)
            }
        }
    }

    /// Committed offsets of a group in these partitions, or in all. An unknown group has none.
    pub fn fetch_offsets(
        &self,
        group: &GroupId,
        partitions: Option<&[(TopicId, PartitionId)]>,
    ) -> Vec<CommittedOffset> {
        self.groups.get(group).map(|group| group.offsets.fetch(partitions)).unwrap_or_default()
    }
}
