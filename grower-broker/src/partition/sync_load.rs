//! Counts the requests that wait for syncs, over all partitions.

use crate::replica::{BegunRound, EndedRound};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Tells whether a request is alone, and whether producers wait for the disk.
#[derive(Debug, Default)]
pub(super) struct SyncLoad {
    /// Requests that wait for a round to begin.
    waiting: AtomicUsize,
    /// Waiters of the last round with any: more than one means that sharing syncs pays.
    last_round: AtomicUsize,
}

impl SyncLoad {
    /// A waiter is about to be added to a commit queue.
    pub(super) fn waiter_added(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn round_began(&self, begun: BegunRound) {
        self.subtract(begun.waiting_before);
        if 0 < begun.waiters {
            self.last_round.store(begun.waiters, Ordering::Relaxed);
        }
    }

    pub(super) fn round_ended(&self, ended: EndedRound) {
        match ended.waiting_before.checked_sub(ended.unsynced) {
            Some(fewer) => self.subtract(fewer),
            None => drop(self.waiting.fetch_add(ended.unsynced - ended.waiting_before, Ordering::Relaxed)),
        }
    }

    pub(super) fn has_waiting(&self) -> bool {
        0 < self.waiting.load(Ordering::Relaxed)
    }

    /// Whether one request waits, and the last round had one at most.
    pub(super) fn is_one_request(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 1 && self.last_round.load(Ordering::Relaxed) <= 1
    }

    fn subtract(&self, requests: usize) {
        if 0 < requests {
            let before = self.waiting.fetch_sub(requests, Ordering::Relaxed);
            debug_assert!(requests <= before, "{requests} requests of {before} wait no more");
        }
    }
}
