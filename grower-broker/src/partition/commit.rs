//! Who waits for a sync, and whether one is on its way.

use crate::api::PendingProduce;
use grower_protocol::message::{Part, Produced};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

/// Somebody who waits until what was written before is durable.
pub(crate) enum Waiter {
    /// A producer's request, for one of its partitions.
    Produce {
        /// The request.
        request: Arc<PendingProduce>,
        /// Which of the request's partitions this is.
        index: usize,
        /// What the producer will be told.
        produced: Produced,
    },
    /// A part of the broker that waits by itself.
    Internal(oneshot::Sender<Part<()>>),
}

impl Waiter {
    /// Tells the outcome. Returns the producer's request if that was the last partition it waited for.
    pub(super) fn settle(self, outcome: Part<()>) -> Option<Arc<PendingProduce>> {
        match self {
            Self::Produce { request, index, produced } => {
                let last = request.settle(index, outcome.map(|()| produced));
                last.then_some(request)
            }
            Self::Internal(waiting) => {
                let _ = waiting.send(outcome); // Who stopped waiting need not know.
                None
            }
        }
    }
}

/// The commit queue of one partition. At most one round runs at a time; what comes meanwhile joins the next.
#[derive(Default)]
pub(super) struct Commit {
    pub(super) waiters: Vec<Waiter>,
    /// Queued for a flusher, or in its hands.
    pub(super) scheduled: bool,
    /// When the last round ended.
    pub(super) last_sync: Option<Instant>,
    /// Will write down its durable end when it has been quiet.
    pub(super) watched: bool,
    /// In the timer's list, so that bytes nobody waits for are flushed as well.
    pub(super) delayed: bool,
}
