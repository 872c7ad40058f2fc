//! What waits for a partition's marks, and how it learns that they moved.

use crate::replica::Mark;
use grower_protocol::message::{Durability, Failure, Part};
use std::sync::Arc;
use tokio::sync::oneshot;

/// A request whose answer waits until some partitions have committed its records.
pub(crate) trait PendingAcks: Send + Sync {
    /// Takes the outcome of one of its parts. If that was the last, the answer is gathered with others of its connection,
    /// and the one that the caller has to send them with is returned, unless another caller has to.
    fn settle(self: Arc<Self>, part: usize, outcome: Part<Durability>) -> Option<Arc<dyn SendGathered>>;
}

/// Sends the answers that were gathered for one connection, in one write.
pub(crate) trait SendGathered: Send + Sync {
    /// Sends them; none are left when this returns.
    fn send_gathered(&self);
}

/// A request, or a part of the broker, that waits for a mark.
pub(crate) enum CommitWaiter {
    /// A producer's request, for one of its parts.
    Request {
        /// The request.
        request: Arc<dyn PendingAcks>,
        /// Which of its parts waits for this partition.
        part: usize,
    },
    /// A part of the broker that needs the records to be durable.
    Internal(oneshot::Sender<Part<()>>),
}

impl CommitWaiter {
    /// The mark that has to reach its offset.
    pub(super) fn mark(&self) -> Mark {
        match self {
            Self::Request { .. } => Mark::HighWatermark,
            Self::Internal(_) => Mark::Durable,
        }
    }

    fn settle(self, outcome: Part<Durability>) -> Option<Arc<dyn SendGathered>> {
        match self {
            Self::Request { request, part } => request.settle(part, outcome),
            Self::Internal(waiting) => {
                let _ = waiting.send(outcome.map(drop)); // One that stopped waiting need not know.
                None
            }
        }
    }
}

/// Tells waiters how durable their records are. Not under a lock: answers are written to sockets.
pub(super) fn acknowledge(waiters: Vec<(CommitWaiter, Durability)>) {
    settle_all(waiters.into_iter().map(|(waiter, durability)| (waiter, Ok(durability))));
}

/// Tells waiters that their records are not known to be committed.
pub(super) fn refuse(waiters: Vec<CommitWaiter>, failure: &Failure) {
    settle_all(waiters.into_iter().map(|waiter| (waiter, Err(failure.clone()))));
}

fn settle_all(outcomes: impl Iterator<Item = (CommitWaiter, Part<Durability>)>) {
    let mut senders = Vec::new();
    outcomes.for_each(|(waiter, outcome)| senders.extend(waiter.settle(outcome)));
    senders.iter().for_each(|sender| sender.send_gathered());
}
