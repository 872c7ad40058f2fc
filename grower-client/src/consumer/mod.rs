//! Reading records: alone or in a group, fetched ahead, checked, handed out in order.
//!
//! The [`subscription::SubscriptionState`] holds every partition that is read; the fetcher fills it, the membership changes it, the reader
//! takes from it. What has to be asked of brokers is asked beside it, never under its lock.

mod builder;
mod settings;
mod state;
mod tasks;

pub use builder::ConsumerBuilder;
pub use settings::{OnDamage, RebalanceEvent, StartFrom};
pub use state::{Gap, GapCause, OnGap};

use crate::cluster::Cluster;
use crate::error::ConsumeError;
use crate::record::{ConsumerRecord, TopicPartition};
use futures_core::Stream;
use grower_protocol::ids::{Offset, PartitionId, Timestamp, TopicName};
use grower_protocol::message::OffsetSpec;
use settings::ConsumerSettings;
use state::{PartitionFetchState, SharedSubscription, TakeLimits};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tasks::commit::{Committer, OffsetToCommit};
use tasks::start;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Reads records; [`crate::Client::consumer`]. Records of one partition come in order, each once; those of several
/// partitions in turns. Dropped without [`Consumer::close`] it stays a member of its group until the session times out.
pub struct Consumer {
    cluster: Arc<Cluster>,
    shared: Arc<SharedSubscription>,
    settings: ConsumerSettings,
    committer: Option<Arc<Committer>>,
    /// Aborted when dropped.
    tasks: JoinSet<()>,
    closed: bool,
    /// For single records, so that each does not allocate.
    one: Vec<ConsumerRecord>,
}

impl Consumer {
    fn new(
        cluster: Arc<Cluster>,
        shared: Arc<SharedSubscription>,
        settings: ConsumerSettings,
        committer: Option<Arc<Committer>>,
        tasks: JoinSet<()>,
    ) -> Self {
        Self { cluster, shared, settings, committer, tasks, closed: false, one: Vec::new() }
    }

    /// The next record; waits for one. `None` only after [`Consumer::close`].
    pub async fn next(&mut self) -> Option<Result<ConsumerRecord, ConsumeError>> {
        poll_fn(|context| self.poll_one(context)).await
    }

    /// The next records, at most `max_poll_records`, and no more once they keep `max_poll_bytes` in memory; waits for the
    /// first one until `timeout` and gives none then.
    pub async fn poll(&mut self, wait: Duration) -> Result<Vec<ConsumerRecord>, ConsumeError> {
        if self.closed {
            return Err(ConsumeError::Closed);
        }
        let mut taken_records = Vec::new();
        let ConsumerSettings { max_poll_records: records, max_poll_bytes: bytes, .. } = self.settings;
        let limits = TakeLimits { records, bytes };
        let taken = timeout(
            wait,
            poll_fn(|context| match self.shared.take(limits, context.waker(), &mut taken_records) {
                Ok(()) if taken_records.is_empty() => Poll::Pending,
                result => Poll::Ready(result),
            }),
        );
        match taken.await {
            Ok(result) => result.map(|()| taken_records),
            Err(_) => Ok(Vec::new()),
        }
    }

    /// Commits everything that was handed out so far: all of it is committed when this succeeds. [`ConsumeError::Commit`]
    /// names the partitions of which it is not, among them those that went to another member meanwhile, which may read the
    /// same records; the others are committed.
    pub async fn commit(&self) -> Result<(), ConsumeError> {
        if self.closed {
            return Err(ConsumeError::Closed);
        }
        self.committer()?.commit_handed_out(&self.shared).await
    }

    /// Commits these offsets: each is the next one to read. Commits none if a partition is not assigned; otherwise
    /// [`ConsumeError::Commit`] names those that were refused.
    pub async fn commit_offsets(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, Offset)>,
    ) -> Result<(), ConsumeError> {
        let mut progress = Vec::new();
        for (topic_partition, offset) in offsets {
            let topic = self.shared.lock().partition(&topic_partition)?.topic;
            // The broker knows the epoch of an offset that was chosen.
            progress.push(OffsetToCommit { topic_partition, topic, offset, leader_epoch: None });
        }
        self.committer()?.commit(&self.shared, || progress).await
    }

    /// Goes on at `offset`.
    pub fn seek(
        &self,
        topic: impl AsRef<str>,
        partition: impl Into<PartitionId>,
        offset: Offset,
    ) -> Result<(), ConsumeError> {
        let topic_partition = topic_partition(topic, partition)?;
        self.shared.lock().seek(&topic_partition, offset)?;
        self.shared.fetchable.notify_one();
        Ok(())
    }

    /// Goes on, in each assigned partition, at the first record that is not earlier than `time`; at the end if there is
    /// none.
    pub async fn seek_to_time(&self, time: Timestamp) -> Result<(), ConsumeError> {
        let topic_partitions = self.assignment();
        let lookups: Vec<_> =
            topic_partitions.iter().map(|topic_partition| (topic_partition, OffsetSpec::AtOrAfter(time))).collect();
        let found = start::look_up_offsets(&self.cluster, &lookups).await.map_err(ConsumeError::Start)?;
        let found = found.into_iter().collect::<Result<Vec<_>, _>>().map_err(ConsumeError::Start)?;
        for (topic_partition, offset) in topic_partitions.iter().zip(found) {
            drop(self.shared.lock().seek(topic_partition, offset)); // Given up meanwhile: nothing to move.
        }
        self.shared.fetchable.notify_one();
        Ok(())
    }

    /// Hands out nothing of a partition until [`Consumer::resume`].
    pub fn pause(&self, topic: impl AsRef<str>, partition: impl Into<PartitionId>) -> Result<(), ConsumeError> {
        self.shared.lock().partition(&topic_partition(topic, partition)?)?.paused = true;
        Ok(())
    }

    /// Ends [`Consumer::pause`].
    pub fn resume(&self, topic: impl AsRef<str>, partition: impl Into<PartitionId>) -> Result<(), ConsumeError> {
        self.shared.lock().partition(&topic_partition(topic, partition)?)?.paused = false;
        self.shared.fetchable.notify_one();
        Ok(())
    }

    /// The partitions being read, sorted.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        let subscription = self.shared.lock();
        subscription
            .partitions
            .values()
            .filter(|partition| !partition.is_revoking)
            .map(|partition| partition.topic_partition.clone())
            .collect()
    }

    /// The next offset to be handed out; none if the partition is not assigned or its start is not known yet.
    pub fn position(&self, topic: impl AsRef<str>, partition: impl Into<PartitionId>) -> Option<Offset> {
        self.look(topic, partition, |partition| Some(partition.position))
    }

    /// The first offset that is not committed yet, as of the last fetch.
    pub fn high_watermark(&self, topic: impl AsRef<str>, partition: impl Into<PartitionId>) -> Option<Offset> {
        self.look(topic, partition, |partition| partition.high_watermark)
    }

    /// How many offsets lie between the position and the high watermark, as of the last fetch.
    pub fn lag(&self, topic: impl AsRef<str>, partition: impl Into<PartitionId>) -> Option<u64> {
        self.look(topic, partition, |partition| partition.high_watermark.map(|end| end.since(partition.position)))
    }

    /// Stops reading and leaves the group; with an instance name its partitions wait for the session timeout. Commits what was handed out if that is automatic, and nothing otherwise.
    pub async fn close(&mut self) -> Result<(), ConsumeError> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        // First of all: a heartbeat now would join again.
        self.tasks.shutdown().await;
        let committed = match (&self.committer, self.settings.auto_commit) {
            (Some(committer), Some(_)) => {
                let progress =
                    || self.shared.lock().partitions.values().filter_map(OffsetToCommit::handed_out).collect();
                committer.commit(&self.shared, progress).await
            }
            _ => Ok(()),
        };
        if let Some(member) = self.committer.as_ref().and_then(|committer| committer.member()) {
            let group = member.group.clone();
            member.close(&self.cluster).await.map_err(|source| ConsumeError::Group { group, source })?;
        }
        self.shared.lock().retain(|_, _| false);
        committed
    }

    fn committer(&self) -> Result<&Committer, ConsumeError> {
        self.committer.as_deref().ok_or(ConsumeError::Settings("commits need a group: name one with `group`"))
    }

    fn look<T>(
        &self,
        topic: impl AsRef<str>,
        partition: impl Into<PartitionId>,
        look: impl FnOnce(&PartitionFetchState) -> Option<T>,
    ) -> Option<T> {
        let topic_partition = topic_partition(topic, partition).ok()?;
        self.shared.lock().partitions.get(&topic_partition).filter(|partition| !partition.is_starting).and_then(look)
    }

    fn poll_one(&mut self, context: &Context<'_>) -> Poll<Option<Result<ConsumerRecord, ConsumeError>>> {
        if self.closed {
            return Poll::Ready(None);
        }
        let limits = TakeLimits { records: 1, bytes: usize::MAX };
        match self.shared.take(limits, context.waker(), &mut self.one) {
            Ok(()) => self.one.pop().map_or(Poll::Pending, |record| Poll::Ready(Some(Ok(record)))),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }
}

impl Stream for Consumer {
    type Item = Result<ConsumerRecord, ConsumeError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_one(context)
    }
}

fn topic_partition(topic: impl AsRef<str>, partition: impl Into<PartitionId>) -> Result<TopicPartition, ConsumeError> {
    Ok(TopicPartition { topic: TopicName::new(topic.as_ref())?, partition: partition.into() })
}
