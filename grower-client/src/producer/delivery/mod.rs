//! The caller's end of the delivery of records, with one allocation per batch.
//!
//! The producer's end is a [`DeliveryPromise`](super::promise::DeliveryPromise) of a batch. The caller's end is a
//! [`Delivery`] for one record, or [`Deliveries`](super::Deliveries) for many.

use super::unobserved::{FailedRecords, UnobservedFailures};
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

impl BatchAck {
    /// The acknowledgement of the records from the one at `position` on.
    pub(super) fn of_record(self, position: u32) -> Self {
        Self { base_offset: self.base_offset.map(|base| base.saturating_add(position.into())), ..self }
    }
}

/// The outcome of a range of records.
pub(super) type DeliveryOutcome = Result<BatchAck, ProduceError>;

/// The state that both ends of a batch share.
#[derive(Debug)]
pub(super) struct BatchDelivery {
    topic_partition: TopicPartition,
    unobserved: Arc<UnobservedFailures>,
    state: Mutex<DeliveryState>,
}

#[derive(Debug, Default)]
struct DeliveryState {
    /// Sorted by their records, which never overlap.
    outcomes: Vec<SettledRange>,
    wakers: Vec<Waker>,
    /// The number of changes of `outcomes`.
    version: usize,
    /// The records with a delivery that was dropped before its caller saw an outcome, in the order of the drops.
    dropped: Vec<Range<u32>>,
}

/// Records with the same outcome.
#[derive(Debug)]
struct SettledRange {
    records: Range<u32>,
    outcome: DeliveryOutcome,
    /// A flush has reported that they failed.
    is_reported: bool,
}

/// Resolves to the record's ack. If it is dropped, the record is sent nevertheless; see [`super::Producer::flush`].
#[derive(Debug)]
#[must_use = "await it to learn the record's outcome"]
pub struct Delivery {
    shared: Arc<BatchDelivery>,
    index: u32,
    timestamp: Timestamp,
    slot: Option<WakerSlot>,
    seen: bool,
}

/// Resolves once all records of a promise are settled.
#[derive(Debug)]
pub(super) struct BatchCompletion {
    shared: Arc<BatchDelivery>,
    records: Range<u32>,
    slot: Option<WakerSlot>,
}

/// The failed records of a batch.
#[derive(Debug, Default)]
pub(super) struct FailedBatchRecords {
    /// Those with a dropped delivery: they count among the unobserved failures too.
    pub(super) dropped: FailedRecords,
    /// The others.
    pub(super) held: FailedRecords,
}

/// The index of a future's waker, valid until the next outcome.
#[derive(Clone, Copy, Debug)]
pub(super) struct WakerSlot {
    version: usize,
    at: usize,
}

impl BatchDelivery {
    pub(super) fn new(topic_partition: TopicPartition, unobserved: Arc<UnobservedFailures>) -> Self {
        Self { topic_partition, unobserved, state: Mutex::default() }
    }

    pub(super) fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    /// Settles ranges of records, in order; returns the callers to wake.
    pub(super) fn settle(&self, settled: impl Iterator<Item = (Range<u32>, DeliveryOutcome)>) -> Vec<Waker> {
        let mut state = self.state.lock();
        for (records, outcome) in settled {
            if let Err(error) = &outcome {
                self.unobserved.add(state.dropped_of(&records), error);
            }
            state.insert(SettledRange { records, outcome, is_reported: false });
        }
        state.version += 1;
        std::mem::take(&mut state.wakers)
    }

    /// Returns the outcome of record `index` and the range of records that share it, or registers `context`.
    pub(super) fn poll(
        &self,
        index: u32,
        slot: &mut Option<WakerSlot>,
        context: &Context<'_>,
    ) -> Poll<(Range<u32>, DeliveryOutcome)> {
        let mut state = self.state.lock();
        match state.outcome(index) {
            Some(settled) => Poll::Ready((settled.records.clone(), settled.outcome.clone())),
            None => {
                state.wake_later(slot, context);
                Poll::Pending
            }
        }
    }

    /// Ends the delivery of records whose outcome no caller will see.
    pub(super) fn drop_deliveries(&self, records: Range<u32>) {
        let mut state = self.state.lock();
        for settled in state.outcomes.iter().filter(|settled| !settled.is_reported) {
            if let Err(error) = &settled.outcome {
                self.unobserved.add(overlap(&settled.records, &records).into(), error);
            }
        }
        state.add_dropped(records);
    }
}

impl DeliveryState {
    /// The index of the first outcome of records that end after `index`.
    fn position(&self, index: u32) -> usize {
        self.outcomes.partition_point(|settled| settled.records.end <= index)
    }

    fn outcome(&self, index: u32) -> Option<&SettledRange> {
        self.outcomes.get(self.position(index)).filter(|settled| settled.records.contains(&index))
    }

    fn insert(&mut self, settled: SettledRange) {
        debug_assert!(!settled.records.is_empty(), "an outcome without records");
        let at = self.position(settled.records.start);
        let next = self.outcomes.get(at);
        debug_assert!(next.is_none_or(|next| settled.records.end <= next.records.start), "settled twice: {settled:?}");
        self.outcomes.insert(at, settled);
    }

    /// The number of `records` with a dropped delivery.
    fn dropped_of(&self, records: &Range<u32>) -> u64 {
        self.dropped.iter().map(|dropped| u64::from(overlap(dropped, records))).sum()
    }

    fn add_dropped(&mut self, records: Range<u32>) {
        match self.dropped.last_mut().filter(|last| last.end == records.start) {
            Some(last) => last.end = records.end,
            None => self.dropped.push(records),
        }
    }

    fn are_settled(&self, records: &Range<u32>) -> bool {
        let settled: u32 = self.outcomes.iter().map(|settled| overlap(&settled.records, records)).sum();
        debug_assert!(settled <= records.len() as u32, "records {records:?} are settled twice");
        settled == records.len() as u32
    }

    /// Returns the failed ones of these records. Their deliveries report nothing more when they are dropped.
    fn report(&mut self, records: &Range<u32>) -> FailedBatchRecords {
        let mut failed = FailedBatchRecords::default();
        for at in 0..self.outcomes.len() {
            let (of, Err(error)) = (&self.outcomes[at].records, &self.outcomes[at].outcome) else { continue };
            let count = u64::from(overlap(of, records));
            let dropped = self.dropped_of(of).min(count);
            failed.dropped.add(dropped, error);
            failed.held.add(count - dropped, error);
            self.outcomes[at].is_reported |= 0 < count;
        }
        failed
    }

    fn wake_later(&mut self, slot: &mut Option<WakerSlot>, context: &Context<'_>) {
        let version = self.version;
        let mine = slot.filter(|slot| slot.version == version).and_then(|slot| self.wakers.get_mut(slot.at));
        match mine {
            Some(waker) => waker.clone_from(context.waker()),
            None => {
                *slot = Some(WakerSlot { version, at: self.wakers.len() });
                self.wakers.push(context.waker().clone());
            }
        }
    }
}

impl Delivery {
    pub(super) fn new(shared: Arc<BatchDelivery>, index: u32, timestamp: Timestamp) -> Self {
        Self { shared, index, timestamp, slot: None, seen: false }
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
            offset: ack.of_record(this.index - records.start).base_offset,
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

impl BatchCompletion {
    pub(super) fn new(shared: Arc<BatchDelivery>, records: Range<u32>) -> Self {
        Self { shared, records, slot: None }
    }

    /// Returns the failed records, for a flush that reports them.
    pub(super) fn report(&self) -> FailedBatchRecords {
        self.shared.state.lock().report(&self.records)
    }
}

impl Future for BatchCompletion {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut state = this.shared.state.lock();
        if state.are_settled(&this.records) {
            return Poll::Ready(());
        }
        state.wake_later(&mut this.slot, context);
        Poll::Pending
    }
}

/// The number of records that two ranges share.
fn overlap(one: &Range<u32>, other: &Range<u32>) -> u32 {
    one.end.min(other.end).saturating_sub(one.start.max(other.start))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test is the shell of what it tests")]
mod tests;
