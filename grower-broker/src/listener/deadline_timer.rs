//! Timeouts of a connection. Only here the listener reads a clock: that of the runtime, which its timers follow.

use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep, timeout};

/// A deadline that is moved far more often than it is reached. Setting it later costs no timer: the timer of the
/// earlier deadline is moved when it fires.
pub(super) struct DeadlineTimer {
    sleep: Pin<Box<Sleep>>,
    due: Instant,
    /// When the time stopped counting.
    paused: Option<Instant>,
}

impl DeadlineTimer {
    pub(super) fn after(delay: Duration) -> Self {
        Self { sleep: Box::pin(sleep(delay)), due: Instant::now() + delay, paused: None }
    }

    pub(super) fn set(&mut self, delay: Duration) {
        self.due = Instant::now() + delay;
        if self.due < self.sleep.deadline() {
            self.sleep.as_mut().reset(self.due);
        }
    }

    /// From now until [`DeadlineTimer::resume`] the time does not count.
    pub(super) fn pause(&mut self) {
        self.paused.get_or_insert_with(Instant::now);
    }

    /// Moves the deadline by the length of the pause.
    pub(super) fn resume(&mut self) {
        if let Some(paused) = self.paused.take() {
            self.due += paused.elapsed();
        }
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

/// Waits for a future, and returns its output and the time that it took. None if that is longer than the limit.
pub(super) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<(T, Duration)> {
    let begin = Instant::now();
    let output = timeout(limit, future).await.ok()?;
    Some((output, begin.elapsed()))
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
