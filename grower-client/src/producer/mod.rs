//! Sending records.
//!
//! A record goes to its partition's [`line::Line`]: an accumulator of records and a window of numbered batches, both pure.
//! The [`engine::Engine`] carries out what lines decide, over the connection that the partition's [`route::Route`] names.

mod accumulator;
mod alarm;
mod builder;
mod delivery;
mod engine;
mod entry;
mod line;
mod memory;
mod partitioner;
mod repair;
mod route;
mod topic;
mod verdict;
mod window;

pub use builder::ProducerBuilder;
pub use delivery::Delivery;
pub use partitioner::Partitioner;

use crate::error::ProduceError;
use crate::record::{Ack, Record};
use engine::Engine;
use grower_protocol::ids::Timestamp;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;
use topic::{Partition, Topic};

/// Sends records; [`crate::Client::producer`]. Cloning is cheap, and clones share everything.
///
/// Records of one partition are written in the order in which they were handed in, each once, whatever has to be sent
/// again. Dropping the last clone drops what is not acknowledged: call [`Producer::flush`] or [`Producer::close`] first.
#[derive(Clone)]
pub struct Producer {
    handle: Arc<Handle>,
}

/// Ends the engine when the last producer goes, whatever tasks still hold it.
struct Handle {
    engine: Arc<Engine>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.engine.abandon();
    }
}

impl Producer {
    fn new(engine: Arc<Engine>) -> Self {
        Self { handle: Arc::new(Handle { engine }) }
    }

    /// Sends a record and waits for its ack.
    pub async fn send(&self, record: Record) -> Result<Ack, ProduceError> {
        self.enqueue(record).await?.await
    }

    /// Hands in a record and waits only for room in the producer's memory. The [`Delivery`] resolves to the ack.
    ///
    /// Dropped before it returned, this has handed in nothing.
    pub async fn enqueue(&self, record: Record) -> Result<Delivery, ProduceError> {
        let engine = &self.handle.engine;
        if engine.is_closed() {
            return Err(ProduceError::Closed);
        }
        let topic = match engine.known(&record.topic) {
            Some(topic) => topic,
            None => engine.look_up(&record.topic).await?,
        };
        let partition = match topic.route(&record, engine.settings.partitioner) {
            Some(partition) => partition,
            None => self.route_again(&topic, &record).await?,
        };
        let reserved = engine.memory.reserve(&record, || engine.hurry()).await?;
        engine.weigh();
        self.push(&topic, &partition, record, reserved)
    }

    /// Waits until everything handed in before is settled; fails with the first record's error, if any failed.
    pub async fn flush(&self) -> Result<(), ProduceError> {
        let engine = &self.handle.engine;
        let mut unsettled = Vec::new();
        for topic in engine.topics() {
            for partition in topic.partitions() {
                unsettled.extend(partition.lock().line.flush());
                engine.drain(&topic, &partition);
            }
        }
        let mut result = Ok(());
        for delivery in unsettled {
            result = result.and(delivery.await.map(drop));
        }
        result
    }

    /// Takes no more records, from any clone, and flushes.
    pub async fn close(&self) -> Result<(), ProduceError> {
        self.handle.engine.close();
        let result = self.flush().await;
        self.handle.engine.abandon();
        result
    }

    fn push(
        &self,
        topic: &Arc<Topic>,
        partition: &Arc<Partition>,
        record: Record,
        reserved: usize,
    ) -> Result<Delivery, ProduceError> {
        let engine = &self.handle.engine;
        let timestamp = record.timestamp.unwrap_or_else(wall_clock);
        let record = record.into_batch_record(timestamp);
        let (delivery, deadline, turnout) = {
            let mut state = partition.lock();
            if engine.is_closed() {
                return Err(ProduceError::Closed); // Seen under the lock: nothing comes after `abandon`.
            }
            let was_busy = state.line.is_busy();
            let (delivery, is_news) = state.line.push(&record, reserved, Instant::now);
            let is_awaited = engine.memory.is_short() && engine.settings.lingers();
            if is_awaited {
                state.line.seal(); // Somebody waits for the memory that this holds.
            }
            if !is_news && !is_awaited {
                return Ok(delivery); // It joined a batch whose turn comes anyway.
            }
            let turnout = state.turnout(engine.road(), Instant::now());
            // After the turn: what just left needs no alarm before its delivery timeout.
            let deadline = if was_busy { None } else { state.line.deadline() };
            (delivery, deadline, turnout)
        };
        engine.watch(deadline);
        engine.turn_out(topic, partition, turnout);
        Ok(delivery)
    }

    /// The topic may have grown since it was looked up.
    async fn route_again(&self, topic: &Topic, record: &Record) -> Result<Arc<Partition>, ProduceError> {
        let engine = &self.handle.engine;
        let topic = engine.look_up(topic.name.as_str()).await?;
        topic.route(record, engine.settings.partitioner).ok_or_else(|| ProduceError::UnknownPartition {
            topic: topic.name.clone(),
            partition: record.partition.unwrap_or_default(),
            partitions: topic.count(),
        })
    }
}

fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
