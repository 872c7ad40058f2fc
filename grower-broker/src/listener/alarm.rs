//! A deadline that is moved far more often than it is reached.

use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// Rings when what was set last is due. Setting it later costs no timer: it looks again when the earlier one rings.
pub(super) struct Alarm {
    sleep: Pin<Box<Sleep>>,
    due: Instant,
}

impl Alarm {
    pub(super) fn after(delay: Duration) -> Self {
        Self { sleep: Box::pin(sleep(delay)), due: Instant::now() + delay }
    }

    pub(super) fn set(&mut self, delay: Duration) {
        self.due = Instant::now() + delay;
        if self.due < self.sleep.deadline() {
            self.sleep.as_mut().reset(self.due);
        }
    }

    /// Some time does not count.
    pub(super) fn postpone(&mut self, by: Duration) {
        self.due += by;
    }

    /// Returns when it is due. May be given up and waited for again.
    pub(super) async fn rings(&mut self) {
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
    async fn it_rings_when_what_was_set_last_is_due() {
        let start = Instant::now();
        let mut alarm = Alarm::after(Duration::from_secs(5));
        alarm.set(Duration::from_secs(9));
        alarm.set(Duration::from_secs(7));
        alarm.rings().await;
        assert_eq!(start.elapsed(), Duration::from_secs(7));
        alarm.set(Duration::from_secs(1));
        alarm.rings().await;
        assert_eq!(start.elapsed(), Duration::from_secs(8));
    }
}
