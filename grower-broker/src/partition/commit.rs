//! Who waits for a sync, and whether one is on its way.

use crate::api::PendingProduce;
use grower_protocol::message::{Part, Produced};
use std::sync::Arc;

/// A batch that was written and whose producer wants to hear that it is durable.
pub(crate) struct Waiter {
    pub(crate) request: Arc<PendingProduce>,
    /// Which of the request's partitions this is.
    pub(crate) index: usize,
    pub(crate) produced: Produced,
}

impl Waiter {
    /// Tells the request about its partition. Returns the request if that was the last one it waited for.
    pub(super) fn settle(self, outcome: Part<()>) -> Option<Arc<PendingProduce>> {
        let part = outcome.map(|()| self.produced);
        self.request.settle(self.index, part).then_some(self.request)
    }
}

/// The commit queue of one partition. At most one round runs at a time; what comes meanwhile joins the next.
#[derive(Default)]
pub(super) struct Commit {
    pub(super) waiters: Vec<Waiter>,
    /// Queued for a flusher, or in its hands.
    pub(super) scheduled: bool,
    /// In the timer's list, so that bytes nobody waits for are flushed as well.
    pub(super) delayed: bool,
}
