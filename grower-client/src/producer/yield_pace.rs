//! Makes a caller that queues many records give way to other tasks, above all to the connection that sends them.
//!
//! A task that this one wakes runs on the same thread only after this one yields. A caller that never waits would hold
//! back its own batches until its memory is full, and the answers and batches of other producers too.

use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;
use tokio::task::yield_now;

/// Callers yield after this many bytes of records.
const YIELD_EACH: usize = 256 << 10;

/// Counts the queued bytes since a caller yielded. Concurrent callers may miss a few, which is harmless.
#[derive(Debug)]
pub(super) struct YieldPace {
    queued: AtomicUsize,
    /// Held by the caller that yields. Later callers wait behind it in their order, so that none overtakes it.
    turn: Semaphore,
}

impl Default for YieldPace {
    fn default() -> Self {
        Self { queued: AtomicUsize::new(0), turn: Semaphore::new(1) }
    }
}

impl YieldPace {
    /// Counts the bytes of a record that was queued.
    pub(super) fn queued(&self, bytes: usize) {
        let before = self.queued.load(Ordering::Relaxed);
        self.queued.store(before.saturating_add(bytes), Ordering::Relaxed);
    }

    /// Yields if enough bytes were queued since. Call it before a record is queued: a future that is dropped while it
    /// yields has queued nothing. Callers pass in the order of their calls.
    pub(super) async fn keep(&self) {
        if !self.is_due() && 0 < self.turn.available_permits() {
            return;
        }
        let _turn = self.turn.acquire().await;
        if self.is_due() {
            self.queued.store(0, Ordering::Relaxed);
            yield_now().await;
        }
    }

    fn is_due(&self) -> bool {
        YIELD_EACH <= self.queued.load(Ordering::Relaxed)
    }
}
