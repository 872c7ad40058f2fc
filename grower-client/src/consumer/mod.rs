//! Reads records: with or without a group, prefetched, verified, in order.
//!
//! The [`state::SharedSubscription`] holds the state of all partitions: the fetcher adds records, the membership adds
//! and removes partitions, and the reader takes records. Requests to brokers are made by [`tasks`], never under the
//! state's lock.

mod builder;
mod close;
mod event;
mod positions;
mod read_to_end;
mod settings;
mod state;
mod statistics;
mod tasks;

pub use builder::ConsumerBuilder;
pub use event::{ConsumerEvent, Revoking};
pub use read_to_end::ReadToEnd;
pub use settings::{OnDamage, OnGap, RebalanceEvent, StartFrom};
pub use state::AssignedPartition;
pub use statistics::ConsumerStatistics;

use crate::cluster::Cluster;
use crate::error::ConsumeError;
use crate::record::{ConsumerRecord, TopicPartition};
use futures_core::Stream;
use grower_protocol::ids::{Offset, PartitionId};
use settings::ConsumerSettings;
use state::{SharedSubscription, TakeLimits};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tasks::commit::Committer;
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
    /// A close has begun: nothing is read any more.
    closed: bool,
    /// The result of the first close that ended.
    close_result: Option<Result<(), ConsumeError>>,
    /// The last call read up to an end; others do not stop there.
    reads_to_end: bool,
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
        Self {
            cluster,
            shared,
            settings,
            committer,
            tasks,
            closed: false,
            close_result: None,
            reads_to_end: false,
            one: Vec::new(),
            last_polled: 0,
        }
    }

    /// Returns the next record, and waits for one. Returns `None` only after [`Consumer::close`].
    pub async fn next(&mut self) -> Option<Result<ConsumerRecord, ConsumeError>> {
        self.read_beyond_ends();
        poll_fn(|context| self.poll_one(context)).await
    }

    /// Returns the next records, at most `max_poll_records` and `max_poll_bytes`. Waits for the first record for at
    /// most `wait`, then returns an empty list.
    #[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
    pub async fn poll(&mut self, wait: Duration) -> Result<Vec<ConsumerRecord>, ConsumeError> {
        if self.closed {
            return Err(ConsumeError::Closed);
        }
        self.read_beyond_ends();
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

    /// Commits all records handed out so far; a partition without any commits its start, if it is known. A consumer that
    /// was handed none waits for the starts, at most half the request timeout. [`ConsumeError::Commit`] names
    /// the partitions that are not committed, including those that were taken away and whose next owner reads the same
    /// records again ([`ErrorCode::NotAssigned`](crate::ErrorCode::NotAssigned)); all others are committed.
    pub async fn commit(&self) -> Result<(), ConsumeError> {
        if self.closed {
            return Err(ConsumeError::Closed);
        }
        self.committer()?.commit_handed_out(&self.shared).await
    }

    /// Commits the given offsets; each is the next one to read. [`ConsumeError::Commit`] names refused offsets and
    /// those of partitions that are not assigned, or were lost and came back without the reader knowing yet; the others
    /// are committed.
    pub async fn commit_offsets(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, Offset)>,
    ) -> Result<(), ConsumeError> {
        self.committer()?.commit_offsets(&self.shared, offsets, |_| true).await
    }

    /// Pauses a partition: hands out none of its records until [`Consumer::resume`]. A partition that is revoked and
    /// assigned again is no longer paused.
    pub fn pause(&self, topic: impl AsRef<str>, partition: impl Into<PartitionId>) -> Result<(), ConsumeError> {
        self.set_paused(topic, partition, true)
    }

    /// Resumes a paused partition.
    pub fn resume(&self, topic: impl AsRef<str>, partition: impl Into<PartitionId>) -> Result<(), ConsumeError> {
        self.set_paused(topic, partition, false)
    }

    fn set_paused(
        &self,
        topic: impl AsRef<str>,
        partition: impl Into<PartitionId>,
        paused: bool,
    ) -> Result<(), ConsumeError> {
        let topic_partition = TopicPartition::new(topic, partition)?;
        self.shared.lock().change_for_reader(&topic_partition, |partition| partition.paused = paused)
    }

    /// Returns the assigned partitions, sorted.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        let subscription = self.shared.lock();
        subscription
            .partitions
            .iter()
            .filter(|partition| !partition.is_revoking())
            .map(|partition| partition.topic_partition.clone())
            .collect()
    }

    fn committer(&self) -> Result<&Committer, ConsumeError> {
        self.committer.as_deref().ok_or(ConsumeError::Settings("commits need a group: name one with `group`"))
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
        self.read_beyond_ends();
        self.poll_one(context)
    }
}
