//! Sends records.
//!
//! Each partition has a [`queue::PartitionQueue`]: an accumulator of records and a window of batches with sequences,
//! both pure. The [`engine::ProducerEngine`] carries out the queue's decisions over the connection that the partition's
//! [`connection_selector::ConnectionSelector`] selects.

mod accumulator;
mod append_at;
mod builder;
mod connection_selector;
mod deadline_grid;
mod deliveries;
mod delivery;
mod engine;
mod fences;
mod hand_in;
mod hand_in_many;
mod identity;
mod in_flight;
mod lookup;
mod memory;
mod on_failure;
mod partitioner;
mod promise;
mod queue;
mod reconnect;
mod record_runs;
mod runtime;
mod sequence_window;
mod split;
mod statistics;
mod timer;
mod topic;
mod unobserved;
mod yield_pace;

pub use append_at::AppendedAt;
pub use builder::ProducerBuilder;
pub use deliveries::Deliveries;
pub use delivery::Delivery;
pub use on_failure::OnFailure;
pub use partitioner::Partitioner;
pub use statistics::ProducerStatistics;

use crate::acks::RecordAcks;
use crate::deadline::Deadline;
use crate::error::{FlushError, ProduceError, SendAllError};
use crate::record::{Ack, Record};
use delivery::BatchCompletion;
use engine::ProducerEngine;
use futures_core::future::BoxFuture;
use hand_in_many::RecordIntake;
use promise::DeliveryPromise;
use std::sync::Arc;
use std::time::Duration;
use unobserved::FailedRecords;

/// Sends records; see [`crate::Client::producer`]. Clones are cheap and share all state.
///
/// Records of one partition are written once each and in the order of the calls, even if batches are sent again.
/// Dropping the last clone drops unacknowledged records: call [`Producer::flush`] or [`Producer::close`] first.
#[derive(Clone)]
pub struct Producer {
    handle: Arc<ProducerHandle>,
}

/// Stops the engine when the last producer is dropped, even if tasks still hold the engine.
struct ProducerHandle {
    engine: Arc<ProducerEngine>,
}

impl Drop for ProducerHandle {
    fn drop(&mut self) {
        self.engine.abandon();
    }
}

impl Producer {
    fn new(engine: Arc<ProducerEngine>) -> Self {
        Self { handle: Arc::new(ProducerHandle { engine }) }
    }

    /// Sends a record and waits for its ack, at most the [delivery timeout](ProducerBuilder::delivery_timeout).
    ///
    /// If the future is dropped before it completes, a record that waits for its topic or for memory is not sent. A
    /// queued one is sent nevertheless, until its deadline, and [`Producer::flush`] reports its failure.
    pub async fn send(&self, record: Record) -> Result<Ack, ProduceError> {
        self.enqueue(record).await?.await
    }

    /// Sends a record and waits for its ack, at most `limit` in place of the delivery timeout. The limit covers all that
    /// the record waits for: the lookup of its topic, memory, and delivery. A record that was not sent by then is
    /// withdrawn. [`ProduceError::outcome`] tells whether it may have been written. A dropped future is like that of
    /// [`Producer::send`].
    pub async fn send_within(&self, record: Record, limit: Duration) -> Result<Ack, ProduceError> {
        self.enqueue_within(record, limit).await?.await
    }

    /// Sends records, of any topics and partitions, and waits for their acks. Costs far less for each record than many
    /// calls of [`Producer::send`] and promises the same.
    ///
    /// If some records fail, the error names exactly those by their index. If the future is dropped before it
    /// completes, the records queued so far are sent nevertheless, and none of the others.
    pub async fn send_all(&self, records: impl IntoIterator<Item = Record>) -> Result<RecordAcks, SendAllError> {
        self.enqueue_all(records).await.await
    }

    /// Queues a record, and waits only for its topic and for free memory of the producer, at most the delivery timeout.
    /// The returned [`Delivery`] resolves to the ack, or fails at the delivery timeout after this call.
    ///
    /// If the future is dropped before it completes, the record is not queued.
    pub async fn enqueue(&self, record: Record) -> Result<Delivery, ProduceError> {
        self.enqueue_within(record, self.handle.engine.settings.delivery_timeout).await
    }

    /// Queues a record like [`Producer::enqueue`], with `limit` in place of the delivery timeout; see
    /// [`Producer::send_within`].
    pub async fn enqueue_within(&self, record: Record, limit: Duration) -> Result<Delivery, ProduceError> {
        let engine = &self.handle.engine;
        let deadline = engine.deadline(limit);
        engine.yield_pace.keep().await;
        match engine.try_enqueue(&record, deadline) {
            Some(delivery) => Ok(delivery),
            None => self.enqueue_later(&record, deadline).await,
        }
    }

    /// A future of its own, since few records need it.
    fn enqueue_later<'a>(
        &'a self,
        record: &'a Record,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<Delivery, ProduceError>> {
        Box::pin(self.handle.engine.enqueue(record, deadline, true, DeliveryPromise::delivery))
    }

    /// Queues records in their order, and waits only for free memory of the producer. The returned [`Deliveries`]
    /// resolve to the acks.
    ///
    /// A record that cannot be queued fails alone. If no memory is free within the delivery timeout, all records that the
    /// input has by then fail. If the future is dropped before it completes, the records queued so far
    /// are sent nevertheless, and none of the others.
    ///
    /// Records of concurrent calls may come between those of this one. The outcomes take some memory and are returned
    /// after the input ends, and a slow input holds up to 127 records back: hand an endless input in by parts.
    pub async fn enqueue_all(&self, records: impl IntoIterator<Item = Record>) -> Deliveries {
        let mut intake = RecordIntake::new(&self.handle.engine);
        self.handle.engine.yield_pace.keep().await; // Before the first record too: the calls may be small.
        for record in records {
            if intake.add(record) {
                if !intake.hand_in() {
                    intake.hand_in_rest().await;
                }
                self.handle.engine.yield_pace.keep().await;
            }
        }
        if !intake.hand_in() {
            intake.hand_in_rest().await;
        }
        intake.into_deliveries()
    }

    /// Ends the linger of all open batches and sends them now. Useful before waiting for acks: no further record could
    /// fill the batches during the linger. A full memory has the same effect.
    pub fn end_lingers(&self) {
        self.handle.engine.end_lingers();
    }

    /// Waits until each queued record is acknowledged or has failed, at most until the latest of their deadlines.
    ///
    /// Fails if any of them failed. Records that failed since the last flush count too if no caller saw that, because
    /// their [`Delivery`] was dropped. Each failure is reported once.
    ///
    /// After records that failed with [`Outcome::Unknown`](crate::Outcome::Unknown) it also waits for the fences of their
    /// partitions, at most the delivery timeout: then the records are in the log, or never will be. With
    /// acks `leader` a reader may see them a moment later, once they are committed.
    pub async fn flush(&self) -> Result<(), FlushError> {
        let result = self.settle_all().await;
        let engine = &self.handle.engine;
        let end_of_doubt = engine.end_doubt(engine::now() + engine.settings.delivery_timeout).await;
        result.and(end_of_doubt.map_err(|first| FlushError { failed: 0, first }))
    }

    /// Waits until all queued records are settled.
    async fn settle_all(&self) -> Result<(), FlushError> {
        let engine = &self.handle.engine;
        let mut unsettled = Vec::new();
        for topic in engine.topics() {
            for partition in topic.partitions() {
                unsettled.extend(partition.lock().queue.flush());
                engine.drain(&topic, &partition);
            }
        }
        for batch in &mut unsettled {
            batch.await;
        }
        let (mut dropped, mut held) = (FailedRecords::default(), FailedRecords::default());
        for failed in unsettled.iter().map(BatchCompletion::report) {
            dropped.append(failed.dropped);
            held.append(failed.held);
        }
        let mut failed = engine.unobserved.take();
        if failed.count < dropped.count {
            failed = dropped; // A concurrent flush reports them too.
        }
        failed.append(held);
        failed.into_result()
    }

    /// Rejects further records of all clones, and waits until each queued one is acknowledged or has failed. The result
    /// is that of [`Producer::flush`], without a wait for fences. Further calls, of any clone, return the same result.
    pub async fn close(&self) -> Result<(), FlushError> {
        let engine = &self.handle.engine;
        let closing = async {
            engine.close();
            let result = self.settle_all().await;
            engine.abandon();
            result
        };
        engine.close_result.get_or_init(|| closing).await.clone()
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test is the shell of what it tests")]
mod tests;
