//! The time limit of one call, which all its steps share.
//!
//! A public call creates its deadline once. Lookups, dials, waits and requests take it, so their time limits never add
//! up.

use std::future::Future;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The limit in place of one that is too large for the clock.
const FAR: Duration = Duration::from_secs(86_400 * 365);

/// The time by which a call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline {
    end: Instant,
    /// The time limit that the caller knows; errors name it.
    limit: Duration,
}

impl Deadline {
    /// The deadline of a call that starts now and may take `limit`.
    #[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
    pub(crate) fn after(limit: Duration) -> Self {
        Self::of(Instant::now(), limit)
    }

    /// The deadline of a call that started at `start` and may take `limit`.
    pub(crate) fn of(start: Instant, limit: Duration) -> Self {
        Self { end: start.checked_add(limit).unwrap_or_else(|| start + FAR), limit }
    }

    /// The deadline at `end` of a call that may take `limit`.
    pub(crate) fn ending(end: Instant, limit: Duration) -> Self {
        Self { end, limit }
    }

    pub(crate) fn end(self) -> Instant {
        self.end
    }

    pub(crate) fn limit(self) -> Duration {
        self.limit
    }

    /// The start of the call; `None` before the clock's first time.
    pub(crate) fn start(self) -> Option<Instant> {
        self.end.checked_sub(self.limit)
    }

    /// The deadline of one step if `steps` are left to try: each gets an equal part of the time left.
    pub(crate) fn part(self, now: Instant, steps: usize) -> Self {
        let left = self.end.saturating_duration_since(now);
        let steps = u32::try_from(steps.max(1)).unwrap_or(u32::MAX);
        Self { end: self.end.min(now + left / steps), ..self }
    }

    /// Waits for `work`; returns `None` if it is not done by the deadline.
    pub(crate) async fn wait<T>(self, work: impl Future<Output = T>) -> Option<T> {
        timeout_at(self.end, work).await.ok()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test is the shell of what it tests")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn steps_share_the_time_that_is_left() {
        let start = Instant::now();
        let deadline = Deadline::of(start, SECOND * 6);
        assert_eq!(deadline.part(start, 3).end(), start + SECOND * 2);
        assert_eq!(deadline.part(start + SECOND * 4, 2).end(), start + SECOND * 5);
        assert_eq!(deadline.part(start + SECOND * 4, 1), deadline);
        assert_eq!(deadline.part(start + SECOND * 9, 2), deadline, "no time is left");
    }

    #[test]
    fn the_longest_limit_is_far_away() {
        let start = Instant::now();
        assert!(start + SECOND * 86_400 < Deadline::of(start, Duration::MAX).end());
    }
}
