//! Appends records only if a partition ends where the caller expects it.

use super::Producer;
use super::delivery::Delivery;
use super::engine::{ProducerEngine, now};
use super::hand_in::wall_clock;
use super::memory;
use crate::error::{AppendAtError, ProduceError};
use crate::record::Record;
use grower_protocol::ids::{Offset, PartitionId};
use grower_protocol::message::{Acks, Durability};
use std::ops::Range;
use std::sync::Arc;

/// Records that were appended together at an expected end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppendedAt {
    /// Their offsets. The partition ended at `offsets.end` when they were written.
    pub offsets: Range<Offset>,
    /// The durability that the ack guarantees.
    pub durability: Durability,
}

impl Producer {
    /// Appends records to a partition in one batch, only if the partition ends at `expected_end`. Otherwise nothing is
    /// written, and [`AppendAtError::UnexpectedEnd`] tells the actual end.
    ///
    /// At most one of several callers that expect the same end succeeds. So a log can elect a leader, or guard a state:
    /// read to the end, decide, and append at the consumer's [`position`](crate::Consumer::position). After an unexpected
    /// end, read on until the position reaches the actual end, and decide again. Readers may see the last records before
    /// that end a moment later.
    ///
    /// The batch is never split, whatever the limits of the producer's batches. It is written after all records that
    /// this producer handed in before for the partition, and sent again until the delivery timeout, without being
    /// written twice. After an unknown outcome, call [`Producer::flush`] before you look into the log: after it the records
    /// are in the log, or never will be. If the future is dropped, the records may be written nevertheless.
    pub async fn append_at(
        &self,
        topic: impl AsRef<str>,
        partition: impl Into<PartitionId>,
        expected_end: Offset,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<AppendedAt, AppendAtError> {
        let records = records.into_iter().collect();
        Box::pin(self.handle.engine.append_at(topic.as_ref(), partition.into(), expected_end, records)).await
    }
}

impl ProducerEngine {
    async fn append_at(
        self: &Arc<Self>,
        topic: &str,
        partition: PartitionId,
        expected_end: Offset,
        records: Vec<Record>,
    ) -> Result<AppendedAt, AppendAtError> {
        let is_elsewhere = |record: &Record| {
            *record.topic != *topic || record.partition.is_some_and(|of_record| of_record != partition)
        };
        if self.settings.acks == Acks::None {
            return Err(AppendAtError::NoAcks);
        }
        if records.is_empty() {
            return Err(AppendAtError::NoRecords);
        }
        if let Some(index) = records.iter().position(is_elsewhere) {
            return Err(AppendAtError::OtherPartition { index });
        }
        let delivery = self.enqueue_at(topic, partition, expected_end, &records).await?;
        let ack = delivery.await.map_err(|error| AppendAtError::at(expected_end, error))?;
        let base = ack.offset.unwrap_or(expected_end);
        debug_assert_eq!(base, expected_end, "the broker appended elsewhere");
        let offsets = base..base.saturating_add(records.len() as u64);
        Ok(AppendedAt { offsets, durability: ack.durability })
    }

    /// Queues the records as a batch of their own; returns the delivery of the first one.
    async fn enqueue_at(
        self: &Arc<Self>,
        topic: &str,
        partition: PartitionId,
        expected_end: Offset,
        records: &[Record],
    ) -> Result<Delivery, ProduceError> {
        let deadline = self.deadline(self.settings.delivery_timeout);
        let bytes = records.iter().map(memory::size).sum();
        loop {
            if self.is_closed() {
                return Err(self.closed_error());
            }
            let (topic, partition) = self.find_partition(topic, partition, deadline).await?;
            let reserving = self.memory.reserve_bytes(bytes, Some(deadline.end()), || self.end_lingers()).await;
            let mut reservation = self.reserved(reserving, &topic, &partition, deadline)?;
            self.check_bulk();
            let timestamp = wall_clock();
            let refs = records.iter().map(|record| record.at(record.timestamp.unwrap_or(timestamp)));
            let delivery = self.push(&topic, &partition, |queue| {
                let promise = queue.push_at(refs, bytes, deadline, expected_end, now());
                (promise.delivery(0, records[0].timestamp.unwrap_or(timestamp)), true)
            });
            if let Some(delivery) = delivery {
                reservation.hand_in(bytes);
                self.yield_pace.queued(bytes);
                return Ok(delivery);
            } // The topic was deleted during the wait for memory. It may exist again.
        }
    }
}
