//! Computes the deadlines of records, from the call to the acknowledgement. Pure: time comes in as an argument.
//!
//! Deadlines are rounded up, so that the records of many calls share one: a batch keeps an entry for each deadline, and
//! the timer expires once for all partitions.

use crate::deadline::Deadline;
use std::time::Duration;
use tokio::time::Instant;

/// A deadline is rounded up by at most this time, and by at most 1/16 of a shorter limit.
const GRAIN_MAX: Duration = Duration::from_millis(50);
const GRAIN_MIN: Duration = Duration::from_millis(1);

/// A longer limit counts as this one, which no process outlives.
const LIMIT_MAX: Duration = Duration::from_secs(3600 * 24 * 365 * 30);

/// Computes the deadlines of one producer.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeadlineGrid {
    /// The time from which rounding counts.
    start: Instant,
}

impl DeadlineGrid {
    pub(super) fn starting_at(start: Instant) -> Self {
        Self { start }
    }

    /// Returns the deadline of a record that a call hands in at `now`.
    pub(super) fn deadline(&self, now: Instant, limit: Duration) -> Deadline {
        let grain = (limit / 16).clamp(GRAIN_MIN, GRAIN_MAX).as_nanos() as u64;
        let exact = now.saturating_duration_since(self.start) + limit.min(LIMIT_MAX);
        let rounded = (exact.as_nanos() as u64).div_ceil(grain).saturating_mul(grain);
        Deadline::ending(self.start + Duration::from_nanos(rounded).min(2 * LIMIT_MAX), limit)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test is the shell of what it tests")]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_early_and_at_most_50_ms_or_a_sixteenth_late() {
        let start = Instant::now();
        let grid = DeadlineGrid::starting_at(start);
        for limit_ms in [0, 1, 7, 16, 400, 799, 800, 3_000, 120_000] {
            for after_us in (0..300_000).step_by(1_733) {
                let (now, limit) = (start + Duration::from_micros(after_us), Duration::from_millis(limit_ms));
                let late = grid.deadline(now, limit).end().checked_duration_since(now + limit).expect("never early");
                assert!(
                    late < (limit / 16).clamp(GRAIN_MIN, GRAIN_MAX),
                    "{limit:?} after {after_us} us: {late:?} late"
                );
            }
        }
    }

    #[test]
    fn records_of_the_same_50_ms_share_a_deadline() {
        let start = Instant::now();
        let grid = DeadlineGrid::starting_at(start);
        let limit = Duration::from_secs(120);
        let distinct: std::collections::BTreeSet<_> =
            (0..1_000).map(|at| grid.deadline(start + Duration::from_millis(at), limit).end()).collect();
        assert_eq!(distinct.len(), 21);
    }

    #[test]
    fn a_limit_without_end_is_a_far_deadline() {
        let start = Instant::now();
        let deadline = DeadlineGrid::starting_at(start).deadline(start + LIMIT_MAX, Duration::MAX);
        assert!(start + LIMIT_MAX < deadline.end());
    }
}
