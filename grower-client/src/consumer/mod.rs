//! Reads records: with or without a group, prefetched, verified, in order.
//!
//! The [`state::SharedSubscription`] holds the state of all partitions: the fetcher adds records, the membership adds
//! and removes partitions, and the reader takes records. Requests to brokers are made by [`tasks`], never under the
//! state's lock.

mod builder;
mod settings;
mod state;
mod tasks;

pub use builder::ConsumerBuilder;
pub use settings::{OnDamage, OnGap, RebalanceEvent, StartFrom};

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
use tasks::commit::{Committer, UncommittedOffset};
use tasks::start;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// Reads records; see [`crate::Client::consumer`]. Records of one partition come once each and in order; partitions
/// take turns. A consumer that is dropped without [`Consumer::close`] remains a member of its group until its session
/// times out.
pub struct Consumer {
    cluster: Arc<Cluster>,
    shared: Arc<SharedSubscription>,
    settings: ConsumerSettings,
    committer: Option<Arc<Committer>>,
    /// Aborted when dropped.
    tasks: JoinSet<()>,
    closed: bool,
    /// A buffer for single records, which saves an allocation for each.
    one: Vec<ConsumerRecord>,
    /// The number of records of the last poll: the next one probably has as many.
    last_polled: usize,
}

impl Consumer {
    fn new(
        cluster: Arc<Cluster>,
        shared: Arc<SharedSubscription>,
        settings: ConsumerSettings,
        committer: Option<Arc<Committer>>,
        tasks: JoinSet<()>,
    ) -> Self {
        Self { cluster, shared, settings, committer, tasks, closed: false, one: Vec::new(), last_polled: 0 }
    }

    /// Returns the next record, and waits for one. Returns `None` only after [`Consumer::close`].
    pub async fn next(&mut self) -> Option<Result<ConsumerRecord, ConsumeError>> {
        poll_fn(|context| self.poll_one(context)).await
    }

    /// Returns the next records, at most `max_poll_records` and `max_poll_bytes`. Waits for the first record for at
    /// most `wait`, then returns an empty list.
    #[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
    pub async fn poll(&mut self, wait: Duration) -> Result<Vec<ConsumerRecord>, ConsumeError> {
        if self.closed {
            return Err(ConsumeError::Closed);
        }
        let mut taken_records = Vec::with_capacity(self.last_polled);
        let ConsumerSettings { max_poll_records: records, max_poll_bytes: bytes, .. } = self.settings;
        let limits = TakeLimits { records, bytes };
        let taken = timeout(
            wait,
            poll_fn(|context| match self.shared.take(limits, Instant::now, context.waker(), &mut taken_records) {
                Ok(()) if taken_records.is_empty() => Poll::Pending,
                result => Poll::Ready(result),
            }),
        );
        match taken.await {
            Ok(result) => {
                self.last_polled = taken_records.len();
                result.map(|()| taken_records)
            }
            Err(_) => {
                self.last_polled = 0;
                Ok(Vec::new())
            }
        }
    }

    /// Commits all records handed out so far. [`ConsumeError::Commit`] names the partitions that are not committed,
    /// including those that moved to another member, which may read the same records again; all others are committed.
    pub async fn commit(&self) -> Result<(), ConsumeError> {
        if self.closed {
            return Err(ConsumeError::Closed);
        }
        self.committer()?.commit_handed_out(&self.shared).await
    }

    /// Commits the given offsets; each is the next one to read. Commits none if a partition is not assigned.
    /// [`ConsumeError::Commit`] names refused offsets; the others are committed.
    pub async fn commit_offsets(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, Offset)>,
    ) -> Result<(), ConsumeError> {
        let mut progress = Vec::new();
        for (topic_partition, offset) in offsets {
            let topic = self.shared.lock().partition(&topic_partition)?.topic;
            // The broker knows the leader epoch of an explicit offset.
            progress.push(UncommittedOffset { topic_partition, topic, offset, leader_epoch: None });
        }
        self.committer()?.commit(&self.shared, || progress).await
    }

    /// Continues at `offset`.
    pub fn seek(
        &self,
        topic: impl AsRef<str>,
        partition: impl Into<PartitionId>,
        offset: Offset,
    ) -> Result<(), ConsumeError> {
        let topic_partition = topic_partition(topic, partition)?;
        self.shared.lock().seek(&topic_partition, offset)
    }

    /// Continues, in each assigned partition, at the first record at or after `time`, or at the end if there is none.
    pub async fn seek_to_time(&self, time: Timestamp) -> Result<(), ConsumeError> {
        let topic_partitions = self.assignment();
        let lookups: Vec<_> =
            topic_partitions.iter().map(|topic_partition| (topic_partition, OffsetSpec::AtOrAfter(time))).collect();
        let found = start::look_up_offsets(&self.cluster, &lookups).await.map_err(ConsumeError::Start)?;
        let found = found.into_iter().collect::<Result<Vec<_>, _>>().map_err(ConsumeError::Start)?;
        for (topic_partition, offset) in topic_partitions.iter().zip(found) {
            drop(self.shared.lock().seek(topic_partition, offset)); // A revoked partition needs no seek.
        }
        Ok(())
    }

    /// Pauses a partition: hands out none of its records until [`Consumer::resume`]. A partition that is revoked and
    /// assigned again is no longer paused.
    pub fn pause(&self, topic: impl AsRef<str>, partition: impl Into<PartitionId>) -> Result<(), ConsumeError> {
        self.shared.lock().partition(&topic_partition(topic, partition)?)?.paused = true;
        Ok(())
    }

    /// Resumes a paused partition.
    pub fn resume(&self, topic: impl AsRef<str>, partition: impl Into<PartitionId>) -> Result<(), ConsumeError> {
        self.shared.lock().partition(&topic_partition(topic, partition)?)?.paused = false;
        Ok(())
    }

    /// Returns the assigned partitions, sorted.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        let subscription = self.shared.lock();
        subscription
            .partitions
            .iter()
            .filter(|partition| !partition.is_revoking)
            .map(|partition| partition.topic_partition.clone())
            .collect()
    }

    /// Returns the next offset to hand out; `None` if the partition is not assigned or its start is not known yet.
    pub fn position(&self, topic: impl AsRef<str>, partition: impl Into<PartitionId>) -> Option<Offset> {
        self.inspect(topic, partition, |partition| Some(partition.position().offset))
    }

    /// Returns the high watermark, the first offset that is not committed, as of the last fetch.
    pub fn high_watermark(&self, topic: impl AsRef<str>, partition: impl Into<PartitionId>) -> Option<Offset> {
        self.inspect(topic, partition, |partition| partition.high_watermark)
    }

    /// Returns the number of offsets between position and high watermark, as of the last fetch.
    pub fn lag(&self, topic: impl AsRef<str>, partition: impl Into<PartitionId>) -> Option<u64> {
        self.inspect(topic, partition, |partition| {
            partition.high_watermark.map(|end| end.since(partition.position().offset))
        })
    }

    /// Stops reading and leaves the group. With an instance name, the partitions wait for the instance until the
    /// session timeout. Commits the records handed out if automatic commits are on.
    pub async fn close(&mut self) -> Result<(), ConsumeError> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        // First, since a further heartbeat would join the group again.
        self.tasks.shutdown().await;
        let committed = match (&self.committer, self.settings.auto_commit) {
            (Some(committer), Some(_)) => {
                let progress =
                    || self.shared.lock().partitions.iter().filter_map(UncommittedOffset::handed_out).collect();
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

    fn inspect<T>(
        &self,
        topic: impl AsRef<str>,
        partition: impl Into<PartitionId>,
        inspect: impl FnOnce(&PartitionFetchState) -> Option<T>,
    ) -> Option<T> {
        let topic_partition = topic_partition(topic, partition).ok()?;
        self.shared.lock().partitions.get(&topic_partition).filter(|partition| !partition.is_starting).and_then(inspect)
    }

    #[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
    fn poll_one(&mut self, context: &Context<'_>) -> Poll<Option<Result<ConsumerRecord, ConsumeError>>> {
        if self.closed {
            return Poll::Ready(None);
        }
        let limits = TakeLimits { records: 1, bytes: usize::MAX };
        match self.shared.take(limits, Instant::now, context.waker(), &mut self.one) {
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
