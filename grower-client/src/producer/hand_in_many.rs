//! Hands many records in, chunk by chunk: consecutive records of one partition are queued under one lock, with one
//! reservation of memory and one reading of the clock.

use super::deliveries::Deliveries;
use super::engine::{ProducerEngine, now};
use super::hand_in::wall_clock;
use super::memory::{self, MemoryReservation};
use super::on_failure::OnFailure;
use super::topic::{ProducerPartition, ProducerTopic};
use crate::deadline::Deadline;
use crate::error::ProduceError;
use crate::record::Record;
use futures_core::future::BoxFuture;
use grower_protocol::ids::{PartitionId, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The most records of a chunk: few enough to stay in the processor's nearest cache.
pub(super) const CHUNK_RECORDS: usize = 128;

/// A chunk reserves at most this part of the producer's memory at once.
const RESERVED_PART: usize = 4;

/// Records that one caller hands in.
pub(super) struct RecordIntake<'a> {
    engine: &'a Arc<ProducerEngine>,
    chunk: Vec<Record>,
    /// The deadline of the records of the chunk.
    deadline: Option<Deadline>,
    deliveries: Deliveries,
    /// The last failure that other records share.
    shared_failure: Option<SharedFailure>,
    /// Records wait for memory from this time on. Set after one waited in vain, as the others have waited as long.
    may_wait_at: Option<Instant>,
}

/// A failure of all records with the same target: they fail without another attempt.
struct SharedFailure {
    target: FailedTarget,
    error: Arc<ProduceError>,
    /// The time from which another attempt may succeed.
    retry_at: Option<Instant>,
}

enum FailedTarget {
    /// The producer is closed.
    All,
    /// The topic could not be looked up.
    Topic(Arc<str>),
    /// The topic has no such partition.
    Partition(Arc<str>, Option<PartitionId>),
}

/// The time until a call tries again what failed: to look a topic up, or to wait for memory. A fast input ends
/// before that; a slow one tries again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl SharedFailure {
    /// Returns the failure that others share with this record, if there are any. `stops` says that none of them may
    /// overtake it.
    fn of(record: &Record, error: &Arc<ProduceError>, stops: bool) -> Option<Self> {
        let topic = record.topic.clone();
        let (target, may_pass) = match &**error {
            ProduceError::Closed | ProduceError::RuntimeEnded | ProduceError::Fenced { .. } => {
                (FailedTarget::All, false)
            }
            ProduceError::Topic { source, .. } => (FailedTarget::Topic(topic), source.is_retriable() && !stops),
            ProduceError::UnknownPartition { .. } => (FailedTarget::Partition(topic, record.partition), false),
            _ => return None,
        };
        Some(Self { target, error: error.clone(), retry_at: may_pass.then(|| now() + RETRY_AFTER) })
    }

    fn is_of(&self, record: &Record) -> bool {
        let is_of_target = match &self.target {
            FailedTarget::All => true,
            FailedTarget::Topic(topic) => *topic == record.topic,
            FailedTarget::Partition(topic, partition) => *topic == record.topic && *partition == record.partition,
        };
        is_of_target && self.retry_at.is_none_or(|retry_at| now() < retry_at)
    }
}

impl<'a> RecordIntake<'a> {
    pub(super) fn new(engine: &'a Arc<ProducerEngine>) -> Self {
        Self {
            engine,
            chunk: Vec::with_capacity(CHUNK_RECORDS),
            deadline: None,
            deliveries: Deliveries::new(engine.unobserved.clone()),
            shared_failure: None,
            may_wait_at: None,
        }
    }

    /// Adds a record to the chunk; returns whether [`RecordIntake::hand_in`] is due.
    pub(super) fn add(&mut self, record: Record) -> bool {
        self.chunk.push(record);
        self.chunk.len() == CHUNK_RECORDS
    }

    pub(super) fn into_deliveries(self) -> Deliveries {
        debug_assert!(self.chunk.is_empty(), "all records are handed in");
        self.deliveries
    }

    /// Hands in the records of the chunk, unless some must wait: [`RecordIntake::hand_in_rest`] must follow then.
    pub(super) fn hand_in(&mut self) -> bool {
        let deadline = self.deadline();
        let handed_in = ChunkCursor::hand_in(self.engine, &self.chunk, deadline, &mut self.deliveries);
        drop(self.chunk.drain(..handed_in));
        self.deadline = self.deadline.filter(|_| !self.chunk.is_empty());
        self.chunk.is_empty()
    }

    /// Returns the deadline of the chunk, which counts from its first hand-in.
    fn deadline(&mut self) -> Deadline {
        let engine = self.engine;
        *self.deadline.get_or_insert_with(|| engine.deadline(engine.settings.delivery_timeout))
    }

    /// Hands in the records of the chunk and waits where needed. If the future is dropped, the records that are not
    /// queued yet never are.
    pub(super) fn hand_in_rest(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            while !self.hand_in() {
                self.hand_in_one().await;
                self.chunk.remove(0);
            }
        })
    }

    /// Hands in the first record of the chunk.
    async fn hand_in_one(&mut self) {
        let deadline = self.deadline();
        let record = &self.chunk[0];
        let result = match self.shared_failure.as_ref().filter(|failure| failure.is_of(record)) {
            Some(failure) => Err(failure.error.clone()),
            None => {
                let may_wait = self.may_wait_at.is_none_or(|at| at <= now());
                let deliver = |promise: &_, index, at| self.deliveries.add(promise, index, at);
                self.engine.enqueue(record, deadline, may_wait, deliver).await.map_err(Arc::new)
            }
        };
        let Err(error) = result else { return };
        if let ProduceError::TimedOut { .. } = &*error {
            self.may_wait_at = self.may_wait_at.filter(|at| now() < *at).or_else(|| Some(now() + RETRY_AFTER));
        }
        let stops = self.engine.settings.on_failure == OnFailure::StopPartition;
        self.shared_failure = SharedFailure::of(record, &error, stops).or_else(|| self.shared_failure.take());
        self.deliveries.add_failed(error);
        self.engine.yield_pace.queued(memory::size(record)); // Many failures must not hold the thread, either.
    }
}

/// Consecutive records, from the next one to hand in.
struct ChunkCursor<'a> {
    engine: &'a Arc<ProducerEngine>,
    records: &'a [Record],
    /// The partition of the first record, if it is chosen. A partitioner may count the records that it chooses for.
    chosen: Option<PartitionId>,
    deadline: Deadline,
    /// Some memory for the records.
    reservation: Option<MemoryReservation<'a>>,
    /// For records without a timestamp.
    timestamp: Timestamp,
}

impl<'a> ChunkCursor<'a> {
    /// Hands in records until one must wait or fails; returns their number.
    fn hand_in(
        engine: &'a Arc<ProducerEngine>,
        all: &'a [Record],
        deadline: Deadline,
        deliveries: &mut Deliveries,
    ) -> usize {
        let timestamp = wall_clock();
        let mut run = Self { engine, records: all, chosen: None, deadline, reservation: None, timestamp };
        let mut topic: Option<Arc<ProducerTopic>> = None;
        while let Some(record) = run.records.first() {
            if topic.as_ref().is_none_or(|topic| *topic.name.as_str() != *record.topic) {
                topic = engine.known_topic(&record.topic);
            }
            let Some(topic) = &topic else { break };
            if !run.reserve() {
                break;
            }
            let chosen = run.chosen.take().or_else(|| topic.choose(record, engine.settings.partitioner));
            let Some(partition) = chosen.and_then(|number| topic.partition(number)) else { break };
            if !run.push(topic, &partition, deliveries) {
                break;
            }
        }
        all.len() - run.records.len()
    }

    /// Reserves memory for the first record, and for more if there is enough.
    fn reserve(&mut self) -> bool {
        let first = self.records.first().map_or(0, memory::size);
        if self.reservation.as_ref().is_some_and(|reserved| first <= reserved.bytes()) {
            return true;
        }
        self.reservation = None;
        let memory = &self.engine.memory;
        let sizes = self.records.iter().map(memory::size);
        let limit = memory.capacity() / RESERVED_PART;
        let wanted = sizes
            .scan(0, |sum, size| {
                *sum += size;
                Some(*sum)
            })
            .take_while(|sum| *sum <= limit)
            .last();
        self.reservation = wanted.and_then(|all| memory.try_reserve(all)).or_else(|| memory.try_reserve(first));
        self.reservation.is_some()
    }

    /// Queues the first record and all after it that follow it into its batch; returns `false` if the partition or the
    /// producer is closed.
    fn push(
        &mut self,
        topic: &Arc<ProducerTopic>,
        partition: &Arc<ProducerPartition>,
        deliveries: &mut Deliveries,
    ) -> bool {
        let engine = self.engine;
        engine.check_bulk();
        let free = self.reservation.as_ref().map_or(0, MemoryReservation::bytes);
        let (first, deadline, timestamp) = (&self.records[0], self.deadline, self.timestamp);
        let pushed = engine.push(topic, partition, |queue| {
            let (mut count, mut bytes, mut may_send) = (0, 0, false);
            for record in self.records {
                let size = memory::size(record);
                if free < bytes + size || 0 < count && !self.joins(record, first, topic, partition.number) {
                    break;
                }
                let timestamp = record.timestamp.unwrap_or(timestamp);
                let deliver = |promise: &_, index| deliveries.add(promise, index, timestamp);
                let pushed = queue.push(record.at(timestamp), size, deadline, now, deliver);
                (count, bytes, may_send) = (count + 1, bytes + size, may_send || pushed.needs_attention());
                if pushed.filled {
                    break; // It leaves now, and the sticky partition may change.
                }
            }
            ((count, bytes, may_send), may_send)
        });
        let Some((count, bytes, may_send)) = pushed else { return false };
        debug_assert!(0 < count, "the first record has memory");
        if let Some(reservation) = &mut self.reservation {
            reservation.hand_in(bytes);
        }
        engine.yield_pace.queued(bytes);
        self.records = &self.records[count..];
        if may_send {
            self.timestamp = wall_clock(); // Building a batch takes time.
        }
        true
    }

    /// Whether a record goes where the first one went.
    fn joins(&mut self, record: &Record, first: &Record, topic: &ProducerTopic, partition: PartitionId) -> bool {
        if !Arc::ptr_eq(&record.topic, &first.topic) && record.topic != first.topic {
            return false;
        }
        let chosen = topic.choose(record, self.engine.settings.partitioner);
        self.chosen = chosen.filter(|number| *number != partition);
        chosen == Some(partition)
    }
}
