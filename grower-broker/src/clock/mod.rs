//! The only place that asks what time it is.
//!
//! There are two clocks. The wall clock names moments: it is compared with the timestamps of records, and may be set at
//! any time. The monotonic clock measures ages. `operations.md` has a table of the effects of a wall clock that jumps.

mod jumps;

use grower_protocol::ids::Timestamp;
use jumps::{ClockChange, WallClockWatch};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Shows a moment as `2026-11-21T08:30:00Z`, the last second of the calendar for a later one.
pub(crate) fn rfc3339(at: Timestamp) -> impl std::fmt::Display {
    const SECONDS_MAX: u64 = 253_402_300_799;
    let seconds = u64::try_from(at.as_millis() / 1_000).unwrap_or(0).min(SECONDS_MAX);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Tells the time by two clocks. Safety depends on neither.
pub trait Clock: Send + Sync {
    /// The time of day. It may be set, in either direction.
    fn wall(&self) -> Timestamp;

    /// The time since a fixed moment of this process. It is never set and never goes back. Delayed syncs, checkpoints
    /// and pauses wait for it.
    fn monotonic(&self) -> Duration;
}

/// The system's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

static FIRST_ASKED: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        FIRST_ASKED.elapsed()
    }
}

/// The clocks of one broker, and how far its wall clock is trusted.
pub(crate) struct BrokerClock {
    clock: Arc<dyn Clock>,
    /// The lead of the wall clock over the monotonic one at the start, in milliseconds.
    start: i64,
    /// The lead without the jumps that are not trusted yet.
    trusted: AtomicI64,
    watch: Mutex<WallClockWatch>,
}

impl BrokerClock {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let watch = WallClockWatch::new(clock.wall(), clock.monotonic());
        let start = watch.trusted();
        Arc::new(Self { clock, start, trusted: AtomicI64::new(start), watch: Mutex::new(watch) })
    }

    /// The time of day, as people see it. Nothing is deleted by it.
    pub(crate) fn wall(&self) -> Timestamp {
        self.clock.wall()
    }

    /// The time since a fixed moment: for whatever waits, pauses or times out.
    pub(crate) fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    /// For ages: the wall clock of the start, and from there on the monotonic one. Compare it with itself only.
    pub(crate) fn steady(&self) -> Timestamp {
        self.ahead_of_monotonic(self.start)
    }

    /// For deleting by date: the wall clock, but never ahead of what it would be without a jump that is not trusted
    /// yet.
    pub(crate) fn cautious(&self) -> Timestamp {
        self.wall().min(self.unjumped())
    }

    /// For refusing what is ahead of its time: the wall clock, but never behind what it would be without such a jump.
    pub(crate) fn latest(&self) -> Timestamp {
        self.wall().max(self.unjumped())
    }

    fn unjumped(&self) -> Timestamp {
        self.ahead_of_monotonic(self.trusted.load(Ordering::Relaxed))
    }

    fn ahead_of_monotonic(&self, millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).plus_millis(jumps::millis(self.clock.monotonic()).unsigned_abs())
    }

    /// Compares the clocks. Jumps are trusted only if this is called every so often.
    pub(crate) fn observe(&self) {
        let mut watch = self.watch.lock();
        let observed = watch.observe(self.clock.wall(), self.clock.monotonic());
        self.trusted.store(watch.trusted(), Ordering::Relaxed);
        drop(watch);
        match observed {
            ClockChange::Nothing => {}
            ClockChange::Jump { by } => tracing::warn!(
                by,
                wait = ?jumps::CONFIRM,
                "the wall clock jumped; no data is deleted by the new date until the clock has kept it for a while"
            ),
            ClockChange::Return => tracing::warn!("the wall clock is back where it was before it jumped"),
            ClockChange::Confirmed { by } => {
                tracing::warn!(by, "the wall clock has kept its new date and is trusted now")
            }
        }
    }
}

/// Clocks that a test moves.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct Calendar {
    wall: AtomicI64,
    monotonic: AtomicI64,
}

#[cfg(test)]
impl Calendar {
    /// Time passes.
    pub(crate) fn pass(&self, millis: i64) {
        self.wall.fetch_add(millis, Ordering::Relaxed);
        self.monotonic.fetch_add(millis, Ordering::Relaxed);
    }

    /// Sets the wall clock.
    pub(crate) fn jump(&self, millis: i64) {
        self.wall.fetch_add(millis, Ordering::Relaxed);
    }
}

#[cfg(test)]
impl Clock for Calendar {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(self.wall.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic.load(Ordering::Relaxed).unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 60 * 60 * 1000;

    /// The result of each use of the clocks, in days since the start.
    fn days(clock: &BrokerClock) -> [i64; 4] {
        [clock.wall(), clock.steady(), clock.cautious(), clock.latest()].map(|at| at.as_millis() / DAY)
    }

    #[test]
    fn every_moment_can_be_shown() {
        assert_eq!(rfc3339(Timestamp::from_millis(1_795_000_000_999)).to_string(), "2026-11-18T11:06:40Z");
        assert_eq!(rfc3339(Timestamp::MAX).to_string(), "9999-12-31T23:59:59Z");
        assert_eq!(rfc3339(Timestamp::MIN).to_string(), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn a_jump_ahead_moves_no_age_and_deletes_nothing_until_it_is_confirmed() {
        let calendar = Arc::new(Calendar::default());
        let clock = BrokerClock::new(calendar.clone());
        calendar.pass(DAY);
        clock.observe();
        assert_eq!(days(&clock), [1, 1, 1, 1]);
        calendar.jump(30 * DAY);
        assert_eq!(days(&clock), [31, 1, 1, 31], "also before the clocks are compared");
        clock.observe();
        calendar.pass(jumps::millis(jumps::CONFIRM) - 1);
        clock.observe();
        assert_eq!(days(&clock), [31, 1, 1, 31]);
        calendar.pass(1);
        clock.observe();
        assert_eq!(days(&clock), [31, 1, 31, 31]);
    }

    #[test]
    fn a_jump_back_deletes_nothing_and_refuses_no_record_of_the_time_before() {
        let calendar = Arc::new(Calendar::default());
        calendar.pass(10 * DAY);
        let clock = BrokerClock::new(calendar.clone());
        calendar.jump(-5 * DAY);
        clock.observe();
        assert_eq!(days(&clock), [5, 10, 5, 10]);
        calendar.pass(DAY);
        clock.observe();
        assert_eq!(days(&clock), [6, 11, 6, 6], "after a day it is trusted");
    }
}
