//! What went through topics of late, and how fast the disk fills.
//!
//! A sample of all counters every five seconds is kept for a minute, one of the free space every minute for an hour. What is
//! told compares now with the oldest sample, so nothing of it costs the records anything.

use crate::api::Api;
use crate::partition::TrafficTotals;
use grower_protocol::ids::TopicId;
use grower_protocol::message::{TopicTraffic, Traffic, UsedUp};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Weak;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const SAMPLE_EACH: Duration = Duration::from_secs(5);
const TRAFFIC_FOR: Duration = Duration::from_secs(60);
const SPACE_EACH: Duration = Duration::from_secs(60);
const SPACE_FOR: Duration = Duration::from_secs(3600);

/// Counters of all topics at one moment.
pub(crate) type Counters = BTreeMap<TopicId, Traffic>;

/// The samples.
pub(crate) struct Rates {
    started: Instant,
    samples: Mutex<Samples>,
}

#[derive(Default)]
struct Samples {
    traffic: Window<Counters>,
    free: Window<u64>,
}

/// Values with the time since the start, oldest first.
struct Window<T>(VecDeque<(Duration, T)>);

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Window<T> {
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
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), samples: Mutex::default() }
    }

    /// Since the broker started.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Takes samples until `stop`. Weak: a broker that was dropped frees its directory at once.
    pub(crate) async fn run(api: Weak<Api>, stop: CancellationToken) {
        while let Some(api) = api.upgrade() {
            let at = api.rates.uptime();
            api.rates.samples.lock().note(at, api.counters(), || api.disk_reserve.usage().map(|usage| usage.free));
            drop(api);
            tokio::select! {
                () = tokio::time::sleep(SAMPLE_EACH) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Every topic's traffic, now that the counters are so.
    pub(crate) fn traffic(&self, now: &Counters) -> Vec<TopicTraffic> {
        self.samples.lock().traffic(self.uptime(), now)
    }

    /// How the free space changed, now that it is so.
    pub(crate) fn used_up(&self, free: u64) -> Option<UsedUp> {
        self.samples.lock().used_up(self.uptime(), free)
    }
}

impl Samples {
    fn note(&mut self, at: Duration, counters: Counters, free: impl FnOnce() -> Option<u64>) {
        self.traffic.push(at, counters, TRAFFIC_FOR);
        if self.free.is_due(at, SPACE_EACH)
            && let Some(free) = free()
        {
            self.free.push(at, free, SPACE_FOR);
        }
    }

    fn traffic(&self, at: Duration, now: &Counters) -> Vec<TopicTraffic> {
        let oldest = self.traffic.0.front();
        let since = oldest.map_or(Duration::ZERO, |(since, _)| *since);
        let told = |(topic, total): (&TopicId, &Traffic)| {
            // A topic that was not there then has had all its traffic since.
            let before = oldest.and_then(|(_, counters)| counters.get(topic)).copied().unwrap_or_default();
            let recent_ms = millis(at.saturating_sub(since));
            TopicTraffic { topic: *topic, total: *total, recent: difference(total, &before), recent_ms }
        };
        now.iter().map(told).collect()
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

impl Api {
    /// The counters of all topics.
    pub(crate) fn counters(&self) -> Counters {
        let mut sums: BTreeMap<TopicId, TrafficTotals> = BTreeMap::new();
        for partition in self.topics.all() {
            *sums.entry(partition.topic).or_default() += partition.traffic.totals();
        }
        let traffic = |sum: TrafficTotals| {
            let TrafficTotals { records_in, bytes_in, records_out, bytes_out } = sum;
            Traffic { records_in, bytes_in, records_out, bytes_out }
        };
        sums.into_iter().map(|(topic, sum)| (topic, traffic(sum))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: TopicId = TopicId::from_bytes([1; 16]);

    fn counters(records_in: u64) -> Counters {
        [(TOPIC, Traffic { records_in, ..Traffic::default() })].into()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn recent(samples: &Samples, at: u64, now: u64) -> (u64, u64) {
        let told = samples.traffic(seconds(at), &counters(now));
        (told[0].recent.records_in, told[0].recent_ms)
    }

    #[test]
    fn traffic_of_late_is_that_of_the_last_minute_or_since_the_start() {
        let mut samples = Samples::default();
        for at in (0..300).step_by(5) {
            samples.note(seconds(at), counters(at * 10), || None);
        }
        assert_eq!(recent(&samples, 297, 2_970), (620, 62_000));
        assert!(samples.traffic.0.len() <= 14, "no more is kept than it takes");
        let mut young = Samples::default();
        young.note(seconds(0), Counters::new(), || None);
        assert_eq!(recent(&young, 3, 12), (12, 3_000));
    }

    #[test]
    fn a_disk_is_watched_for_a_minute_before_anything_is_said_and_for_an_hour_at_most() {
        let mut samples = Samples::default();
        samples.note(seconds(0), Counters::new(), || Some(1_000));
        assert_eq!(samples.used_up(seconds(59), 900), None);
        assert_eq!(samples.used_up(seconds(60), 900), Some(UsedUp { bytes: 100, over_ms: 60_000 }));
        assert_eq!(samples.used_up(seconds(60), 1_200), Some(UsedUp { bytes: -200, over_ms: 60_000 }));
        for at in (5..7_200).step_by(5) {
            samples.note(seconds(at), Counters::new(), || Some(1_000_000 - at));
        }
        assert_eq!(
            samples.used_up(seconds(7_200), 1_000_000 - 7_200),
            Some(UsedUp { bytes: 3_660, over_ms: 3_660_000 })
        );
    }
}
