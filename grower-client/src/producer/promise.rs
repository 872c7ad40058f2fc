//! The producer's end of the delivery of a batch.

use super::delivery::{BatchCompletion, BatchDelivery, Delivery, DeliveryOutcome};
use super::record_runs::{LiveRecords, RecordRuns};
use super::unobserved::UnobservedFailures;
use crate::deadline::Deadline;
use crate::error::ProduceError;
use crate::record::TopicPartition;
use grower_protocol::ids::Timestamp;
use std::ops::Range;
use std::sync::Arc;
use std::task::Waker;
use tokio::time::Instant;

/// Owes an outcome to the records of one batch, or of a part of it. A dropped promise settles its records, so no caller
/// waits forever.
#[derive(Debug)]
pub(super) struct DeliveryPromise {
    shared: Arc<BatchDelivery>,
    records: RecordRuns,
}

/// Records whose deadline passed.
#[derive(Debug)]
pub(super) struct ExpiredRecords {
    pub(super) promise: DeliveryPromise,
    pub(super) deadline: Deadline,
}

impl DeliveryPromise {
    /// Creates the promise of an empty batch.
    pub(super) fn new(topic_partition: TopicPartition, unobserved: Arc<UnobservedFailures>) -> Self {
        Self { shared: Arc::new(BatchDelivery::new(topic_partition, unobserved)), records: RecordRuns::default() }
    }

    /// The number of records in the bytes of its batch.
    pub(super) fn count(&self) -> u32 {
        self.records.count()
    }

    /// Adds a record and returns its index in the batch.
    pub(super) fn extend(&mut self, deadline: Deadline) -> u32 {
        self.records.push(deadline)
    }

    /// Returns the delivery of the record with this index.
    pub(super) fn delivery(&self, index: u32, timestamp: Timestamp) -> Delivery {
        Delivery::new(self.shared.clone(), index, timestamp)
    }

    /// The state of the batch that its records belong to.
    pub(super) fn batch(&self) -> &Arc<BatchDelivery> {
        &self.shared
    }

    pub(super) fn topic_partition(&self) -> &TopicPartition {
        self.shared.topic_partition()
    }

    /// Splits off all records after the first `count`.
    pub(super) fn split_off(&mut self, count: u32) -> Self {
        debug_assert!(0 < count && count < self.count(), "{count} of {:?}", self.records);
        self.part(|records| records.split_off(count))
    }

    /// Takes all records and leaves an empty promise.
    pub(super) fn take(&mut self) -> Self {
        self.part(RecordRuns::take)
    }

    /// Takes the records whose deadline is at or before `now`. They stay in the bytes of the batch until
    /// [`DeliveryPromise::withdraw_settled`].
    pub(super) fn expire(&mut self, now: Instant) -> Vec<ExpiredRecords> {
        let expired = self.records.expire(now).into_iter();
        let shared = &self.shared;
        let promise = |records| Self { shared: shared.clone(), records };
        expired.map(|(records, deadline)| ExpiredRecords { promise: promise(records), deadline }).collect()
    }

    /// Takes the records at these positions of the bytes, which rise. They stay in the bytes of the batch until
    /// [`DeliveryPromise::withdraw_settled`].
    pub(super) fn take_at(&mut self, positions: impl IntoIterator<Item = Range<u32>>) -> Self {
        self.part(|records| records.settle(positions))
    }

    /// Forgets the records that are settled already; returns the positions of the others, to keep in the bytes.
    pub(super) fn withdraw_settled(&mut self) -> Vec<Range<u32>> {
        self.records.withdraw_settled()
    }

    /// The number of records that were added to its batch, with those that have left it.
    pub(super) fn added(&self) -> u32 {
        self.records.added()
    }

    /// The number of records in the bytes that are settled already.
    pub(super) fn settled_count(&self) -> u32 {
        self.records.settled_count()
    }

    /// Whether no record waits for an outcome.
    pub(super) fn is_settled(&self) -> bool {
        self.records.are_settled()
    }

    /// Whether all its unsettled records have a deadline at or before `now`.
    pub(super) fn expires_whole(&self, now: Instant) -> bool {
        self.records.latest().is_none_or(|latest| latest <= now)
    }

    /// The earliest deadline of its unsettled records.
    pub(super) fn earliest_deadline(&self) -> Option<Instant> {
        self.records.earliest()
    }

    /// The number of its unsettled records.
    pub(super) fn live_count(&self) -> u64 {
        self.records.live_count()
    }

    /// The time of the call that handed in its oldest unsettled record.
    pub(super) fn handed_in(&self) -> Option<Instant> {
        self.records.handed_in()
    }

    /// Returns a future that resolves once all its records are settled.
    pub(super) fn completion(&self) -> BatchCompletion {
        BatchCompletion::new(self.shared.clone(), self.records.span())
    }

    /// Settles all its records. The caller must wake the returned wakers outside all locks.
    pub(super) fn settle(mut self, outcome: &DeliveryOutcome) -> Vec<Waker> {
        self.settle_all(outcome)
    }

    /// Settles all its records and wakes their callers.
    #[cfg(test)]
    pub(super) fn resolve(self, outcome: &DeliveryOutcome) {
        self.settle(outcome).into_iter().for_each(Waker::wake);
    }

    fn settle_all(&mut self, outcome: &DeliveryOutcome) -> Vec<Waker> {
        let records = self.records.take();
        self.shared.settle(records.live().map(|LiveRecords { indices, position }| {
            let outcome = outcome.as_ref().map_err(ProduceError::clone);
            (indices, outcome.map(|ack| ack.of_record(position)))
        }))
    }

    fn part(&mut self, take: impl FnOnce(&mut RecordRuns) -> RecordRuns) -> Self {
        Self { shared: self.shared.clone(), records: take(&mut self.records) }
    }
}

impl Drop for DeliveryPromise {
    fn drop(&mut self) {
        if !self.is_settled() {
            self.settle_all(&Err(ProduceError::Dropped)).into_iter().for_each(Waker::wake);
        }
    }
}
