//! How long things take, as a histogram that any number of threads fill without waiting for each other.
//!
//! An observation is three additions to counters of the thread's own shard: no lock, no allocation, and seldom a cache
//! line that another core has. Shards are added up only when metrics are read.

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use std::array::from_fn;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Upper bound of the first bucket; each further one is twice as wide, and the last has no bound.
const FIRST_NANOS: u64 = 50_000;
/// From 50 microseconds to 6.6 seconds, and beyond.
const BUCKETS: usize = 19;
const SHARDS: usize = 4;

/// A histogram of durations.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    shards: [Shard; SHARDS],
}

/// Aligned so that two shards never share a cache line, nor a pair of lines that is fetched together.
#[derive(Debug)]
#[repr(align(128))]
struct Shard {
    started: AtomicU64,
    nanos: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl Default for Shard {
    fn default() -> Self {
        Self { started: AtomicU64::new(0), nanos: AtomicU64::new(0), buckets: from_fn(|_| AtomicU64::new(0)) }
    }
}

impl Latency {
    /// Counts a beginning; [`Latency::observe`] follows at the end.
    pub(super) fn begin(&self) {
        self.shards[shard()].started.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a beginning back: it belongs to another histogram.
    pub(super) fn forget(&self) {
        // Wraps where another shard began it: the sum is right.
        self.shards[shard()].started.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts an end, and its duration.
    pub(crate) fn observe(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let shard = &self.shards[shard()];
        shard.nanos.fetch_add(nanos, Ordering::Relaxed);
        shard.buckets[bucket(nanos)].fetch_add(1, Ordering::Relaxed);
    }

    /// Beginnings without an end. The shards are not read at one moment, so the sum may be off by those in between.
    pub(super) fn in_flight(&self) -> u64 {
        let ended: u64 = self.counts().iter().sum(); // First: what ends in between has begun as well.
        let started = self.shards.iter().map(|shard| shard.started.load(Ordering::Relaxed)).fold(0, u64::wrapping_add);
        u64::try_from(started.wrapping_sub(ended) as i64).unwrap_or(0)
    }

    fn counts(&self) -> [u64; BUCKETS] {
        from_fn(|at| self.shards.iter().map(|shard| shard.buckets[at].load(Ordering::Relaxed)).sum())
    }
}

fn bucket(nanos: u64) -> usize {
    let doublings = u64::BITS - (nanos.saturating_sub(1) / FIRST_NANOS).leading_zeros();
    (doublings as usize).min(BUCKETS - 1)
}

/// Seconds that a bucket reaches up to.
fn bound(bucket: usize) -> f64 {
    if bucket + 1 == BUCKETS { f64::INFINITY } else { (FIRST_NANOS << bucket) as f64 / 1e9 }
}

/// The shard of this thread: threads take turns when they first ask.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
    MINE.with(|mine| *mine)
}

impl EncodeMetric for Latency {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let counts = self.counts();
        let nanos = self.shards.iter().map(|shard| shard.nanos.load(Ordering::Relaxed)).fold(0, u64::wrapping_add);
        let buckets: [(f64, u64); BUCKETS] = from_fn(|at| (bound(at), counts[at]));
        encoder.encode_histogram::<NoLabelSet>(nanos as f64 / 1e9, counts.iter().sum(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_duration_falls_into_the_first_bucket_that_reaches_it(nanos in prop_oneof![0u64..1 << 34, any::<u64>()]) {
            let slow = (0..BUCKETS).find(|at| nanos as f64 / 1e9 <= bound(*at));
            prop_assert_eq!(Some(bucket(nanos)), slow);
        }
    }

    #[test]
    fn every_observation_of_every_thread_counts_once() {
        let latency = Latency::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * SHARDS {
                scope
                    .spawn(|| (0..1_000).for_each(|_| (latency.begin(), latency.observe(Duration::from_micros(70))).1));
            }
        });
        latency.begin();
        assert_eq!(latency.counts()[1], 2 * SHARDS as u64 * 1_000);
        assert_eq!(latency.in_flight(), 1);
    }
}
