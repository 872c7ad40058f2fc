//! Makes a caller that queues many records give way to other tasks, above all to the connection that sends them.
//!
//! A runtime runs a task that this task wakes on the same thread, after it. So a caller that queues records without a
//! wait would hold back its own batches until its memory is full, and the answers and batches of other producers too.

use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::yield_now;

/// Callers yield after this many bytes of records.
const YIELD_EACH: usize = 256 << 10;

/// Counts the queued bytes since a caller yielded. Concurrent callers may miss a few, which is harmless.
#[derive(Debug, Default)]
pub(super) struct YieldPace(AtomicUsize);

impl YieldPace {
    /// Counts the bytes of a record that was queued.
    pub(super) fn queued(&self, bytes: usize) {
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before.saturating_add(bytes), Ordering::Relaxed);
    }

    /// Yields if enough bytes were queued since. Call it before a record is queued: a future that is dropped while it
    /// yields has queued nothing.
    pub(super) async fn keep(&self) {
        if YIELD_EACH <= self.0.load(Ordering::Relaxed) {
            self.0.store(0, Ordering::Relaxed);
            yield_now().await;
        }
    }
}
