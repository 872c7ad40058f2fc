//! Waiters for a partition's marks, and how they learn that a mark has reached their offset.

use crate::replica::WaitedMark;
use grower_protocol::message::{Durability, Failure, Part};
use std::sync::Arc;
use tokio::sync::oneshot;

/// A request whose answer waits until some partitions have committed its records.
pub(crate) trait PendingCommit: Send + Sync {
    /// Takes the outcome of one of its parts. The last part completes the answer, which is gathered with others of its
    /// connection. Returns their sender if it is up to the caller to send them.
    fn settle(self: Arc<Self>, part: usize, outcome: Part<Durability>) -> Option<Arc<dyn SendGathered>>;
}

/// Sends the answers that were gathered for one connection, in one write.
pub(crate) trait SendGathered: Send + Sync {
    /// Sends all gathered answers.
    fn send_gathered(&self);
}

/// A request, or a task of the broker, that waits for a mark.
pub(crate) enum CommitWaiter {
    /// A producer's request, which waits with one of its parts.
    Request {
        /// The request.
        request: Arc<dyn PendingCommit>,
        /// The part that waits for this partition.
        part: usize,
    },
    /// A task of the broker that needs durable records.
    Internal(oneshot::Sender<Part<()>>),
}

impl CommitWaiter {
    /// The mark that has to reach its offset.
    pub(super) fn mark(&self) -> WaitedMark {
        match self {
            Self::Request { .. } => WaitedMark::HighWatermark,
            Self::Internal(_) => WaitedMark::Durable,
        }
    }

    fn settle(self, outcome: Part<Durability>) -> Option<Arc<dyn SendGathered>> {
        match self {
            Self::Request { request, part } => request.settle(part, outcome),
            Self::Internal(waiting) => {
                let _ = waiting.send(outcome.map(drop)); // It may have stopped waiting.
                None
            }
        }
    }
}

/// Acknowledges the records of waiters. Not under a lock: answers are written to sockets.
pub(super) fn acknowledge(waiters: Vec<(CommitWaiter, Durability)>) {
    settle_all(waiters.into_iter().map(|(waiter, durability)| (waiter, Ok(durability))));
}

/// Tells waiters that their records may not be committed.
pub(super) fn refuse(waiters: Vec<CommitWaiter>, failure: &Failure) {
    settle_all(waiters.into_iter().map(|waiter| (waiter, Err(failure.clone()))));
}

fn settle_all(outcomes: impl Iterator<Item = (CommitWaiter, Part<Durability>)>) {
    let mut senders = Vec::new();
    outcomes.for_each(|(waiter, outcome)| senders.extend(waiter.settle(outcome)));
    senders.iter().for_each(|sender| sender.send_gathered());
}
