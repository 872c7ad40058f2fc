//! Numbers about a consumer, computed on demand.

use super::Consumer;
use std::time::Duration;
use tokio::time::Instant;

/// The totals of a consumer since it was built, and its present state; see [`Consumer::statistics`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerStatistics {
    /// The records handed out so far.
    pub records: u64,
    /// The bytes of their keys and values.
    pub bytes: u64,
    /// The fetches answered so far.
    pub fetches: u64,
    /// The assigned partitions.
    pub partitions: usize,
    /// The memory of prefetched records, in bytes.
    pub buffered_bytes: usize,
    /// The sum of the known lags; see [`Consumer::lag`] and [`Consumer::total_lag`].
    pub known_lag: u64,
    /// The age of the oldest high watermark in that sum, which grows while a broker does not answer or a partition is
    /// not fetched. `None` if none is known.
    pub oldest_high_watermark: Option<Duration>,
}

impl Consumer {
    /// Returns numbers about the consumer, for metrics. Asks no broker. Looks at each assigned partition.
    #[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
    pub fn statistics(&self) -> ConsumerStatistics {
        let (subscription, now) = (self.shared.lock(), Instant::now());
        let started = subscription.partitions.iter().filter(|partition| !partition.is_starting);
        let lag = started.filter_map(|partition| Some(partition.high_watermark?.since(partition.position().offset)));
        let (totals, oldest) = (subscription.totals(), subscription.oldest_high_watermark());
        ConsumerStatistics {
            records: totals.records,
            bytes: totals.bytes,
            fetches: totals.fetches,
            partitions: subscription.partitions.iter().count(),
            buffered_bytes: subscription.partitions.held().total(),
            known_lag: lag.fold(0, u64::saturating_add),
            oldest_high_watermark: oldest.map(|oldest| now.saturating_duration_since(oldest)),
        }
    }
}
