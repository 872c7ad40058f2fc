//! Hands records in: finds their partitions, reserves their memory and queues them.
//!
//! A record that needs no wait is queued by a synchronous call; only the others need a future of their own.

use super::delivery::Delivery;
use super::engine::{ProducerEngine, now};
use super::memory::{self, MemoryReservation};
use super::promise::DeliveryPromise;
use super::topic::{ProducerPartition, ProducerTopic};
use crate::deadline::Deadline;
use crate::error::ProduceError;
use crate::record::Record;
use grower_protocol::ids::{PartitionId, Timestamp, TopicName};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

type Route = (Arc<ProducerTopic>, Arc<ProducerPartition>);

impl ProducerEngine {
    /// Queues a record, unless it must wait or fails.
    pub(super) fn try_enqueue(self: &Arc<Self>, record: &Record, deadline: Deadline) -> Option<Delivery> {
        let topic = self.known_topic(&record.topic)?;
        let reservation = self.memory.try_reserve(memory::size(record))?; // Before the partitioner counts the record.
        let partition = topic.route(record, self.settings.partitioner)?;
        self.check_bulk();
        self.push_one(&topic, &partition, record, deadline, reservation, DeliveryPromise::delivery).ok()
    }

    /// Queues a record, and waits until its deadline for its topic and, if it `may_wait`, for its memory. `deliver`
    /// makes its delivery.
    pub(super) async fn enqueue<D>(
        self: &Arc<Self>,
        record: &Record,
        deadline: Deadline,
        may_wait: bool,
        mut deliver: impl FnMut(&DeliveryPromise, u32, Timestamp) -> D,
    ) -> Result<D, ProduceError> {
        if self.is_closed() {
            return Err(self.closed_error());
        }
        let (mut topic, mut partition) = self.route(record, deadline).await?;
        let until = may_wait.then_some(deadline.end());
        let reserving = self.memory.reserve(record, until, || self.end_lingers()).await;
        let mut reservation = self.reserved(reserving, &topic, &partition, deadline)?;
        self.check_bulk();
        loop {
            reservation = match self.push_one(&topic, &partition, record, deadline, reservation, &mut deliver) {
                Ok(delivery) => return Ok(delivery),
                Err(reservation) => reservation,
            };
            if self.is_closed() {
                return Err(self.closed_error());
            }
            // The topic was deleted during the wait for memory. It may exist again.
            (topic, partition) = self.route_again(&topic.name, record, deadline).await?;
        }
    }

    /// Returns the memory of records, or the error of records that are not queued, which may stop their partition.
    pub(super) fn reserved<'a>(
        self: &Arc<Self>,
        reserving: Result<Option<MemoryReservation<'a>>, ProduceError>,
        topic: &Arc<ProducerTopic>,
        partition: &Arc<ProducerPartition>,
        deadline: Deadline,
    ) -> Result<MemoryReservation<'a>, ProduceError> {
        let error = match reserving {
            Ok(Some(reservation)) => return Ok(reservation),
            Ok(None) => {
                let topic_partition = topic.topic_partition(partition.number);
                ProduceError::timed_out(&topic_partition, deadline.limit(), false, partition.lock().queue.last_error())
            }
            Err(error) => self.explained(error),
        };
        partition.lock().queue.stop_at_hand_in(&error);
        self.drain(topic, partition); // A stop ends the linger.
        Err(error)
    }

    /// Queues a record with its memory; returns the memory if the partition or the producer is closed.
    fn push_one<'a, D>(
        self: &Arc<Self>,
        topic: &Arc<ProducerTopic>,
        partition: &Arc<ProducerPartition>,
        record: &Record,
        deadline: Deadline,
        mut reservation: MemoryReservation<'a>,
        deliver: impl FnOnce(&DeliveryPromise, u32, Timestamp) -> D,
    ) -> Result<D, MemoryReservation<'a>> {
        let timestamp = record.timestamp.unwrap_or_else(wall_clock);
        let bytes = reservation.bytes();
        let delivery = self.push(topic, partition, |queue| {
            let deliver = |promise: &_, index| deliver(promise, index, timestamp);
            let pushed = queue.push(record.at(timestamp), bytes, deadline, now, deliver);
            let needs_attention = pushed.needs_attention();
            (pushed.delivery, needs_attention)
        });
        match delivery {
            Some(delivery) => {
                self.yield_pace.queued(bytes);
                reservation.hand_in(bytes);
                Ok(delivery)
            }
            None => Err(reservation),
        }
    }

    /// Finds a partition by its number.
    pub(super) async fn find_partition(
        self: &Arc<Self>,
        topic: &str,
        partition: PartitionId,
        deadline: Deadline,
    ) -> Result<Route, ProduceError> {
        self.route(&Record::new(topic).partition(partition), deadline).await
    }

    async fn route(self: &Arc<Self>, record: &Record, deadline: Deadline) -> Result<Route, ProduceError> {
        let topic = match self.known_topic(&record.topic) {
            Some(topic) => topic,
            None => self.look_up(&record.topic, deadline).await?,
        };
        match topic.route(record, self.settings.partitioner) {
            Some(partition) => Ok((topic, partition)),
            None => self.route_again(&topic.name, record, deadline).await, // The topic may have grown.
        }
    }

    async fn route_again(
        self: &Arc<Self>,
        name: &TopicName,
        record: &Record,
        deadline: Deadline,
    ) -> Result<Route, ProduceError> {
        let topic = self.look_up(name.as_str(), deadline).await?;
        match topic.route(record, self.settings.partitioner) {
            Some(partition) => Ok((topic, partition)),
            None => Err(ProduceError::UnknownPartition {
                topic: name.clone(),
                partition: record.partition.unwrap_or_default(),
                partitions: topic.count(),
            }),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
pub(super) fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
