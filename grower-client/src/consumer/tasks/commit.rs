//! Commits a group's offsets.

use super::membership::MemberIdentity;
use crate::cluster::Cluster;
use crate::consumer::state::{OffsetAndEpoch, PartitionFetchState, SharedSubscription};
use crate::deadline::Deadline;
use crate::error::{CommitError, ConnectError, ConsumeError, NotCommitted, RequestError};
use crate::random_name::random_committer;
use crate::record::TopicPartition;
use grower_protocol::ids::{CommitterId, GroupId, LeaderEpoch, Offset, TopicId};
use grower_protocol::message::{
    CommitterIdentity, ErrorCode, Failure, OffsetCommit, OffsetToCommit, Part, Request, Response,
};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

/// Commits offsets for one group, as a member or from outside.
pub(crate) struct Committer {
    cluster: Arc<Cluster>,
    group: GroupId,
    member: Option<Arc<MemberIdentity>>,
    /// The identity of a committer that is no member.
    outside: CommitterId,
    /// The sequence number of the newest commit. Locked during a commit, so that commits keep their order.
    newest: Mutex<u64>,
}

/// The offset to commit for one partition.
#[derive(Clone, Debug)]
pub(crate) struct UncommittedOffset {
    pub(crate) topic_partition: TopicPartition,
    pub(crate) topic: TopicId,
    pub(crate) offset: Offset,
    /// The leader epoch of the record before `offset`, if known.
    pub(crate) leader_epoch: Option<LeaderEpoch>,
}

impl UncommittedOffset {
    /// The position of a partition, if it is known and not committed: the start, if no record was handed out.
    pub(crate) fn handed_out(partition: &PartitionFetchState) -> Option<Self> {
        (!partition.is_starting).then(|| Self::up_to(partition, partition.position()))?
    }

    /// The consumed offset of a partition, if it is not committed.
    pub(crate) fn consumed(partition: &PartitionFetchState) -> Option<Self> {
        partition.has_progress().then(|| Self::up_to(partition, partition.consumed()?))?
    }

    /// An offset that the reader names; `None` while it reads buffered records of a deleted topic: an offset of theirs
    /// would be one of the recreated topic.
    fn explicit(partition: &PartitionFetchState, offset: Offset) -> Option<Self> {
        let (topic, topic_partition) = (partition.topic_of_position()?, partition.topic_partition.clone());
        // The broker knows the leader epoch of an explicit offset.
        Some(Self { topic_partition, topic, offset, leader_epoch: None })
    }

    /// `None` for a deleted topic: the group drops its offsets.
    fn up_to(partition: &PartitionFetchState, end: OffsetAndEpoch) -> Option<Self> {
        let OffsetAndEpoch { offset, epoch: leader_epoch } = end;
        let topic = partition.topic_of_position()?;
        let is_new = partition.committed != Some(offset);
        is_new.then(|| Self { topic_partition: partition.topic_partition.clone(), topic, offset, leader_epoch })
    }

    fn failed(&self, source: RequestError) -> NotCommitted {
        NotCommitted { topic_partition: self.topic_partition.clone(), offset: self.offset, source }
    }
}

impl Committer {
    /// Creates a committer; fails without random bytes of the operating system.
    pub(crate) fn new(
        cluster: Arc<Cluster>,
        group: GroupId,
        member: Option<Arc<MemberIdentity>>,
    ) -> Result<Self, ConsumeError> {
        let outside = random_committer().map_err(|error| no_randomness(&group, error))?;
        Ok(Self { cluster, group, member, outside, newest: Mutex::default() })
    }

    pub(crate) fn member(&self) -> Option<&Arc<MemberIdentity>> {
        self.member.as_ref()
    }

    pub(crate) fn group(&self) -> &GroupId {
        &self.group
    }

    /// Commits the positions of all partitions with a known start. If the reader has moved nowhere, the starts are all
    /// there is to commit, and they are waited for. Reports, once, the records of partitions that were taken away.
    #[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
    pub(crate) async fn commit_handed_out(&self, shared: &SharedSubscription) -> Result<(), ConsumeError> {
        let deadline = self.cluster.deadline();
        let half = deadline.part(Instant::now(), 2); // The commit needs time as well.
        half.wait(shared.until_commit_is_useful()).await;
        let progress = || shared.lock().partitions.iter().filter_map(UncommittedOffset::handed_out).collect();
        let mut failed = self.send(shared, progress, deadline).await;
        let mut lost = std::mem::take(&mut shared.lock().revoked_uncommitted);
        lost.retain(|name, _| failed.iter().all(|failed| failed.topic_partition != *name));
        failed.extend(lost.into_iter().map(|(topic_partition, offset)| not_assigned(topic_partition, offset)));
        result(failed)
    }

    /// Commits explicit offsets. The error names those of partitions that are not assigned or not accepted, or were lost
    /// and came back without the reader knowing yet: others may have read on since.
    pub(crate) async fn commit_offsets(
        &self,
        shared: &SharedSubscription,
        offsets: impl IntoIterator<Item = (TopicPartition, Offset)>,
        accepts: impl Fn(&PartitionFetchState) -> bool,
    ) -> Result<(), ConsumeError> {
        let (mut progress, mut failed) = (Vec::new(), Vec::new());
        for (topic_partition, offset) in offsets {
            let mut subscription = shared.lock();
            let is_back_untold = subscription.is_back_untold(&topic_partition);
            let partition = subscription.partitions.get(&topic_partition);
            let partition = partition.filter(|partition| !is_back_untold && accepts(partition));
            match partition.map(|partition| UncommittedOffset::explicit(partition, offset)) {
                Some(Some(explicit)) => progress.push(explicit),
                Some(None) => failed.push(of_deleted_topic(topic_partition, offset)),
                None => {
                    subscription.revoked_uncommitted.remove(&topic_partition); // It is reported now.
                    failed.push(not_assigned(topic_partition, offset));
                }
            }
        }
        failed.extend(self.send(shared, || progress, self.cluster.deadline()).await);
        result(failed)
    }

    /// Commits `progress`, computed after earlier commits, and records the result. The error names the offsets that
    /// were not committed; the others are.
    pub(crate) async fn commit(
        &self,
        shared: &SharedSubscription,
        progress: impl FnOnce() -> Vec<UncommittedOffset>,
    ) -> Result<(), ConsumeError> {
        self.commit_until(shared, progress, self.cluster.deadline()).await
    }

    /// Commits like [`Committer::commit`], until the deadline.
    pub(crate) async fn commit_until(
        &self,
        shared: &SharedSubscription,
        progress: impl FnOnce() -> Vec<UncommittedOffset>,
        deadline: Deadline,
    ) -> Result<(), ConsumeError> {
        result(self.send(shared, progress, deadline).await)
    }

    /// Returns the offsets that were not committed. Retries lost answers: a repeated commit is harmless, and the broker
    /// recognises late ones by their sequence number.
    async fn send(
        &self,
        shared: &SharedSubscription,
        progress: impl FnOnce() -> Vec<UncommittedOffset>,
        deadline: Deadline,
    ) -> Vec<NotCommitted> {
        let newest = deadline.wait(self.newest.lock()).await;
        let progress = progress();
        if progress.is_empty() {
            return Vec::new();
        }
        shared.lock().commits = true;
        let Some(mut newest) = newest else {
            let late = RequestError::NotSentInTime { after: deadline.limit() };
            return progress.iter().map(|progress| progress.failed(late.clone())).collect();
        };
        *newest += 1;
        let request = Request::CommitOffsets(OffsetCommit {
            group: self.group.clone(),
            committer: self.identity(),
            sequence: *newest,
            offsets: progress.iter().map(UncommittedOffset::to_message).collect(),
        });
        let parts = match self.cluster.ask_retrying(&request, deadline).await {
            Ok((_, Response::CommitOffsets(parts))) if parts.len() == progress.len() => Ok(parts),
            Ok((connection, other)) => Err(connection.unexpected("commit offsets", other)),
            Err(error) => Err(error),
        };
        match parts {
            Ok(parts) => settle(shared, &progress, parts),
            Err(error) => progress.iter().map(|progress| progress.failed(error.clone())).collect(),
        }
    }

    pub(crate) fn identity(&self) -> CommitterIdentity {
        match &self.member {
            Some(member) => {
                let (member, epoch) = member.identity();
                CommitterIdentity::Member(member, epoch)
            }
            None => CommitterIdentity::Outside(self.outside.clone()),
        }
    }
}

/// Records committed offsets; returns the others.
fn settle(shared: &SharedSubscription, progress: &[UncommittedOffset], parts: Vec<Part<()>>) -> Vec<NotCommitted> {
    debug_assert_eq!(progress.len(), parts.len(), "each offset has an answer");
    let mut subscription = shared.lock();
    let mut failed = Vec::new();
    for (progress, part) in progress.iter().zip(parts) {
        match part {
            Ok(()) => subscription.note_commit(&progress.topic_partition, progress.topic, progress.offset),
            Err(failure) => failed.push(progress.failed(failure.into())),
        }
    }
    failed
}

/// The error of a consumer in `group` that gets no unique name.
pub(crate) fn no_randomness(group: &GroupId, error: io::Error) -> ConsumeError {
    ConsumeError::Group { group: group.clone(), source: ConnectError::no_randomness(error).into() }
}

fn not_assigned(topic_partition: TopicPartition, offset: Offset) -> NotCommitted {
    let detail = "not assigned to this consumer: its owner reads uncommitted records again";
    NotCommitted { topic_partition, offset, source: Failure::new(ErrorCode::NotAssigned, detail).into() }
}

fn of_deleted_topic(topic_partition: TopicPartition, offset: Offset) -> NotCommitted {
    let detail = "the topic was deleted and recreated: the group drops the offsets of the old one";
    NotCommitted { topic_partition, offset, source: Failure::new(ErrorCode::NotAssigned, detail).into() }
}

fn result(failed: Vec<NotCommitted>) -> Result<(), ConsumeError> {
    if failed.is_empty() { Ok(()) } else { Err(ConsumeError::Commit(CommitError { partitions: failed })) }
}

impl UncommittedOffset {
    fn to_message(&self) -> OffsetToCommit {
        OffsetToCommit {
            topic: self.topic,
            partition: self.topic_partition.partition,
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            metadata: String::new(),
        }
    }
}

/// Commits consumed offsets at an interval.
pub(crate) async fn keep_committing(committer: Arc<Committer>, shared: Arc<SharedSubscription>, interval: Duration) {
    loop {
        sleep(interval).await;
        let progress = || shared.lock().partitions.iter().filter_map(UncommittedOffset::consumed).collect();
        if let Err(error) = committer.commit(&shared, progress).await {
            tracing::warn!(group = %committer.group(), %error, "cannot commit; trying again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::state::FetchVersion;
    use grower_protocol::ids::{PartitionId, TopicName};

    #[test]
    fn an_offset_of_a_deleted_topic_is_not_committed_for_the_recreated_one() {
        let (old, new) = (TopicId::from_random([1; 16]), TopicId::from_random([2; 16]));
        let name = TopicPartition { topic: TopicName::new("t").unwrap(), partition: PartitionId::new(0) };
        let mut partition = PartitionFetchState::new(name, old, FetchVersion::default());
        partition.move_to(OffsetAndEpoch::ZERO, FetchVersion::of_move(1));
        let topic = |partition: &_| UncommittedOffset::explicit(partition, Offset::new(1)).map(|offset| offset.topic);
        assert_eq!(topic(&partition), Some(old));
        partition.recreated_as(new);
        assert_eq!(topic(&partition), None, "the reader has not passed the gap");
        partition.take_gap().unwrap();
        assert_eq!(topic(&partition), Some(new));
    }
}
