//! Delivers the outcomes of many records to one caller: an entry per batch and per run of consecutive records.

use super::delivery::{BatchDelivery, WakerSlot};
use super::promise::DeliveryPromise;
use super::unobserved::UnobservedFailures;
use crate::acks::{AckRange, RecordAcks};
use crate::error::{FailedRange, ProduceError, SendAllError};
use grower_protocol::ids::Timestamp;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Resolves to the acks of many records. [`Deliveries::next`] returns them one range after the other.
///
/// Dropping it does not take the records back. Failures that it did not return count for
/// [`Producer::flush`](crate::Producer::flush), like those of a dropped [`Delivery`](crate::Delivery).
#[derive(Debug)]
#[must_use = "await it to learn the outcomes of the records"]
pub struct Deliveries {
    batches: Vec<AwaitedBatch>,
    /// In the order of the input. Those before `next` are settled.
    runs: Vec<DeliveryRun>,
    next: usize,
    /// The number of settled records.
    settled: usize,
    acks: RecordAcks,
    failed: Vec<FailedRange>,
    unobserved: Arc<UnobservedFailures>,
}

/// A batch that holds some of the records.
#[derive(Debug)]
struct AwaitedBatch {
    delivery: Arc<BatchDelivery>,
    slot: Option<WakerSlot>,
}

/// Consecutive records of the input.
#[derive(Debug)]
struct DeliveryRun {
    count: u32,
    state: RunState,
}

#[derive(Debug)]
enum RunState {
    /// They stand together in a batch, the first one at this index.
    Queued { batch: usize, first: u32, timestamp: Timestamp },
    /// They were not queued.
    Failed(Arc<ProduceError>),
}

/// The batches that a new record is compared with. A batch that is found no more gets another entry, which is harmless.
const OPEN_BATCHES: usize = 16;

impl Deliveries {
    pub(super) fn new(unobserved: Arc<UnobservedFailures>) -> Self {
        Self {
            batches: Vec::new(),
            runs: Vec::new(),
            next: 0,
            settled: 0,
            acks: RecordAcks::default(),
            failed: Vec::new(),
            unobserved,
        }
    }

    /// Adds the record of `promise` with this index.
    pub(super) fn add(&mut self, promise: &DeliveryPromise, index: u32, added_at: Timestamp) {
        if let Some(DeliveryRun { count, state: RunState::Queued { batch, first, timestamp } }) = self.runs.last_mut()
            && *first + *count == index
            && *timestamp == added_at
            && Arc::ptr_eq(&self.batches[*batch].delivery, promise.batch())
        {
            *count += 1;
            return;
        }
        let batch = self.batch(promise.batch());
        self.runs.push(DeliveryRun { count: 1, state: RunState::Queued { batch, first: index, timestamp: added_at } });
    }

    /// Adds a record that failed before it was queued. Records that fail alike stand together.
    pub(super) fn add_failed(&mut self, error: Arc<ProduceError>) {
        if let Some(DeliveryRun { count, state: RunState::Failed(last) }) = self.runs.last_mut()
            && *count < u32::MAX
            && is_same(last, &error)
        {
            *count += 1;
            return;
        }
        self.runs.push(DeliveryRun { count: 1, state: RunState::Failed(error) });
    }

    fn batch(&mut self, delivery: &Arc<BatchDelivery>) -> usize {
        let recent = self.batches.iter().enumerate().rev().take(OPEN_BATCHES);
        let known = recent.filter(|(_, batch)| Arc::ptr_eq(&batch.delivery, delivery)).map(|(at, _)| at).next();
        known.unwrap_or_else(|| {
            self.batches.push(AwaitedBatch { delivery: delivery.clone(), slot: None });
            self.batches.len() - 1
        })
    }

    /// Waits for the outcome of the next records, in the order of the input; `None` once all are returned. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<AckRange, FailedRange>> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &Context<'_>) -> Poll<Option<Result<AckRange, FailedRange>>> {
        let Some(run) = self.runs.get_mut(self.next) else { return Poll::Ready(None) };
        let (batch, first, timestamp) = match &run.state {
            RunState::Queued { batch, first, timestamp } => (*batch, *first, *timestamp),
            RunState::Failed(error) => {
                let (error, count) = (ProduceError::clone(error), run.count);
                let records = self.settle(count);
                return Poll::Ready(Some(Err(FailedRange { records, error })));
            }
        };
        let AwaitedBatch { delivery, slot } = &mut self.batches[batch];
        let (together, outcome) = ready!(delivery.poll(first, slot, context));
        let count = run.count.min(together.end - first); // A batch may have been split since.
        let topic_partition = delivery.topic_partition().clone();
        let records = self.settle(count);
        Poll::Ready(Some(match outcome {
            Ok(ack) => Ok(AckRange {
                records,
                topic: topic_partition.topic,
                partition: topic_partition.partition,
                base_offset: ack.of_record(first - together.start).base_offset,
                timestamp,
                durability: ack.durability,
            }),
            Err(error) => Err(FailedRange { records, error }),
        }))
    }

    /// Takes the first `count` records of the next run; returns their range in the input.
    fn settle(&mut self, count: u32) -> Range<usize> {
        let run = &mut self.runs[self.next];
        debug_assert!(0 < count && count <= run.count, "{count} of {run:?}");
        run.count -= count;
        if let RunState::Queued { first, .. } = &mut run.state {
            *first += count;
        }
        if run.count == 0 {
            self.next += 1;
        }
        let records = self.settled..self.settled + count as usize;
        self.settled = records.end;
        records
    }
}

/// Whether two errors tell the same.
fn is_same(one: &Arc<ProduceError>, other: &Arc<ProduceError>) -> bool {
    Arc::ptr_eq(one, other) || format!("{one:?}") == format!("{other:?}")
}

/// Covers the records that [`Deliveries::next`] has not returned.
impl Future for Deliveries {
    type Output = Result<RecordAcks, SendAllError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while let Some(settled) = ready!(this.poll_next(context)) {
            match settled {
                Ok(range) => this.acks.push(range),
                Err(range) => this.failed.push(range),
            }
        }
        let (acks, failed) = (std::mem::take(&mut this.acks), std::mem::take(&mut this.failed));
        Poll::Ready(if failed.is_empty() { Ok(acks) } else { Err(SendAllError::new(acks, failed)) })
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        for FailedRange { records, error } in &self.failed {
            self.unobserved.add(records.len() as u64, error); // Settled before the future was dropped.
        }
        for DeliveryRun { count, state } in self.runs.drain(..).skip(self.next) {
            match state {
                RunState::Queued { batch, first, .. } => {
                    self.batches[batch].delivery.drop_deliveries(first..first + count);
                }
                RunState::Failed(error) => self.unobserved.add(count.into(), &error),
            }
        }
    }
}
