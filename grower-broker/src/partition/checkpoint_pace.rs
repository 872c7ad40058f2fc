//! Decides how much of the disk's time checkpoints of idle partitions take.
//!
//! A checkpoint costs several syncs. In a rush (producers wait for the disk, or did a second ago) checkpoints take at
//! most a tenth of the time, and a partition must be quiet for a second: a slow producer would undo the checkpoint at
//! once.

use std::time::Duration;

/// A partition that was quiet for this long is checkpointed.
const QUIET: Duration = Duration::from_millis(100);
/// The same in a rush; also how long a rush lasts after producers were last seen waiting for the disk.
const QUIET_IN_A_RUSH: Duration = Duration::from_secs(1);
/// In a rush, a pause of this many times its length follows each checkpoint.
const PAUSE_FACTOR: u32 = 9;

/// Remembers when producers were last seen waiting for the disk. Times are of the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct CheckpointPace {
    contended_at: Option<Duration>,
}

impl CheckpointPace {
    /// How long a partition must have been quiet to be checkpointed now.
    pub(super) fn quiet_time(&mut self, contended: bool, now: Duration) -> Duration {
        if self.is_in_a_rush(contended, now) { QUIET_IN_A_RUSH } else { QUIET }
    }

    /// How long to rest after a checkpoint.
    pub(super) fn pause_after(&mut self, checkpoint: Duration, contended: bool, now: Duration) -> Duration {
        if self.is_in_a_rush(contended, now) { checkpoint * PAUSE_FACTOR } else { Duration::ZERO }
    }

    fn is_in_a_rush(&mut self, contended: bool, now: Duration) -> bool {
        debug_assert!(self.contended_at.is_none_or(|last| last <= now), "the monotonic clock went back to {now:?}");
        if contended {
            self.contended_at = Some(now);
        }
        self.contended_at.is_some_and(|last| now.saturating_sub(last) < QUIET_IN_A_RUSH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_wait_longer_and_rest_for_a_second_after_producers_waited_for_the_disk() {
        let (mut pace, second) = (CheckpointPace::default(), Duration::from_secs(1));
        assert_eq!(pace.quiet_time(false, second), QUIET);
        assert_eq!(pace.pause_after(second, false, second), Duration::ZERO);
        assert_eq!(pace.quiet_time(true, second), QUIET_IN_A_RUSH);
        assert_eq!(pace.pause_after(second, false, second * 3 / 2), 9 * second);
        assert_eq!(pace.quiet_time(false, second * 2), QUIET);
    }
}
