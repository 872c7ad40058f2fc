//! One timer for all queues of a producer.

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Rings at the earliest time anybody asked for.
#[derive(Debug, Default)]
pub(super) struct ProducerTimer {
    due: Mutex<Option<Instant>>,
    changed: Notify,
}

impl ProducerTimer {
    /// Rings at `when`, or before.
    pub(super) fn set(&self, when: Instant) {
        let mut due = self.due.lock();
        if due.is_none_or(|due| when < due) {
            *due = Some(when);
            self.changed.notify_one();
        }
    }

    /// Waits until it rings, and forgets what it was set to.
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
