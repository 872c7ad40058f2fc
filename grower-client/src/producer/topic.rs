//! A producer's view of a topic: the queue and connection of each partition, and the partitioner's state.
//!
//! A caller looks up its partition, waits for memory, and only then queues its record. Meanwhile the topic may be
//! deleted, or created again with fewer partitions. So a partition that accepts no more records is *closed* under its
//! lock, and a caller that finds it closed looks the topic up again. A record never enters a queue that the timer and a
//! flush miss.

use super::connection_selector::{ConnectionKind, ConnectionSelector, SelectableConnection, Selection};
use super::in_flight::{
    AnswerEffects, AttemptResult, BatchId, FenceAttempt, FenceResult, ReleasedRecords, SendAttempt, settle,
};
use super::partitioner::{Partitioner, PartitionerState};
use super::queue::{PartitionQueue, SendStep};
use crate::connection::BrokerConnection;
use crate::error::RequestError;
use crate::record::{Record, TopicPartition};
use bytes::Bytes;
use grower_protocol::ids::{PartitionId, TopicId, TopicName};
use grower_protocol::message::{ErrorCode, Failure};
use parking_lot::{Mutex, MutexGuard, RwLock};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tokio::time::Instant;

/// A topic that the producer has written to.
#[derive(Debug)]
pub(super) struct ProducerTopic {
    pub(super) name: TopicName,
    pub(super) partitioner_state: PartitionerState,
    /// Includes partitions that the recreated topic no longer has: they may still hold records.
    partitions: RwLock<Vec<Arc<ProducerPartition>>>,
    /// The topic's current number of partitions.
    count: AtomicU32,
    reconnecting: AtomicBool,
    /// The topic is deleted and leaves the engine. Never reset: a new topic with this name gets another object.
    closed: AtomicBool,
}

/// One partition. Its methods take a clock instead of a time, and read it only under the lock: a time from before the
/// lock may be older than a record that was queued meanwhile.
#[derive(Debug)]
pub(super) struct ProducerPartition {
    pub(super) number: PartitionId,
    state: Mutex<PartitionSendState>,
}

/// The state behind a partition's lock.
#[derive(Debug)]
pub(super) struct PartitionSendState<C = BrokerConnection> {
    pub(super) queue: PartitionQueue,
    /// The connection to its leader.
    pub(super) selector: ConnectionSelector<C>,
    /// The topic no longer has this partition: it accepts no records.
    closed: bool,
}

/// The result of queueing records, with their deliveries.
pub(super) enum PushResult<D> {
    /// The records joined an open batch; no action follows.
    Joined(D),
    /// The action to run now, and the queue's next deadline.
    Sends(D, NextAction, Option<Instant>),
    /// The partition is stopped: the records have failed.
    Stopped(D, Vec<ReleasedRecords>),
    /// The partition is closed and accepts no records.
    Closed,
}

/// The next action of a sender.
pub(super) enum NextAction<C = BrokerConnection> {
    /// Run this step over this connection.
    Send(SendStep, C),
    /// Find the leader and connect.
    Connect,
    /// Do nothing.
    Idle,
}

impl ProducerTopic {
    /// Creates a topic without partitions; a random `sticky_start` spreads the first partitions of many producers.
    pub(super) fn new(name: TopicName, sticky_start: u32) -> Self {
        Self {
            name,
            partitioner_state: PartitionerState::starting_at(sticky_start),
            partitions: RwLock::default(),
            count: AtomicU32::new(0),
            reconnecting: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn topic_partition(&self, partition: PartitionId) -> TopicPartition {
        TopicPartition { topic: self.name.clone(), partition }
    }

    /// Sets the topic's id and number of partitions. Records of partitions that no longer exist fail.
    pub(super) fn update(
        &self,
        topic_id: TopicId,
        count: u32,
        queue: impl Fn(PartitionId) -> PartitionQueue,
    ) -> Vec<ReleasedRecords> {
        debug_assert!(!self.is_closed(), "a topic that was given up is not looked up again");
        let mut partitions = self.partitions.write();
        let mut released = Vec::new();
        for partition in partitions.iter() {
            let mut state = partition.lock();
            state.queue.set_topic_id(topic_id);
            state.closed = count <= partition.number.value();
            if state.closed {
                released.extend(settle(state.queue.fail_all(&self.removed(partition.number))));
                debug_assert!(!state.queue.is_busy(), "a closed partition keeps records");
            }
        }
        for number in (partitions.len() as u32..count).map(PartitionId::new) {
            partitions.push(Arc::new(ProducerPartition {
                number,
                state: Mutex::new(PartitionSendState::new(queue(number))),
            }));
        }
        self.count.store(count, Ordering::Release);
        released
    }

    /// Closes a deleted topic: it accepts no more records, and its queued records fail.
    pub(super) fn close(&self, error: &RequestError) -> Vec<ReleasedRecords> {
        self.closed.store(true, Ordering::Release);
        let mut released = Vec::new();
        for partition in self.partitions() {
            let mut state = partition.lock();
            state.closed = true;
            released.extend(settle(state.queue.fail_all(error)));
            debug_assert!(!state.queue.is_busy(), "a closed partition keeps records");
        }
        released
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The error for records of a partition that the recreated topic no longer has.
    fn removed(&self, partition: PartitionId) -> RequestError {
        let detail = format_args!("{} has no partition {partition} any more", self.name);
        Failure::new(ErrorCode::UnknownPartition, detail).into()
    }

    pub(super) fn count(&self) -> u32 {
        self.count.load(Ordering::Acquire)
    }

    pub(super) fn partitions(&self) -> Vec<Arc<ProducerPartition>> {
        self.partitions.read().clone()
    }

    /// Returns the partitions that the topic currently has.
    pub(super) fn open_partitions(&self) -> Vec<Arc<ProducerPartition>> {
        let mut partitions = self.partitions();
        partitions.truncate(self.count() as usize);
        partitions
    }

    /// Chooses the partition of a record, by its partition number or its key; `None` if the number does not exist.
    pub(super) fn choose(&self, record: &Record, partitioner: Partitioner) -> Option<PartitionId> {
        let count = self.count();
        let number = match record.partition {
            Some(partition) => partition.value(),
            None => self.partitioner_state.choose(partitioner, record.key.as_deref(), count),
        };
        debug_assert!(record.partition.is_some() || number < count.max(1), "the partitioner chose {number} of {count}");
        (number < count).then_some(PartitionId::new(number))
    }

    /// Returns a partition.
    pub(super) fn partition(&self, number: PartitionId) -> Option<Arc<ProducerPartition>> {
        self.partitions.read().get(number.value() as usize).cloned()
    }

    /// Returns the partition of a record; see [`ProducerTopic::choose`].
    pub(super) fn route(&self, record: &Record, partitioner: Partitioner) -> Option<Arc<ProducerPartition>> {
        self.partition(self.choose(record, partitioner)?)
    }

    /// Returns true for the one caller that must reconnect the topic.
    pub(super) fn begin_reconnect(&self) -> bool {
        !self.reconnecting.swap(true, Ordering::AcqRel)
    }

    pub(super) fn end_reconnect(&self) {
        let was_reconnecting = self.reconnecting.swap(false, Ordering::AcqRel);
        debug_assert!(was_reconnecting, "one caller reconnects at a time");
    }

    /// Whether a partition has something to send but no suitable connection.
    pub(super) fn lacks_connection(&self, kind: ConnectionKind) -> bool {
        self.partitions.read().iter().any(|partition| partition.lock().lacks_connection(kind))
    }
}

impl ProducerPartition {
    /// Locks the state. Holders keep the lock briefly, and never during I/O.
    pub(super) fn lock(&self) -> MutexGuard<'_, PartitionSendState> {
        self.state.lock()
    }

    /// Queues records with `fill`, unless the partition or its producer is closed. `fill` returns their deliveries and
    /// whether the queue needs attention; see [`PartitionQueue::push`]. `ends_linger` ends the linger of their batch.
    pub(super) fn push<D>(
        &self,
        kind: ConnectionKind,
        ends_linger: bool,
        is_producer_closed: impl Fn() -> bool,
        clock: impl Fn() -> Instant,
        fill: impl FnOnce(&mut PartitionQueue) -> (D, bool),
    ) -> PushResult<D> {
        let mut state = self.lock();
        if state.closed || is_producer_closed() {
            return PushResult::Closed; // Checked under the lock: no record enters the queue after the close.
        }
        let (delivery, needs_attention) = fill(&mut state.queue);
        if state.queue.is_stopped() {
            return PushResult::Stopped(delivery, settle(state.queue.fail_stopped()));
        }
        if ends_linger {
            state.queue.seal();
        }
        if !needs_attention && !ends_linger {
            return PushResult::Joined(delivery);
        }
        let now = clock();
        let next_action = state.next_action(kind, now);
        PushResult::Sends(delivery, next_action, state.queue.deadline(now))
    }

    /// Handles the answer to an attempt. The second result tells whether the cached metadata may be outdated.
    pub(super) fn answered(
        &self,
        id: BatchId,
        result: AttemptResult,
        clock: impl Fn() -> Instant,
    ) -> (Vec<ReleasedRecords>, bool) {
        let mut state = self.lock();
        let effects = state.answered(id, result, clock());
        (settle(effects.settled), effects.metadata_outdated)
    }

    /// Handles the answer to a fence.
    pub(super) fn fenced(
        &self,
        attempt: FenceAttempt,
        result: FenceResult,
        clock: impl Fn() -> Instant,
    ) -> Vec<ReleasedRecords> {
        let mut state = self.lock();
        settle(state.queue.fenced(attempt, result, clock()))
    }

    /// Fails the records whose deadline passed.
    pub(super) fn expire(&self, now: Instant) -> Vec<ReleasedRecords> {
        let mut state = self.lock();
        settle(state.queue.expire(now))
    }

    /// Returns the action to run now and the queue's next deadline.
    pub(super) fn next_action(
        &self,
        kind: ConnectionKind,
        clock: impl Fn() -> Instant,
    ) -> (NextAction, Option<Instant>) {
        let mut state = self.lock();
        let now = clock();
        (state.next_action(kind, now), state.queue.deadline(now))
    }

    /// Ends a sender's step; returns the next action and the queue's next deadline.
    pub(super) fn end_step(&self, kind: ConnectionKind, clock: impl Fn() -> Instant) -> (NextAction, Option<Instant>) {
        let mut state = self.lock();
        state.queue.end_step();
        let now = clock();
        (state.next_action(kind, now), state.queue.deadline(now))
    }
}

impl<C: SelectableConnection> PartitionSendState<C> {
    pub(super) fn new(queue: PartitionQueue) -> Self {
        Self { queue, selector: ConnectionSelector::default(), closed: false }
    }

    /// Returns the next action for a producer that uses this kind of connection.
    pub(super) fn next_action(&mut self, kind: ConnectionKind, now: Instant) -> NextAction<C> {
        match self.selector.select(kind) {
            Selection::Open(connection) => match self.queue.next(now) {
                Some(step) => {
                    self.selector.add_in_flight(step.attempts());
                    NextAction::Send(step, connection)
                }
                None => NextAction::Idle,
            },
            Selection::Missing if self.queue.needs_connection() => NextAction::Connect,
            Selection::Missing | Selection::Switching => NextAction::Idle,
        }
    }

    /// Takes the bytes of a built batch; returns the attempt to send, unless the batch expired meanwhile.
    pub(super) fn built(&mut self, id: BatchId, bytes: Bytes) -> Option<SendAttempt> {
        let attempt = self.queue.built(id, bytes);
        if attempt.is_none() {
            self.selector.remove_in_flight();
        }
        attempt
    }

    /// Handles the answer to an attempt.
    pub(super) fn answered(&mut self, id: BatchId, result: AttemptResult, now: Instant) -> AnswerEffects {
        self.selector.remove_in_flight();
        self.queue.answered(id, result, now)
    }

    /// Whether the partition has something to send but no suitable connection.
    pub(super) fn lacks_connection(&mut self, kind: ConnectionKind) -> bool {
        self.queue.needs_connection() && self.selector.select(kind) == Selection::Missing
    }
}
