//! Remembering, at the broker, how far a group has read.

use super::membership::Member;
use super::shelf::Shared;
use super::slot::Slot;
use crate::cluster::Cluster;
use crate::error::{ConsumeError, RequestError};
use crate::random_name::random_committer;
use crate::record::TopicPartition;
use grower_protocol::ids::{CommitterId, GroupId, Offset, TopicId};
use grower_protocol::message::{CommitterIdentity, Failure, PositionCommit, PositionToCommit, Request, Response};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::sleep;

/// Commits for one group, as a member of it or from outside.
pub(super) struct Committer {
    cluster: Arc<Cluster>,
    group: GroupId,
    member: Option<Arc<Member>>,
    /// Its identity if it is no member.
    outside: CommitterId,
    /// The number of the newest commit. Held while one is under way: none overtakes another.
    newest: Mutex<u64>,
}

/// What is to be committed of one partition.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    pub(super) place: TopicPartition,
    pub(super) topic: TopicId,
    pub(super) offset: Offset,
}

impl Progress {
    /// What was handed out and not committed yet.
    pub(super) fn handed_out(slot: &Slot) -> Option<Self> {
        Self::up_to(slot, slot.position)
    }

    /// What the reader is done with and was not committed yet.
    pub(super) fn consumed(slot: &Slot) -> Option<Self> {
        Self::up_to(slot, slot.consumed)
    }

    fn up_to(slot: &Slot, offset: Offset) -> Option<Self> {
        let news = slot.touched && slot.committed != Some(offset);
        news.then(|| Self { place: slot.place.clone(), topic: slot.topic, offset })
    }
}

impl Committer {
    pub(super) fn new(cluster: Arc<Cluster>, group: GroupId, member: Option<Arc<Member>>) -> Self {
        Self { cluster, group, member, outside: random_committer(), newest: Mutex::default() }
    }

    pub(super) fn member(&self) -> Option<&Arc<Member>> {
        self.member.as_ref()
    }

    pub(super) fn group(&self) -> &GroupId {
        &self.group
    }

    /// Commits `progress`, as it is once earlier commits are done, and notes it on the shelf. Asked again when an answer
    /// is lost: the same offsets may be committed twice, and the broker knows by their number those that come too late.
    /// Fails with the first part that was refused; the others are committed.
    pub(super) async fn commit(
        &self,
        shared: &Shared,
        progress: impl FnOnce() -> Vec<Progress>,
    ) -> Result<(), ConsumeError> {
        let mut newest = self.newest.lock().await;
        let progress = progress();
        if progress.is_empty() {
            return Ok(());
        }
        *newest += 1;
        let request = Request::CommitPositions(PositionCommit {
            group: self.group.clone(),
            committer: self.identity(),
            sequence: *newest,
            positions: progress.iter().map(Progress::to_message).collect(),
        });
        let parts = match self.cluster.ask_again(&request).await.map_err(ConsumeError::Commit)? {
            (_, Response::CommitOffsets(parts)) if parts.len() == progress.len() => parts,
            (link, other) => return Err(ConsumeError::Commit(link.refusal("commit offsets", other))),
        };
        let mut result = Ok(());
        for (progress, part) in progress.into_iter().zip(parts) {
            match part {
                Ok(()) => note(shared, &progress),
                Err(failure) => result = result.and(Err(refused(&progress, failure))),
            }
        }
        result
    }

    fn identity(&self) -> CommitterIdentity {
        match &self.member {
            Some(member) => {
                let (member, epoch) = member.identity();
                CommitterIdentity::Member(member, epoch)
            }
            None => CommitterIdentity::Outside(self.outside.clone()),
        }
    }
}

fn note(shared: &Shared, progress: &Progress) {
    if let Ok(slot) = shared.lock().slot(&progress.place) {
        slot.committed = Some(progress.offset);
    }
}

fn refused(progress: &Progress, failure: Failure) -> ConsumeError {
    let detail = format_args!("{} at {}: {}", progress.place, progress.offset, failure.detail);
    ConsumeError::Commit(RequestError::Failed(Failure::new(failure.code, detail)))
}

impl Progress {
    fn to_message(&self) -> PositionToCommit {
        let Self { place, topic, offset } = self;
        PositionToCommit { topic: *topic, partition: place.partition, offset: *offset, metadata: String::new() }
    }
}

/// Commits what the reader is done with, again and again.
pub(super) async fn keep_committing(committer: Arc<Committer>, shared: Arc<Shared>, interval: Duration) {
    loop {
        sleep(interval).await;
        let progress = || shared.lock().slots.values().filter_map(Progress::consumed).collect();
        if let Err(error) = committer.commit(&shared, progress).await {
            tracing::warn!(group = %committer.group(), %error, "cannot commit; trying again");
        }
    }
}
