//! Ends a producer together with the runtime of its background tasks: without them no record would meet its deadline.

use super::engine::ProducerEngine;
use crate::error::ProduceError;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Ends the producer when the task of its timer is dropped early: its runtime ended, or the task panicked.
struct TimerGuard(Arc<ProducerEngine>);

impl Drop for TimerGuard {
    fn drop(&mut self) {
        if !self.0.is_closed() {
            self.0.runtime_ended.store(true, Ordering::Release); // First: a caller that finds it closed asks why.
            self.0.abandon();
        }
    }
}

impl ProducerEngine {
    pub(super) fn spawn_timer(self: &Arc<Self>) {
        let guard = TimerGuard(self.clone());
        self.runtime.spawn(async move { guard.0.run_timer().await });
    }

    /// The error of a record that comes too late.
    pub(super) fn closed_error(&self) -> ProduceError {
        if self.runtime_ended.load(Ordering::Acquire) {
            return ProduceError::RuntimeEnded;
        }
        self.identities.as_ref().and_then(|identities| identities.lost(false)).unwrap_or(ProduceError::Closed)
    }
}
