//! Collects the records of one partition in batches to send. Pure: time comes in as an argument.

use super::delivery::{Delivery, DeliveryPromise, UnobservedError};
use super::in_flight::SettledRecords;
use crate::error::ProduceError;
use crate::record::TopicPartition;
use grower_protocol::batch::{BatchBuilder, Record};
use grower_protocol::compression::Codec;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The limits of a batch, and how long it waits to reach them.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchSettings {
    pub(super) codec: Codec,
    pub(super) bytes: usize,
    pub(super) records: u32,
    pub(super) linger: Duration,
}

/// A batch without a sequence: the open one, or one that is sealed and waits for the window.
#[derive(Debug)]
pub(super) struct UnsentBatch {
    pub(super) builder: BatchBuilder,
    pub(super) promise: DeliveryPromise,
    /// The producer's memory that its records hold, in bytes.
    pub(super) reserved: usize,
    /// The time of its first record.
    pub(super) since: Instant,
}

impl UnsentBatch {
    /// Fails its records.
    pub(super) fn fail(self, error: ProduceError) -> SettledRecords {
        SettledRecords { promise: self.promise, reserved: self.reserved, outcome: Err(error) }
    }
}

/// The unsent batches of one partition, in order: sealed ones, then the open one.
#[derive(Debug)]
pub(super) struct Accumulator {
    settings: BatchSettings,
    topic_partition: TopicPartition,
    /// Keeps the first failure that no caller observes.
    unobserved: Arc<UnobservedError>,
    sealed: VecDeque<UnsentBatch>,
    open: Option<UnsentBatch>,
    /// The current limit of a batch: that of the settings, or less if the topic accepts less.
    bytes_max: usize,
    /// The size of the last batch, which is the initial capacity of the next.
    likely_bytes: usize,
}

impl Accumulator {
    pub(super) fn new(topic_partition: TopicPartition, settings: BatchSettings) -> Self {
        Self {
            settings,
            topic_partition,
            unobserved: Arc::default(),
            sealed: VecDeque::new(),
            open: None,
            bytes_max: settings.bytes,
            likely_bytes: 0,
        }
    }

    /// Reports failures that no caller observes to `unobserved`.
    pub(super) fn report_to(&mut self, unobserved: Arc<UnobservedError>) {
        self.unobserved = unobserved;
    }

    /// Adds a record that holds `reserved` bytes of memory, and starts a new batch if the open one has no room. The
    /// second result tells whether the record started or filled a batch; otherwise no new action is due.
    pub(super) fn push(&mut self, record: &Record, reserved: usize, clock: impl Fn() -> Instant) -> (Delivery, bool) {
        let sealed = self.sealed.len();
        if self.open.as_ref().is_some_and(|batch| self.is_full(batch) || !self.fits(batch, record)) {
            self.seal();
        }
        let started = self.open.is_none();
        let (settings, topic_partition, unobserved, likely) =
            (self.settings, &self.topic_partition, &self.unobserved, self.likely_bytes);
        let batch = self.open.get_or_insert_with(|| UnsentBatch {
            builder: BatchBuilder::with_capacity(settings.codec, likely),
            promise: DeliveryPromise::new(topic_partition.clone(), unobserved.clone()),
            reserved: 0,
            since: clock(),
        });
        batch.builder.push(record);
        batch.reserved += reserved;
        debug_assert_eq!(batch.promise.count(), batch.builder.count() - 1, "each record has a delivery");
        let delivery = batch.promise.extend(record.timestamp);
        if self.open.as_ref().is_some_and(|batch| self.is_full(batch)) {
            self.seal();
        }
        debug_assert!(self.open.as_ref().is_none_or(|batch| !self.is_full(batch)), "a full batch stays open");
        (delivery, started || sealed < self.sealed.len())
    }

    /// Seals the open batch: it leaves as soon as the window has room.
    pub(super) fn seal(&mut self) {
        if let Some(batch) = self.open.take() {
            debug_assert!(0 < batch.builder.count(), "an open batch holds a record");
            debug_assert!(self.sealed.back().is_none_or(|last| last.since <= batch.since), "batches keep their order");
            self.likely_bytes = batch.builder.size();
            self.sealed.push_back(batch);
        }
    }

    /// Takes the next batch to send. Sealed batches come first. The open batch waits for its linger and for an `idle`
    /// partition, so that records that arrive while a request is in flight share a batch.
    pub(super) fn take(&mut self, idle: bool, now: Instant) -> Option<UnsentBatch> {
        if self.sealed.is_empty() && idle && self.due().is_some_and(|due| due <= now) {
            self.seal();
        }
        self.sealed.pop_front()
    }

    /// Returns the time at which the linger of the open batch ends.
    pub(super) fn due(&self) -> Option<Instant> {
        self.open.as_ref().map(|batch| batch.since + self.settings.linger)
    }

    /// Returns the time of the oldest record.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.sealed.front().or(self.open.as_ref()).map(|batch| batch.since)
    }

    /// Takes all batches that were started at or before `since`.
    pub(super) fn expire(&mut self, since: Instant) -> Vec<UnsentBatch> {
        let mut expired = Vec::new();
        while self.oldest().is_some_and(|oldest| oldest <= since) {
            expired.extend(self.sealed.pop_front().or_else(|| self.open.take()));
        }
        expired
    }

    /// The producer's memory that its records hold, in bytes.
    #[cfg(test)]
    pub(super) fn reserved(&self) -> usize {
        self.sealed.iter().chain(&self.open).map(|batch| batch.reserved).sum()
    }

    /// Takes all batches.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = UnsentBatch> {
        self.sealed.drain(..).chain(self.open.take())
    }

    /// The promises of all sealed batches.
    pub(super) fn promises(&self) -> impl Iterator<Item = &DeliveryPromise> {
        self.sealed.iter().map(|batch| &batch.promise)
    }

    /// Lowers the limit of later batches: the topic accepts less than the settings allow.
    pub(super) fn shrink(&mut self, bytes: usize) {
        debug_assert!(self.bytes_max <= self.settings.bytes, "the topic only lowers the limit of the settings");
        self.bytes_max = self.bytes_max.min(bytes);
    }

    /// Restores the limit of the settings.
    pub(super) fn restore_size(&mut self) {
        self.bytes_max = self.settings.bytes;
    }

    fn is_full(&self, batch: &UnsentBatch) -> bool {
        self.bytes_max <= batch.builder.size() || self.settings.records <= batch.builder.count()
    }

    fn fits(&self, batch: &UnsentBatch, record: &Record) -> bool {
        batch.builder.size() + batch.builder.size_of(record) <= self.bytes_max
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test is the shell of what it tests")]
mod tests {
    use super::*;
    use bytes::Bytes;
    use grower_protocol::ids::{PartitionId, TopicName};

    const LINGER: Duration = Duration::from_millis(5);

    fn accumulator(bytes: usize, records: u32) -> Accumulator {
        let topic_partition = TopicPartition { topic: TopicName::new("t").unwrap(), partition: PartitionId::new(0) };
        Accumulator::new(topic_partition, BatchSettings { codec: Codec::None, bytes, records, linger: LINGER })
    }

    fn push(accumulator: &mut Accumulator, length: usize, now: Instant) {
        let record = Record { value: Some(Bytes::from(vec![b'x'; length])), ..Record::default() };
        drop(accumulator.push(&record, length, || now));
    }

    fn counts(accumulator: &mut Accumulator, idle: bool, now: Instant) -> Vec<u32> {
        std::iter::from_fn(|| accumulator.take(idle, now)).map(|batch| batch.builder.count()).collect()
    }

    #[test]
    fn a_full_batch_leaves_at_once_and_a_partial_one_lingers() {
        let now = Instant::now();
        let mut accumulator = accumulator(1 << 20, 3);
        (0..7).for_each(|_| push(&mut accumulator, 10, now));
        assert_eq!(counts(&mut accumulator, true, now), [3, 3]);
        assert_eq!(accumulator.due(), Some(now + LINGER));
        assert_eq!(counts(&mut accumulator, true, now + LINGER), [1]);
    }

    #[test]
    fn only_starting_or_filling_a_batch_needs_a_sender() {
        let now = Instant::now();
        let mut accumulator = accumulator(1 << 20, 3);
        let mut needs_sender = || accumulator.push(&Record::default(), 1, || now).1;
        assert_eq!([needs_sender(), needs_sender(), needs_sender(), needs_sender()], [true, false, true, true]);
    }

    #[test]
    fn a_partial_batch_waits_while_a_request_is_in_flight() {
        let now = Instant::now();
        let mut accumulator = accumulator(1 << 20, 100);
        push(&mut accumulator, 10, now);
        let later = now + LINGER * 9;
        assert!(accumulator.take(false, later).is_none());
        push(&mut accumulator, 10, later);
        assert_eq!(counts(&mut accumulator, true, later), [2]);
    }

    #[test]
    fn only_a_single_record_may_exceed_the_batch_limit() {
        let now = Instant::now();
        let mut accumulator = accumulator(300, u32::MAX);
        for length in [100, 100, 100, 5_000, 10] {
            push(&mut accumulator, length, now);
        }
        accumulator.seal();
        let sizes: Vec<(u32, bool)> = std::iter::from_fn(|| accumulator.take(true, now))
            .map(|batch| (batch.builder.count(), batch.builder.size() <= 300))
            .collect();
        assert_eq!(sizes, [(2, true), (1, true), (1, false), (1, true)]);
    }

    #[test]
    fn batches_only_get_smaller_until_their_size_is_restored() {
        let now = Instant::now();
        let mut accumulator = accumulator(1 << 20, u32::MAX);
        (0..4).for_each(|_| push(&mut accumulator, 100, now));
        accumulator.shrink(300);
        accumulator.shrink(900); // From a batch that was sent before.
        (0..4).for_each(|_| push(&mut accumulator, 100, now));
        assert_eq!(counts(&mut accumulator, true, now), [4, 2], "the open batch keeps its size");
        accumulator.restore_size();
        (0..4).for_each(|_| push(&mut accumulator, 100, now));
        accumulator.seal();
        assert_eq!(counts(&mut accumulator, true, now), [6]);
    }

    #[test]
    fn only_old_batches_expire() {
        let now = Instant::now();
        let mut accumulator = accumulator(1 << 20, 1);
        push(&mut accumulator, 1, now);
        push(&mut accumulator, 1, now + LINGER);
        assert_eq!(accumulator.expire(now).len(), 1);
        assert_eq!(accumulator.oldest(), Some(now + LINGER));
    }
}
