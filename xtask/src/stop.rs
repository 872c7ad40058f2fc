//! Stops the loads of a soak and the processes of a stall rig.

use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// Stops all loads, also when it is dropped.
#[derive(Default)]
pub(crate) struct Stopper(watch::Sender<bool>);

impl Stopper {
    pub(crate) fn subscribe(&self) -> Stop {
        Stop(self.0.subscribe())
    }

    pub(crate) fn stop_all(&self) {
        self.0.send_replace(true);
    }
}

/// Tells a load when to stop.
#[derive(Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    pub(crate) fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits for a duration, or until the stop. Returns false once stopped.
    pub(crate) async fn sleep(&mut self, duration: Duration) -> bool {
        // The state says whether the wait timed out, or the loads stop.
        let _ = timeout(duration, self.0.wait_for(|stopped| *stopped)).await.is_ok();
        !self.is_requested()
    }
    /// Waits for the stop.
    pub(crate) async fn wait(&mut self) {
        // A dropped stopper is a stop, too.
        let _ = self.0.wait_for(|stopped| *stopped).await.is_ok();
    }
}
