//! Rate limits for repeated log lines.

use crate::clock::{Clock, SystemClock};
use parking_lot::Mutex;
use std::time::Duration;

/// The rate limit of one line: at most one in ten seconds, with the number of suppressed ones.
#[derive(Debug, Default)]
pub(crate) struct LogPace(Mutex<PaceState>);

#[derive(Debug, Default)]
struct PaceState {
    /// When the last line was written, on the monotonic clock.
    last: Option<Duration>,
    left_out: u64,
}

const EACH: Duration = Duration::from_secs(10);

impl LogPace {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(PaceState { last: None, left_out: 0 }))
    }

    /// Whether to write the line now. Returns the number of lines suppressed since the last one.
    pub(crate) fn admit(&self) -> Option<u64> {
        self.admit_at(SystemClock.monotonic()) // No other clock is known where errors become codes.
    }

    fn admit_at(&self, now: Duration) -> Option<u64> {
        let mut pace = self.0.lock();
        if pace.last.is_some_and(|last| now.saturating_sub(last) < EACH) {
            pace.left_out += 1;
            return None;
        }
        pace.last = Some(now);
        Some(std::mem::take(&mut pace.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_ten_seconds_has_the_number_of_suppressed_ones() {
        let pace = LogPace::new();
        let admit = |millis| pace.admit_at(Duration::from_millis(millis));
        assert_eq!(admit(0), Some(0));
        assert_eq!([admit(1), admit(5_000), admit(9_999)], [None; 3]);
        assert_eq!(admit(10_000), Some(3));
        assert_eq!(admit(30_000), Some(0));
    }
}
