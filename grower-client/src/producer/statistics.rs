//! Numbers about a producer: its totals, counted once a batch, and its records without an outcome, counted on demand.

use super::Producer;
use super::engine::{ProducerEngine, now};
use super::promise::DeliveryPromise;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// The totals of a producer since it was built, and its present records; see [`Producer::statistics`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerStatistics {
    /// The records that wait to be sent, or to be sent again.
    pub queued_records: u64,
    /// Their bytes.
    pub queued_bytes: u64,
    /// The records that are sent and not answered.
    pub in_flight_records: u64,
    /// Their bytes, after compression.
    pub in_flight_bytes: u64,
    /// The age of the oldest record without an outcome, from the call that handed it in.
    pub oldest_unsettled: Option<Duration>,
    /// The memory that records hold, in bytes.
    pub memory_used: usize,
    /// The limit of that memory.
    pub memory_limit: usize,
    /// The records acknowledged so far.
    pub acknowledged_records: u64,
    /// The records that failed so far, after they were queued.
    pub failed_records: u64,
    /// The batches sent so far, without repeats.
    pub sent_batches: u64,
    /// Their records.
    pub sent_records: u64,
    /// Their bytes, after compression.
    pub sent_bytes: u64,
    /// The repeats of batches so far.
    pub retries: u64,
}

impl ProducerStatistics {
    /// The mean number of records of a batch; 0 without batches.
    pub fn mean_batch_records(&self) -> u64 {
        self.sent_records.checked_div(self.sent_batches).unwrap_or(0)
    }

    /// The mean size of a batch in bytes, after compression; 0 without batches.
    pub fn mean_batch_bytes(&self) -> u64 {
        self.sent_bytes.checked_div(self.sent_batches).unwrap_or(0)
    }
}

impl Producer {
    /// Returns numbers about the producer and all its clones, for metrics. Looks at each batch in memory, one
    /// partition after the other, so the numbers are of slightly different times.
    pub fn statistics(&self) -> ProducerStatistics {
        self.handle.engine.statistics()
    }
}

/// The totals of a producer.
#[derive(Debug, Default)]
pub(super) struct ProducerTotals {
    acknowledged_records: AtomicU64,
    failed_records: AtomicU64,
    sent_batches: AtomicU64,
    sent_records: AtomicU64,
    sent_bytes: AtomicU64,
    retries: AtomicU64,
}

impl ProducerTotals {
    /// Counts a batch that is sent for the first time.
    pub(super) fn sent(&self, records: u32, bytes: usize) {
        add(&self.sent_batches, 1);
        add(&self.sent_records, records.into());
        add(&self.sent_bytes, bytes as u64);
    }

    /// Counts batches that are sent again.
    pub(super) fn retried(&self, batches: usize) {
        add(&self.retries, batches as u64);
    }

    /// Counts records with an outcome.
    pub(super) fn settled(&self, records: u64, is_acknowledged: bool) {
        add(if is_acknowledged { &self.acknowledged_records } else { &self.failed_records }, records);
    }
}

/// Relaxed: each number is exact, and none orders another.
fn add(total: &AtomicU64, count: u64) {
    total.fetch_add(count, Ordering::Relaxed);
}

/// The records without an outcome.
#[derive(Debug, Default)]
pub(super) struct UnsettledRecords {
    queued: BatchTotals,
    in_flight: BatchTotals,
    oldest: Option<Instant>,
}

#[derive(Debug, Default)]
struct BatchTotals {
    records: u64,
    bytes: u64,
}

impl UnsettledRecords {
    /// Counts the records of a batch with this many bytes.
    pub(super) fn add(&mut self, promise: &DeliveryPromise, bytes: usize, is_in_flight: bool) {
        let totals = if is_in_flight { &mut self.in_flight } else { &mut self.queued };
        totals.records += promise.live_count();
        totals.bytes += bytes as u64;
        self.oldest = self.oldest.into_iter().chain(promise.handed_in()).min();
    }
}

impl ProducerEngine {
    fn statistics(&self) -> ProducerStatistics {
        let mut unsettled = UnsettledRecords::default();
        for topic in self.topics() {
            for partition in topic.partitions() {
                partition.lock().queue.count_unsettled(&mut unsettled);
            }
        }
        let UnsettledRecords { queued, in_flight, oldest } = unsettled;
        let total = |total: &AtomicU64| total.load(Ordering::Relaxed);
        ProducerStatistics {
            queued_records: queued.records,
            queued_bytes: queued.bytes,
            in_flight_records: in_flight.records,
            in_flight_bytes: in_flight.bytes,
            oldest_unsettled: oldest.map(|oldest| now().saturating_duration_since(oldest)),
            memory_used: self.memory.used(),
            memory_limit: self.memory.capacity(),
            acknowledged_records: total(&self.totals.acknowledged_records),
            failed_records: total(&self.totals.failed_records),
            sent_batches: total(&self.totals.sent_batches),
            sent_records: total(&self.totals.sent_records),
            sent_bytes: total(&self.totals.sent_bytes),
            retries: total(&self.totals.retries),
        }
    }
}
