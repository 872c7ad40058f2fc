//! Delivers the outcome of each record to its caller, with one allocation per batch.
//!
//! A [`DeliveryPromise`] is the producer's end and covers a range of records of one batch. The caller's end is a
//! [`Delivery`] for one record, or [`Deliveries`](super::Deliveries) for many. A dropped promise settles its records,
//! so no caller waits forever.

use crate::error::ProduceError;
use crate::record::{Ack, TopicPartition};
use grower_protocol::ids::{Offset, Timestamp};
use grower_protocol::message::Durability;
use parking_lot::Mutex;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

/// The broker's acknowledgement of a range of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchAck {
    /// The offset of the range's first record; `None` with acks `none`.
    pub(super) base_offset: Option<Offset>,
    pub(super) durability: Durability,
}

/// The outcome of a range of records.
pub(super) type DeliveryOutcome = Result<BatchAck, ProduceError>;

/// The first error that no caller observed since the last [`UnobservedError::take`].
#[derive(Debug, Default)]
pub(super) struct UnobservedError(Mutex<Option<ProduceError>>);

impl UnobservedError {
    pub(super) fn record(&self, error: &ProduceError) {
        self.0.lock().get_or_insert_with(|| error.clone());
    }

    pub(super) fn take(&self) -> Option<ProduceError> {
        self.0.lock().take()
    }
}

/// The state that both ends of a batch share.
#[derive(Debug)]
pub(super) struct BatchDelivery {
    topic_partition: TopicPartition,
    unobserved: Arc<UnobservedError>,
    state: Mutex<DeliveryState>,
}

#[derive(Debug, Default)]
struct DeliveryState {
    /// One entry, or several if the batch was split. Their ranges never overlap.
    outcomes: Vec<(Range<u32>, DeliveryOutcome)>,
    wakers: Vec<Waker>,
    /// The range from the first to the last record with a delivery that was dropped before its outcome.
    dropped: Range<u32>,
}

/// The producer's end.
#[derive(Debug)]
pub(super) struct DeliveryPromise {
    shared: Arc<BatchDelivery>,
    records: Range<u32>,
}

/// Resolves to the record's ack. Dropping it does not take the record back.
#[derive(Debug)]
#[must_use = "await it to learn the record's outcome"]
pub struct Delivery {
    shared: Arc<BatchDelivery>,
    index: u32,
    timestamp: Timestamp,
    slot: Option<WakerSlot>,
    seen: bool,
}

/// Resolves once all records of a promise are settled, to their first error if any failed.
#[derive(Debug)]
pub(super) struct BatchCompletion {
    shared: Arc<BatchDelivery>,
    records: Range<u32>,
    slot: Option<WakerSlot>,
}

/// The index of a future's waker, valid until the next outcome.
#[derive(Clone, Copy, Debug)]
pub(super) struct WakerSlot {
    outcomes: usize,
    at: usize,
}

impl DeliveryPromise {
    /// Creates the promise of an empty batch.
    pub(super) fn new(topic_partition: TopicPartition, unobserved: Arc<UnobservedError>) -> Self {
        Self { shared: Arc::new(BatchDelivery { topic_partition, unobserved, state: Mutex::default() }), records: 0..0 }
    }

    /// The number of its records.
    pub(super) fn count(&self) -> u32 {
        self.records.end - self.records.start
    }

    /// Adds a record and returns its index in the batch.
    pub(super) fn extend(&mut self) -> u32 {
        let index = self.records.end;
        self.records.end += 1;
        index
    }

    /// Adds a record and returns its delivery.
    pub(super) fn deliver(&mut self, timestamp: Timestamp) -> Delivery {
        let index = self.extend();
        Delivery { shared: self.shared.clone(), index, timestamp, slot: None, seen: false }
    }

    /// The state of the batch that its records belong to.
    pub(super) fn batch(&self) -> &Arc<BatchDelivery> {
        &self.shared
    }

    /// Splits off all records after the first `count`.
    pub(super) fn split_off(&mut self, count: u32) -> Self {
        debug_assert!(0 < count && count < self.count(), "{count} of {:?}", self.records);
        let middle = self.records.start + count;
        let tail = Self { shared: self.shared.clone(), records: middle..self.records.end };
        self.records.end = middle;
        tail
    }

    /// Takes all records and leaves an empty promise.
    pub(super) fn take(&mut self) -> Self {
        let records = std::mem::replace(&mut self.records, 0..0);
        Self { shared: self.shared.clone(), records }
    }

    /// Returns a future that resolves once all its records are settled.
    pub(super) fn completion(&self) -> BatchCompletion {
        BatchCompletion { shared: self.shared.clone(), records: self.records.clone(), slot: None }
    }

    pub(super) fn topic_partition(&self) -> &TopicPartition {
        &self.shared.topic_partition
    }

    /// Settles all its records. The caller must wake the returned wakers outside all locks.
    pub(super) fn settle(mut self, outcome: DeliveryOutcome) -> Vec<Waker> {
        self.record_outcome(outcome)
    }

    /// Settles all its records and wakes their callers.
    #[cfg(test)]
    pub(super) fn resolve(self, outcome: DeliveryOutcome) {
        self.settle(outcome).into_iter().for_each(Waker::wake);
    }

    fn record_outcome(&mut self, outcome: DeliveryOutcome) -> Vec<Waker> {
        debug_assert!(!self.records.is_empty(), "an outcome without records");
        let mut state = self.shared.state.lock();
        if let Err(error) = &outcome
            && overlap(&state.dropped, &self.records) != 0
        {
            self.shared.unobserved.record(error);
        }
        debug_assert!(
            state.outcomes.iter().all(|(records, _)| overlap(records, &self.records) == 0),
            "records {:?} are settled twice",
            self.records
        );
        state.outcomes.push((self.records.clone(), outcome));
        self.records.start = self.records.end;
        std::mem::take(&mut state.wakers)
    }
}

impl BatchDelivery {
    pub(super) fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    /// Returns the outcome of record `index` and the range of records that share it, or registers `context`.
    pub(super) fn poll(
        &self,
        index: u32,
        slot: &mut Option<WakerSlot>,
        context: &Context<'_>,
    ) -> Poll<(Range<u32>, DeliveryOutcome)> {
        self.state.lock().poll(index, slot, context)
    }

    /// Ends the delivery of records whose outcome no caller will see.
    pub(super) fn drop_deliveries(&self, records: Range<u32>) {
        let mut state = self.state.lock();
        let settled = state.outcomes.iter().filter(|(of, _)| overlap(of, &records) != 0);
        if let Some(error) = settled.clone().find_map(|(_, outcome)| outcome.as_ref().err()) {
            self.unobserved.record(error);
        }
        if settled.map(|(of, _)| overlap(of, &records)).sum::<u32>() < records.len() as u32 {
            state.record_dropped(records);
        }
    }
}

impl Drop for DeliveryPromise {
    fn drop(&mut self) {
        if !self.records.is_empty() {
            self.record_outcome(Err(ProduceError::Dropped)).into_iter().for_each(Waker::wake);
        }
    }
}

impl Future for Delivery {
    type Output = Result<Ack, ProduceError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let (records, outcome) = ready!(this.shared.poll(this.index, &mut this.slot, context));
        this.seen = true;
        Poll::Ready(outcome.map(|ack| Ack {
            topic: this.shared.topic_partition.topic.clone(),
            partition: this.shared.topic_partition.partition,
            offset: ack.base_offset.map(|base| base.saturating_add((this.index - records.start).into())),
            timestamp: this.timestamp,
            durability: ack.durability,
        }))
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.seen {
            self.shared.drop_deliveries(self.index..self.index + 1);
        }
    }
}

impl Future for BatchCompletion {
    type Output = Result<(), ProduceError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut state = this.shared.state.lock();
        match state.settled(&this.records) {
            Some(result) => Poll::Ready(result),
            None => {
                state.wake_later(&mut this.slot, context);
                Poll::Pending
            }
        }
    }
}

impl DeliveryState {
    /// Returns the outcome of `records` once all are settled: their first error, if any.
    fn settled(&self, records: &Range<u32>) -> Option<Result<(), ProduceError>> {
        let settled: u32 = self.outcomes.iter().map(|(of, _)| overlap(of, records)).sum();
        debug_assert!(settled <= records.len() as u32, "records {records:?} are settled twice");
        if settled < records.len() as u32 {
            return None;
        }
        let failed = self.outcomes.iter().filter(|(of, outcome)| overlap(of, records) != 0 && outcome.is_err());
        let first = failed.min_by_key(|(of, _)| of.start);
        Some(first.map_or(Ok(()), |(_, outcome)| outcome.clone().map(drop)))
    }

    fn poll(
        &mut self,
        index: u32,
        slot: &mut Option<WakerSlot>,
        context: &Context<'_>,
    ) -> Poll<(Range<u32>, DeliveryOutcome)> {
        match self.outcomes.iter().find(|(records, _)| records.contains(&index)) {
            Some(settled) => Poll::Ready(settled.clone()),
            None => {
                self.wake_later(slot, context);
                Poll::Pending
            }
        }
    }

    fn record_dropped(&mut self, records: Range<u32>) {
        self.dropped = match self.dropped.is_empty() {
            true => records,
            false => self.dropped.start.min(records.start)..self.dropped.end.max(records.end),
        };
    }

    fn wake_later(&mut self, slot: &mut Option<WakerSlot>, context: &Context<'_>) {
        let outcomes = self.outcomes.len();
        let mine = slot.filter(|slot| slot.outcomes == outcomes).and_then(|slot| self.wakers.get_mut(slot.at));
        match mine {
            Some(waker) => waker.clone_from(context.waker()),
            None => {
                *slot = Some(WakerSlot { outcomes, at: self.wakers.len() });
                self.wakers.push(context.waker().clone());
            }
        }
    }
}

/// The number of records that two ranges share.
fn overlap(one: &Range<u32>, other: &Range<u32>) -> u32 {
    one.end.min(other.end).saturating_sub(one.start.max(other.start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use grower_protocol::ids::{PartitionId, TopicName};
    use std::task::Waker;

    fn promise() -> DeliveryPromise {
        DeliveryPromise::new(
            TopicPartition { topic: TopicName::new("t").unwrap(), partition: PartitionId::new(0) },
            Arc::default(),
        )
    }

    fn poll(delivery: &mut Delivery) -> Poll<Result<Ack, ProduceError>> {
        Pin::new(delivery).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn offset(delivery: &mut Delivery) -> u64 {
        let Poll::Ready(Ok(ack)) = poll(delivery) else { panic!("not acknowledged") };
        ack.offset.unwrap().value()
    }

    fn at(offset: u64) -> DeliveryOutcome {
        Ok(BatchAck { base_offset: Some(Offset::new(offset)), durability: Durability::Fsynced })
    }

    #[test]
    fn each_record_of_a_batch_gets_its_own_offset() {
        let mut promise = promise();
        let mut deliveries: Vec<Delivery> = (0..3).map(|_| promise.deliver(Timestamp::default())).collect();
        assert!(poll(&mut deliveries[1]).is_pending());
        promise.resolve(at(40));
        let offsets: Vec<u64> = deliveries.iter_mut().map(offset).collect();
        assert_eq!(offsets, [40, 41, 42]);
    }

    #[test]
    fn the_parts_of_a_split_batch_have_their_own_outcomes() {
        let mut head = promise();
        let mut deliveries: Vec<Delivery> = (0..5).map(|_| head.deliver(Timestamp::default())).collect();
        let tail = head.split_off(2);
        tail.resolve(at(9));
        assert!(poll(&mut deliveries[1]).is_pending());
        head.resolve(Err(ProduceError::Closed));
        assert!(matches!(poll(&mut deliveries[1]), Poll::Ready(Err(ProduceError::Closed))));
        assert_eq!(offset(&mut deliveries[4]), 11);
    }

    #[test]
    fn an_unobserved_failure_is_kept_once() {
        let unobserved = Arc::new(UnobservedError::default());
        let promise = || {
            let topic_partition =
                TopicPartition { topic: TopicName::new("t").unwrap(), partition: PartitionId::new(0) };
            DeliveryPromise::new(topic_partition, unobserved.clone())
        };
        let kept = || unobserved.take().is_some();
        for (failed, dropped_before, looked_at, expected) in [
            (true, true, false, true),
            (true, false, false, true),
            (true, false, true, false),
            (false, true, false, false),
            (false, false, false, false),
        ] {
            let mut promise = promise();
            let mut delivery = Some(promise.deliver(Timestamp::default()));
            if dropped_before {
                delivery = None;
            }
            promise.resolve(if failed { Err(ProduceError::Closed) } else { at(1) });
            if looked_at && let Some(delivery) = &mut delivery {
                assert!(poll(delivery).is_ready());
            }
            drop(delivery);
            let case = (failed, dropped_before, looked_at);
            assert_eq!((kept(), kept()), (expected, false), "{case:?}");
        }
    }

    #[test]
    fn a_dropped_promise_says_that_the_outcome_is_unknown() {
        let mut promise = promise();
        let mut delivery = promise.deliver(Timestamp::default());
        drop(promise);
        assert!(matches!(poll(&mut delivery), Poll::Ready(Err(ProduceError::Dropped))));
    }
}
