//! The end of a soak, as its loads see it.

use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// Ends all loads; also when it is dropped.
#[derive(Default)]
pub(super) struct Stopper(watch::Sender<bool>);

impl Stopper {
    pub(super) fn stop(&self) -> Stop {
        Stop(self.0.subscribe())
    }

    pub(super) fn stop_all(&self) {
        self.0.send_replace(true);
    }
}

/// Says when it is over.
#[derive(Clone)]
pub(super) struct Stop(watch::Receiver<bool>);

impl Stop {
    pub(super) fn has_come(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits so long, or until it is over; true while it is not.
    pub(super) async fn sleep(&mut self, duration: Duration) -> bool {
        // Elapsed, or told, or nobody is left to tell: the state says which.
        let _ = timeout(duration, self.0.wait_for(|stopped| *stopped)).await.is_ok();
        !self.has_come()
    }
    /// Waits until it is over.
    pub(super) async fn come(&mut self) {
        // Also over when nobody is left to tell.
        let _ = self.0.wait_for(|stopped| *stopped).await.is_ok();
    }
}
