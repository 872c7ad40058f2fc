//! A deadline that is moved far more often than it is reached.

use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// Rings when what was set last is due. Setting it later costs no timer: it looks again when the earlier one reached.
pub(super) struct DeadlineTimer {
    sleep: Pin<Box<Sleep>>,
    due: Instant,
}

impl DeadlineTimer {
    pub(super) fn after(delay: Duration) -> Self {
        Self { sleep: Box::pin(sleep(delay)), due: Instant::now() + delay }
    }

    pub(super) fn set(&mut self, delay: Duration) {
        self.due = Instant::now() + delay;
        if self.due < self.sleep.deadline() {
            self.sleep.as_mut().reset(self.due);
        }
    }

    /// Moves the deadline: this time does not count.
    pub(super) fn postpone(&mut self, by: Duration) {
        self.due += by;
    }

    /// Returns at the deadline. Cancel safe.
    pub(super) async fn reached(&mut self) {
        loop {
            self.sleep.as_mut().await;
            if self.due <= Instant::now() {
                return;
            }
            self.sleep.as_mut().reset(self.due);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_deadline_that_was_set_last_counts() {
        let start = Instant::now();
        let mut deadline_timer = DeadlineTimer::after(Duration::from_secs(5));
        deadline_timer.set(Duration::from_secs(9));
        deadline_timer.set(Duration::from_secs(7));
        deadline_timer.reached().await;
        assert_eq!(start.elapsed(), Duration::from_secs(7));
        deadline_timer.set(Duration::from_secs(1));
        deadline_timer.reached().await;
        assert_eq!(start.elapsed(), Duration::from_secs(8));
    }
}
