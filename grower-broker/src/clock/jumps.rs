//! Decides whether the wall clock was set. Pure.
//!
//! Both clocks run at nearly the same pace, so their difference hardly changes; a jump is a change of it. A wall clock
//! that is wrong for a moment returns, one that was set for good stays: this distinguishes the two.

use grower_protocol::ids::Timestamp;
use std::time::Duration;

/// A wall clock that kept its new date for this long is trusted.
pub(super) const CONFIRM: Duration = Duration::from_secs(60 * 60);
/// A smaller change between two looks is no jump: clocks are adjusted all the time.
const TOLERANCE_MS: u64 = 60_000;

/// Follows the difference between the two clocks.
#[derive(Clone, Debug)]
pub(super) struct WallClockWatch {
    /// How far the wall clock is ahead of the monotonic one, in milliseconds, without jumps that are not trusted.
    trusted: i64,
    unconfirmed: Option<UnconfirmedJump>,
}

/// A jump that is not trusted yet.
#[derive(Clone, Copy, Debug)]
struct UnconfirmedJump {
    difference: i64,
    since: Duration,
}

/// The result of a comparison of both clocks. Jumps are in milliseconds, negative if they go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClockChange {
    /// Nothing new.
    Nothing,
    /// The wall clock was set.
    Jump { by: i64 },
    /// It was set back to where it would be without the jump.
    Return,
    /// It has kept its new date, which counts from now on.
    Confirmed { by: i64 },
}

impl WallClockWatch {
    pub(super) fn new(wall: Timestamp, monotonic: Duration) -> Self {
        Self { trusted: difference(wall, monotonic), unconfirmed: None }
    }

    pub(super) fn trusted(&self) -> i64 {
        self.trusted
    }

    pub(super) fn observe(&mut self, wall: Timestamp, monotonic: Duration) -> ClockChange {
        let difference = difference(wall, monotonic);
        if is_near(difference, self.trusted) {
            self.trusted = difference;
            return if self.unconfirmed.take().is_some() { ClockChange::Return } else { ClockChange::Nothing };
        }
        let by = difference.saturating_sub(self.trusted);
        match self.unconfirmed {
            Some(unconfirmed) if is_near(difference, unconfirmed.difference) => {
                if monotonic.saturating_sub(unconfirmed.since) < CONFIRM {
                    self.unconfirmed = Some(UnconfirmedJump { difference, ..unconfirmed });
                    return ClockChange::Nothing;
                }
                (self.trusted, self.unconfirmed) = (difference, None);
                ClockChange::Confirmed { by }
            }
            _ => {
                self.unconfirmed = Some(UnconfirmedJump { difference, since: monotonic });
                ClockChange::Jump { by }
            }
        }
    }
}

fn difference(wall: Timestamp, monotonic: Duration) -> i64 {
    wall.as_millis().saturating_sub(millis(monotonic))
}

fn is_near(a: i64, b: i64) -> bool {
    a.abs_diff(b) <= TOLERANCE_MS
}

pub(super) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    const DAY: i64 = 24 * 60 * MINUTE;

    /// Looks each minute, at a wall clock that is this much ahead; the last thing that was new.
    fn observe(watch: &mut WallClockWatch, minutes: std::ops::Range<i64>, ahead: i64) -> ClockChange {
        let looks = minutes.map(|minute| {
            let monotonic = Duration::from_millis((minute * MINUTE).unsigned_abs());
            watch.observe(Timestamp::from_millis(minute * MINUTE + ahead), monotonic)
        });
        looks.filter(|observed| *observed != ClockChange::Nothing).last().unwrap_or(ClockChange::Nothing)
    }

    fn watch() -> WallClockWatch {
        WallClockWatch::new(Timestamp::default(), Duration::ZERO)
    }

    #[test]
    fn a_clock_that_is_adjusted_little_by_little_is_followed() {
        let mut watch = watch();
        for minute in 0..100 {
            assert_eq!(observe(&mut watch, minute..minute + 1, minute * MINUTE / 2), ClockChange::Nothing);
        }
        assert_eq!(watch.trusted(), 99 * MINUTE / 2);
    }

    #[test]
    fn a_clock_that_was_wrong_for_a_moment_is_never_trusted() {
        let mut watch = watch();
        assert_eq!(observe(&mut watch, 0..30, DAY), ClockChange::Jump { by: DAY });
        assert_eq!(observe(&mut watch, 30..90, 0), ClockChange::Return);
        assert_eq!(observe(&mut watch, 90..149, DAY), ClockChange::Jump { by: DAY }, "the hour starts again here");
        assert_eq!(watch.trusted(), 0);
    }

    #[test]
    fn a_clock_that_keeps_its_new_date_for_an_hour_is_trusted_in_both_directions() {
        for by in [DAY, -DAY] {
            let mut watch = watch();
            assert_eq!(observe(&mut watch, 0..60, by), ClockChange::Jump { by });
            assert_eq!(observe(&mut watch, 60..61, by), ClockChange::Confirmed { by });
            assert_eq!(watch.trusted(), by);
        }
    }

    #[test]
    fn a_clock_that_jumps_again_and_again_is_not_trusted() {
        let mut watch = watch();
        for hour in 1..10 {
            assert_eq!(
                observe(&mut watch, hour * 59..hour * 59 + 59, hour * DAY),
                ClockChange::Jump { by: hour * DAY }
            );
        }
        assert_eq!(watch.trusted(), 0);
    }
}
