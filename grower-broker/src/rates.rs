//! The recent traffic of topics, and how fast the disk fills.
//!
//! A sample of all counters every five seconds is kept for a minute, one of the free space every minute for an hour.
//! Rates compare the present with the oldest sample, so they cost producers and readers nothing.

use grower_protocol::ids::TopicId;
use grower_protocol::message::{TopicTraffic, Traffic, UsedUp};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How often a sample is to be taken.
pub(crate) const SAMPLE_EACH: Duration = Duration::from_secs(5);
const TRAFFIC_FOR: Duration = Duration::from_secs(60);
const SPACE_EACH: Duration = Duration::from_secs(60);
const SPACE_FOR: Duration = Duration::from_secs(3600);

/// TopicCounters of all topics at one moment.
pub(crate) type TopicCounters = BTreeMap<TopicId, Traffic>;

/// The samples.
pub(crate) struct Rates {
    started: Duration,
    samples: Mutex<Samples>,
}

#[derive(Default)]
struct Samples {
    traffic: SampleWindow<TopicCounters>,
    free: SampleWindow<u64>,
}

/// Values with the time since the start, oldest first.
struct SampleWindow<T>(VecDeque<(Duration, T)>);

impl<T> Default for SampleWindow<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> SampleWindow<T> {
    /// Keeps as many as it takes to look back for `length`.
    fn push(&mut self, at: Duration, value: T, length: Duration) {
        self.0.push_back((at, value));
        while self.0.get(1).is_some_and(|(second, _)| length <= at.saturating_sub(*second)) {
            self.0.pop_front();
        }
    }

    fn is_due(&self, at: Duration, each: Duration) -> bool {
        self.0.back().is_none_or(|(last, _)| each <= at.saturating_sub(*last))
    }
}

impl Rates {
    /// Begins to count at `now`. All times are those of the monotonic clock.
    pub(crate) fn new(now: Duration) -> Self {
        Self { started: now, samples: Mutex::default() }
    }

    /// The time since the broker started.
    pub(crate) fn uptime(&self, now: Duration) -> Duration {
        now.saturating_sub(self.started)
    }

    /// Takes a sample: of the counters, and of the free space when that is due.
    pub(crate) fn sample(&self, now: Duration, counters: TopicCounters, free: impl FnOnce() -> Option<u64>) {
        self.samples.lock().note(self.uptime(now), counters, free);
    }

    /// The traffic of every topic, given its counters at `now`.
    pub(crate) fn traffic(&self, now: Duration, counters: &TopicCounters) -> Vec<TopicTraffic> {
        self.samples.lock().traffic(self.uptime(now), counters)
    }

    /// The change of the free space, given the bytes free at `now`.
    pub(crate) fn used_up(&self, now: Duration, free: u64) -> Option<UsedUp> {
        self.samples.lock().used_up(self.uptime(now), free)
    }
}

impl Samples {
    fn note(&mut self, at: Duration, counters: TopicCounters, free: impl FnOnce() -> Option<u64>) {
        self.traffic.push(at, counters, TRAFFIC_FOR);
        if self.free.is_due(at, SPACE_EACH)
            && let Some(free) = free()
        {
            self.free.push(at, free, SPACE_FOR);
        }
    }

    fn traffic(&self, at: Duration, now: &TopicCounters) -> Vec<TopicTraffic> {
        let oldest = self.traffic.0.front();
        let since = oldest.map_or(Duration::ZERO, |(since, _)| *since);
        let describe = |(topic, total): (&TopicId, &Traffic)| {
            // A topic that was not there then has had all its traffic since.
            let before = oldest.and_then(|(_, counters)| counters.get(topic)).copied().unwrap_or_default();
            let recent_ms = millis(at.saturating_sub(since));
            TopicTraffic { topic: *topic, total: *total, recent: difference(total, &before), recent_ms }
        };
        now.iter().map(describe).collect()
    }

    fn used_up(&self, at: Duration, free: u64) -> Option<UsedUp> {
        let (since, before) = self.free.0.front()?;
        let over = at.checked_sub(*since).filter(|over| SPACE_EACH <= *over)?;
        let bytes = i64::try_from(i128::from(*before) - i128::from(free)).ok()?;
        Some(UsedUp { bytes, over_ms: millis(over) })
    }
}

fn difference(now: &Traffic, before: &Traffic) -> Traffic {
    Traffic {
        records_in: now.records_in.saturating_sub(before.records_in),
        bytes_in: now.bytes_in.saturating_sub(before.bytes_in),
        records_out: now.records_out.saturating_sub(before.records_out),
        bytes_out: now.bytes_out.saturating_sub(before.bytes_out),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: TopicId = TopicId::from_bytes([1; 16]);

    fn counters(records_in: u64) -> TopicCounters {
        [(TOPIC, Traffic { records_in, ..Traffic::default() })].into()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn recent(samples: &Samples, at: u64, now: u64) -> (u64, u64) {
        let described = samples.traffic(seconds(at), &counters(now));
        (described[0].recent.records_in, described[0].recent_ms)
    }

    #[test]
    fn recent_traffic_is_that_of_the_last_minute_or_since_the_start() {
        let mut samples = Samples::default();
        for at in (0..300).step_by(5) {
            samples.note(seconds(at), counters(at * 10), || None);
        }
        assert_eq!(recent(&samples, 297, 2_970), (620, 62_000));
        assert!(samples.traffic.0.len() <= 14, "no more is kept than it takes");
        let mut young = Samples::default();
        young.note(seconds(0), TopicCounters::new(), || None);
        assert_eq!(recent(&young, 3, 12), (12, 3_000));
    }

    #[test]
    fn the_use_of_disk_space_is_known_after_a_minute_and_covers_an_hour_at_most() {
        let mut samples = Samples::default();
        samples.note(seconds(0), TopicCounters::new(), || Some(1_000));
        assert_eq!(samples.used_up(seconds(59), 900), None);
        assert_eq!(samples.used_up(seconds(60), 900), Some(UsedUp { bytes: 100, over_ms: 60_000 }));
        assert_eq!(samples.used_up(seconds(60), 1_200), Some(UsedUp { bytes: -200, over_ms: 60_000 }));
        for at in (5..7_200).step_by(5) {
            samples.note(seconds(at), TopicCounters::new(), || Some(1_000_000 - at));
        }
        assert_eq!(
            samples.used_up(seconds(7_200), 1_000_000 - 7_200),
            Some(UsedUp { bytes: 3_660, over_ms: 3_660_000 })
        );
    }
}
