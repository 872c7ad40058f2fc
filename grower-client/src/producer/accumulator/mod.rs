//! Collects the records of one partition in batches to send. Pure: time comes in as an argument.

use super::in_flight::SettledRecords;
use super::promise::{DeliveryPromise, ExpiredRecords};
use super::statistics::UnsettledRecords;
use super::unobserved::UnobservedFailures;
use crate::deadline::Deadline;
use crate::error::ProduceError;
use crate::record::TopicPartition;
use grower_protocol::batch::{BatchBuilder, RecordRef};
use grower_protocol::compression::Codec;
use grower_protocol::ids::Offset;
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

/// The least time between two checks for expired records, which look at all batches.
const EXPIRY_PAUSE: Duration = Duration::from_millis(25);

/// An open batch that records expired from is sealed once it has had this many, so that its outcomes stay few.
const EXPIRING_RECORDS_MAX: u32 = 1 << 16;

/// A batch without a sequence: the open one, or one that is sealed and waits for the window.
#[derive(Debug)]
pub(super) struct UnsentBatch {
    pub(super) builder: BatchBuilder,
    pub(super) promise: DeliveryPromise,
    /// The producer's memory that its records hold, in bytes.
    pub(super) reserved: usize,
    /// The time of its first record.
    since: Instant,
    /// The end that the partition must have. Such a batch is sent whole.
    pub(super) expected_end: Option<Offset>,
    /// A record that was not queued stops only what came later.
    is_spared: bool,
}

impl UnsentBatch {
    /// Fails its records.
    pub(super) fn fail(self, error: ProduceError) -> SettledRecords {
        SettledRecords { promise: self.promise, reserved: self.reserved, outcome: Err(error) }
    }

    /// Removes the bytes of settled records.
    fn withdraw_settled(&mut self) {
        debug_assert!(!self.promise.is_settled(), "an unsettled record stays");
        self.builder.retain(&self.promise.withdraw_settled());
        debug_assert_eq!(self.promise.count(), self.builder.count(), "each record has a delivery");
    }

    /// Expires records, and removes their bytes once they are half of the batch: an expiry of few records costs little.
    /// Returns the memory that it releases, in proportion to the bytes.
    fn expire(&mut self, now: Instant, expired: &mut Vec<ExpiredRecords>) -> usize {
        expired.extend(self.promise.expire(now));
        if self.promise.is_settled() {
            return std::mem::take(&mut self.reserved);
        }
        let before = self.builder.size();
        if self.promise.count() <= 2 * self.promise.settled_count() {
            self.withdraw_settled();
        }
        let kept = (self.reserved as u128 * self.builder.size() as u128 / before as u128) as usize;
        std::mem::replace(&mut self.reserved, kept) - kept
    }
}

/// The result of adding a record.
#[derive(Debug)]
pub(super) struct PushedRecord<D> {
    pub(super) delivery: D,
    /// The record started a batch.
    pub(super) started: bool,
    /// A batch is sealed, either with this record or because it had no room for it.
    pub(super) filled: bool,
    /// The record may expire before all others.
    pub(super) expires_first: bool,
}

impl<D> PushedRecord<D> {
    /// Whether [`Accumulator::take`] may have a new batch, or [`Accumulator::next_expiry`] may be earlier.
    pub(super) fn needs_attention(&self) -> bool {
        self.started || self.filled || self.expires_first
    }
}

/// The unsent batches of one partition, in order: sealed ones, then the open one.
#[derive(Debug)]
pub(super) struct Accumulator {
    settings: BatchSettings,
    topic_partition: TopicPartition,
    /// Counts the failures that no caller observes.
    unobserved: Arc<UnobservedFailures>,
    sealed: VecDeque<UnsentBatch>,
    open: Option<UnsentBatch>,
    /// No record expires before this time; `None` without records.
    next_expiry: Option<Instant>,
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
            next_expiry: None,
            bytes_max: settings.bytes,
            likely_bytes: 0,
        }
    }

    /// Reports failures that no caller observes to `unobserved`.
    pub(super) fn report_to(&mut self, unobserved: Arc<UnobservedFailures>) {
        self.unobserved = unobserved;
    }

    /// Adds a record that holds `reserved` bytes of memory, and starts a new batch if the open one has no room.
    /// `deliver` makes the delivery of the record from its index in the promise.
    pub(super) fn push<D>(
        &mut self,
        record: RecordRef<'_>,
        reserved: usize,
        deadline: Deadline,
        clock: impl Fn() -> Instant,
        deliver: impl FnOnce(&DeliveryPromise, u32) -> D,
    ) -> PushedRecord<D> {
        let bytes_max = self.bytes_max;
        let is_joined = self.open.as_mut().is_some_and(|batch| batch.builder.push_within(record, bytes_max));
        let mut filled = false;
        if !is_joined {
            filled = self.open.is_some();
            self.start(record, clock());
        }
        let batch = self.open.as_mut().expect("it is open since this or an earlier push");
        batch.reserved += reserved;
        let index = batch.promise.extend(deadline);
        debug_assert_eq!(batch.promise.count(), batch.builder.count(), "each record has a delivery");
        let delivery = deliver(&batch.promise, index);
        if bytes_max <= batch.builder.size() || self.settings.records <= batch.builder.count() {
            self.seal();
            filled = true;
        }
        let expires_first = self.next_expiry.is_none_or(|next| deadline.end() < next);
        if expires_first {
            self.next_expiry = Some(deadline.end());
        }
        PushedRecord { delivery, started: !is_joined, filled, expires_first }
    }

    /// Adds records as a batch of their own, whatever its size, to append only at this end of the partition.
    pub(super) fn push_at<'a>(
        &mut self,
        records: impl IntoIterator<Item = RecordRef<'a>>,
        reserved: usize,
        deadline: Deadline,
        expected_end: Offset,
        now: Instant,
    ) -> &DeliveryPromise {
        self.seal();
        let mut builder = BatchBuilder::new(self.settings.codec);
        let mut promise = DeliveryPromise::new(self.topic_partition.clone(), self.unobserved.clone());
        for record in records {
            let is_pushed = builder.push_within(record, usize::MAX);
            debug_assert!(is_pushed, "there is no limit");
            promise.extend(deadline);
        }
        debug_assert!(0 < builder.count(), "a batch holds a record");
        let next_expiry = self.next_expiry.map_or(deadline.end(), |next| next.min(deadline.end()));
        self.next_expiry = Some(next_expiry);
        let expected_end = Some(expected_end);
        self.sealed.push_back(UnsentBatch { builder, promise, reserved, since: now, expected_end, is_spared: false });
        &self.sealed.back().expect("it was just added").promise
    }

    /// Starts a batch with this record; seals the open batch first.
    fn start(&mut self, record: RecordRef<'_>, now: Instant) {
        self.seal();
        let mut builder = BatchBuilder::with_capacity(self.settings.codec, self.likely_bytes);
        let is_pushed = builder.push_within(record, self.bytes_max);
        debug_assert!(is_pushed, "an empty batch takes every record");
        let promise = DeliveryPromise::new(self.topic_partition.clone(), self.unobserved.clone());
        self.open =
            Some(UnsentBatch { builder, promise, reserved: 0, since: now, expected_end: None, is_spared: false });
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
        let mut batch = self.sealed.pop_front()?;
        if self.is_empty() {
            self.next_expiry = None;
        }
        if 0 < batch.promise.settled_count() {
            batch.withdraw_settled();
        }
        Some(batch)
    }

    /// Returns the time at which the linger of the open batch ends.
    pub(super) fn due(&self) -> Option<Instant> {
        self.open.as_ref().map(|batch| Deadline::of(batch.since, self.settings.linger).end())
    }

    /// Whether it holds no record.
    pub(super) fn is_empty(&self) -> bool {
        self.sealed.is_empty() && self.open.is_none()
    }

    /// Returns the time at which [`Accumulator::expire`] is due.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.next_expiry
    }

    /// Takes the records with a deadline at or before `now`; returns the memory that it releases too. The bytes of
    /// records that expire before others of their batch are removed later, many at once.
    pub(super) fn expire(&mut self, now: Instant) -> (Vec<ExpiredRecords>, usize) {
        if self.next_expiry.is_none_or(|next| now < next) {
            return (Vec::new(), 0);
        }
        let (mut expired, mut released) = (Vec::new(), 0);
        for batch in self.sealed.iter_mut().chain(&mut self.open) {
            released += batch.expire(now, &mut expired);
        }
        self.sealed.retain(|batch| !batch.promise.is_settled());
        self.open = self.open.take().filter(|batch| !batch.promise.is_settled());
        if self.open.as_ref().is_some_and(|open| EXPIRING_RECORDS_MAX <= open.promise.added()) {
            self.seal();
        }
        let earliest = self.sealed.iter().chain(&self.open).filter_map(|batch| batch.promise.earliest_deadline()).min();
        self.next_expiry = earliest.map(|earliest| earliest.max(now + EXPIRY_PAUSE));
        (expired, released)
    }

    /// The producer's memory that its records hold, in bytes.
    #[cfg(test)]
    pub(super) fn reserved(&self) -> usize {
        self.sealed.iter().chain(&self.open).map(|batch| batch.reserved).sum()
    }

    /// Seals the open batch and spares all batches from a stop that follows.
    pub(super) fn spare_queued(&mut self) {
        self.seal();
        self.sealed.iter_mut().for_each(|batch| batch.is_spared = true);
    }

    /// Takes all batches, or only those that are not spared.
    pub(super) fn take_stopped(&mut self, spares_queued: bool) -> VecDeque<UnsentBatch> {
        let (spared, stopped): (VecDeque<_>, _) = self.take_all().partition(|batch| spares_queued && batch.is_spared);
        self.sealed = spared;
        self.next_expiry = self.sealed.iter().filter_map(|batch| batch.promise.earliest_deadline()).min();
        stopped
    }

    /// Takes all batches.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = UnsentBatch> {
        self.next_expiry = None;
        self.sealed.drain(..).chain(self.open.take())
    }

    /// Counts the records without an outcome.
    pub(super) fn count_unsettled(&self, unsettled: &mut UnsettledRecords) {
        self.sealed
            .iter()
            .chain(&self.open)
            .for_each(|batch| unsettled.add(&batch.promise, batch.builder.size(), false));
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
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test is the shell of what it tests")]
mod tests;
