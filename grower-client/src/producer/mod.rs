//! Sends records.
//!
//! Each partition has a [`queue::PartitionQueue`]: an accumulator of records and a window of batches with sequences,
//! both pure. The [`engine::ProducerEngine`] carries out the queue's decisions over the connection that the partition's
//! [`connection_selector::ConnectionSelector`] selects.

mod accumulator;
mod builder;
mod connection_selector;
mod delivery;
mod engine;
mod in_flight;
mod lookup;
mod memory;
mod partitioner;
mod queue;
mod reconnect;
mod sequence_window;
mod split;
mod timer;
mod topic;
mod yield_pace;

pub use builder::ProducerBuilder;
pub use delivery::Delivery;
pub use partitioner::Partitioner;

use crate::error::ProduceError;
use crate::record::{Ack, Record};
use engine::ProducerEngine;
use grower_protocol::ids::{PartitionId, Timestamp, TopicName};
use memory::MemoryReservation;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use topic::{ProducerPartition, ProducerTopic};

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

    /// Sends a record and waits for its ack.
    pub async fn send(&self, record: Record) -> Result<Ack, ProduceError> {
        self.enqueue(record).await?.await
    }

    /// Queues a record, and waits only for free memory of the producer, at most the delivery timeout. The returned
    /// [`Delivery`] resolves to the ack.
    ///
    /// If the future is dropped before it completes, the record is not queued.
    pub async fn enqueue(&self, record: Record) -> Result<Delivery, ProduceError> {
        let engine = &self.handle.engine;
        if engine.is_closed() {
            return Err(ProduceError::Closed);
        }
        engine.yield_pace.keep().await;
        let wanted = record.partition;
        let (mut topic, mut partition) = self.route(&record).await?;
        let reservation = self.reserve(&record, &topic, &partition).await?;
        engine.check_bulk();
        let timestamp = record.timestamp.unwrap_or_else(wall_clock);
        let record = record.into_batch_record(timestamp);
        loop {
            if let Some(delivery) = engine.push(&topic, &partition, &record, reservation.bytes) {
                engine.yield_pace.queued(reservation.bytes);
                reservation.hand_in();
                return Ok(delivery);
            }
            if engine.is_closed() {
                return Err(ProduceError::Closed);
            }
            // The topic was deleted during the wait for memory. It may exist again.
            (topic, partition) = self.route_again(&topic.name, wanted, record.key.as_deref()).await?;
        }
    }

    /// Ends the linger of all open batches and sends them now. Useful before waiting for acks: no further record could
    /// fill the batches during the linger. A full memory has the same effect.
    pub fn end_lingers(&self) {
        self.handle.engine.end_lingers();
    }

    /// Waits until all queued records are settled; fails with the error of the first record that failed. Earlier
    /// failures count too if their [`Delivery`] was dropped without being awaited. Each failure is reported once.
    pub async fn flush(&self) -> Result<(), ProduceError> {
        let engine = &self.handle.engine;
        let mut unsettled = Vec::new();
        for topic in engine.topics() {
            for partition in topic.partitions() {
                unsettled.extend(partition.lock().queue.flush());
                engine.drain(&topic, &partition);
            }
        }
        let mut first = engine.unobserved.take();
        for batch in unsettled {
            first = first.or(batch.await.err());
        }
        first.or(engine.unobserved.take()).map_or(Ok(()), Err)
    }

    /// Rejects further records of all clones and flushes.
    pub async fn close(&self) -> Result<(), ProduceError> {
        self.handle.engine.close();
        let result = self.flush().await;
        self.handle.engine.abandon();
        result
    }

    async fn route(&self, record: &Record) -> Result<(Arc<ProducerTopic>, Arc<ProducerPartition>), ProduceError> {
        let engine = &self.handle.engine;
        let topic = match engine.known_topic(&record.topic) {
            Some(topic) => topic,
            None => engine.look_up(&record.topic).await?,
        };
        let key = record.key.as_deref();
        match topic.route(record.partition, key, engine.settings.partitioner) {
            Some(partition) => Ok((topic, partition)),
            None => self.route_again(&topic.name, record.partition, key).await, // The topic may have grown.
        }
    }

    async fn route_again(
        &self,
        name: &TopicName,
        wanted: Option<PartitionId>,
        key: Option<&[u8]>,
    ) -> Result<(Arc<ProducerTopic>, Arc<ProducerPartition>), ProduceError> {
        let engine = &self.handle.engine;
        let topic = engine.look_up(name.as_str()).await?;
        match topic.route(wanted, key, engine.settings.partitioner) {
            Some(partition) => Ok((topic, partition)),
            None => Err(ProduceError::UnknownPartition {
                topic: name.clone(),
                partition: wanted.unwrap_or_default(),
                partitions: topic.count(),
            }),
        }
    }

    async fn reserve(
        &self,
        record: &Record,
        topic: &ProducerTopic,
        partition: &ProducerPartition,
    ) -> Result<MemoryReservation<'_>, ProduceError> {
        let engine = &self.handle.engine;
        let max_wait = engine.settings.window.delivery_timeout;
        let reservation = engine.memory.reserve(record, max_wait, || engine.end_lingers()).await?;
        reservation.ok_or_else(|| {
            let topic_partition = topic.topic_partition(partition.number);
            ProduceError::timed_out(&topic_partition, max_wait, false, partition.lock().queue.last_error())
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test is the shell of what it tests")]
mod tests;
