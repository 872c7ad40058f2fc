//! The events of a consumer: records, and the partitions that come and go.

use super::Consumer;
use super::state::{
    AssignedPartition, EventNumber, PartitionFetchState, RevocationNotice, SharedSubscription, SubscriptionEvent,
    TakeLimits,
};
use super::tasks::commit::Committer;
use crate::error::ConsumeError;
use crate::record::{ConsumerRecord, TopicPartition};
use grower_protocol::ids::Offset;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::Instant;

/// An event of a consumer: records, or a change of its partitions; see [`Consumer::next_event`].
#[derive(Debug)]
#[non_exhaustive]
pub enum ConsumerEvent {
    /// The next records, at least one, at most `max_poll_records` and `max_poll_bytes`.
    Records(Vec<ConsumerRecord>),
    /// The consumer reads these partitions from now on. None of their records comes before the next call, so a
    /// [`Consumer::seek`] that follows this event sets where a partition begins.
    Assigned(Vec<AssignedPartition>),
    /// The group wants these partitions back. The consumer hands out none of their records any more.
    Revoking(Revoking),
    /// These partitions were taken away before the reader was done with them: the group gave this member up, or the
    /// time for their revocation passed. Their next owner reads uncommitted records again.
    Lost(Vec<TopicPartition>),
}

/// The revocation of partitions. The group waits for it, at most the
/// [`rebalance_timeout`](crate::ConsumerBuilder::rebalance_timeout).
///
/// If it is dropped without [`Revoking::done`], the partitions move once the reader has committed the records that it was
/// handed. A reader that never commits gives them up with the drop.
pub struct Revoking {
    partitions: Vec<TopicPartition>,
    shared: Arc<SharedSubscription>,
    committer: Arc<Committer>,
    number: EventNumber,
    is_done: bool,
}

impl Revoking {
    /// Returns the partitions, sorted.
    pub fn partitions(&self) -> &[TopicPartition] {
        &self.partitions
    }

    /// Commits the given offsets, each the next one to read, and gives the partitions up at once. Records of these
    /// partitions that are not committed then are read again by the next owner. After an error, and if the future is
    /// dropped, nothing is given up: the partitions move as after a drop.
    pub async fn done(
        mut self,
        offsets: impl IntoIterator<Item = (TopicPartition, Offset)>,
    ) -> Result<(), ConsumeError> {
        let (partitions, told) = (std::mem::take(&mut self.partitions), RevocationNotice::Told(self.number));
        // A partition that was lost and came back belongs to another event.
        let accepts = |partition: &PartitionFetchState| {
            partition.revocation_notice() == Some(told) || !partitions.contains(&partition.topic_partition)
        };
        self.committer.commit_offsets(&self.shared, offsets, accepts).await?;
        self.is_done = true;
        Ok(())
    }
}

impl Drop for Revoking {
    fn drop(&mut self) {
        self.shared.lock().finish_revoking(self.number, self.is_done);
    }
}

impl fmt::Debug for Revoking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Revoking").field(&self.partitions).finish()
    }
}

impl Consumer {
    /// Returns the next event, and waits for one. Returns `None` only after [`Consumer::close`]. A dropped future loses
    /// no event.
    ///
    /// Without a group, the partitions are assigned at the start, and new ones when they are found. An event names those
    /// with a known start.
    ///
    /// `next`, `poll` and the streams handle events without the caller: they begin to read a partition at once, and give
    /// a revoked one up when the reader is done with its records. If they are mixed with this method, it does not return
    /// the events that they have handled.
    ///
    /// A member whose reader handles an event for longer than `max_poll_interval` leaves its group; see
    /// [`crate::ConsumerBuilder::max_poll_interval`].
    pub async fn next_event(&mut self) -> Option<Result<ConsumerEvent, ConsumeError>> {
        self.read_beyond_ends();
        poll_fn(|context| self.poll_event(context)).await
    }

    #[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
    fn poll_event(&mut self, context: &Context<'_>) -> Poll<Option<Result<ConsumerEvent, ConsumeError>>> {
        if self.closed {
            return Poll::Ready(None);
        }
        let limits = TakeLimits { records: self.settings.max_poll_records, bytes: self.settings.max_poll_bytes };
        let mut records = Vec::new();
        match self.shared.take_with_events(limits, Instant::now, context.waker(), &mut records) {
            Ok(Some(event)) => Poll::Ready(Some(Ok(self.event(event)))),
            Ok(None) if records.is_empty() => Poll::Pending,
            Ok(None) => Poll::Ready(Some(Ok(ConsumerEvent::Records(records)))),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }

    fn event(&self, event: SubscriptionEvent) -> ConsumerEvent {
        match event {
            SubscriptionEvent::Assigned(partitions) => ConsumerEvent::Assigned(partitions),
            SubscriptionEvent::Revoking(number, partitions) => {
                let (shared, committer) = (self.shared.clone(), self.committer.clone());
                let committer = committer.expect("only a group revokes partitions");
                ConsumerEvent::Revoking(Revoking { partitions, shared, committer, number, is_done: false })
            }
            SubscriptionEvent::Lost(partitions) => ConsumerEvent::Lost(partitions),
        }
    }
}
