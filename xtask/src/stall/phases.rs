//! Storms and calms in turn. Faults begin and end within a storm; in a calm everything must work.

use std::time::Duration;
use tokio::time::Instant;

const STORM: Duration = Duration::from_secs(18);
const CALM: Duration = Duration::from_secs(7);

/// The phases of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct RigPhases {
    began: Instant,
    end: Instant,
}

impl RigPhases {
    /// Begins with a storm; the run ends after `duration` with a calm.
    pub(super) fn begin(duration: Duration) -> Self {
        let began = Instant::now();
        Self { began, end: began + duration }
    }

    pub(super) fn end(&self) -> Instant {
        self.end
    }

    /// The time that is left of the storm at `now`; `None` in a calm.
    pub(super) fn storm_left(&self, now: Instant) -> Option<Duration> {
        let last_calm = self.end - CALM.min(self.end - self.began);
        let in_cycle =
            Duration::from_nanos((now.duration_since(self.began).as_nanos() % (STORM + CALM).as_nanos()) as u64);
        let left = STORM.checked_sub(in_cycle)?.min(last_calm.checked_duration_since(now)?);
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn storms_and_calms_take_turns_and_a_calm_is_last() {
        let phases = RigPhases::begin(Duration::from_secs(60));
        let left = |second| phases.storm_left(phases.began + Duration::from_secs(second));
        assert_eq!(left(0), Some(Duration::from_secs(18)));
        assert_eq!(left(17), Some(Duration::from_secs(1)));
        assert_eq!(left(20), None);
        assert_eq!(left(52), Some(Duration::from_secs(1)), "the last calm begins at 53 s");
        assert_eq!(left(54), None);
    }
}
