//! One deadline timer for all queues of a producer.

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Expires at the earliest deadline that was set.
#[derive(Debug, Default)]
pub(super) struct ProducerTimer {
    due: Mutex<Option<Instant>>,
    changed: Notify,
}

impl ProducerTimer {
    /// Makes the timer expire at `when` at the latest.
    pub(super) fn set(&self, when: Instant) {
        let mut due = self.due.lock();
        if due.is_none_or(|due| when < due) {
            *due = Some(when);
            self.changed.notify_one();
        }
    }

    /// Waits until the timer expires, and clears it.
    pub(super) async fn expired(&self) {
        loop {
            let due = *self.due.lock();
            let Some(due) = due else {
                self.changed.notified().await;
                continue;
            };
            tokio::select! {
                () = sleep_until(due) => {
                    *self.due.lock() = None;
                    return;
                }
                () = self.changed.notified() => {}
            }
        }
    }
}
