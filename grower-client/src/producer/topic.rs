//! A topic as a producer sees it: its partitions' queues, and whose turn it is.
//!
//! A sender looks its partition up, waits for memory, and only then hands its record in. Meanwhile the topic may be
//! deleted, or created again with fewer partitions. So what takes no more records is *closed* under its lock, and who
//! finds it closed looks the topic up again: a record is never put where neither the timer nor a flush would find it.

use super::connection_selector::{ConnectionKind, ConnectionSelector, SelectableConnection, Selection};
use super::delivery::{BatchAck, Delivery};
use super::in_flight::{AnswerEffects, BatchId, ReleasedRecords, SendAttempt, settle};
use super::partitioner::{Partitioner, PartitionerState};
use super::queue::{PartitionQueue, SendStep};
use crate::connection::BrokerConnection;
use crate::error::RequestError;
use crate::record::TopicPartition;
use bytes::Bytes;
use grower_protocol::batch;
use grower_protocol::ids::{PartitionId, TopicId, TopicName};
use grower_protocol::message::{ErrorCode, Failure};
use parking_lot::{Mutex, MutexGuard, RwLock};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tokio::time::Instant;

/// A topic that was written to.
#[derive(Debug)]
pub(super) struct ProducerTopic {
    pub(super) name: TopicName,
    pub(super) partitioner_state: PartitionerState,
    /// Also those that the topic had before it was made anew with fewer: they may hold records.
    partitions: RwLock<Vec<Arc<ProducerPartition>>>,
    /// How many it has now.
    count: AtomicU32,
    reconnecting: AtomicBool,
    /// Deleted, and out of the engine's sight or about to be. For ever: a topic of the same name gets another object.
    closed: AtomicBool,
}

/// One partition.
#[derive(Debug)]
pub(super) struct ProducerPartition {
    pub(super) number: PartitionId,
    state: Mutex<PartitionSendState>,
}

/// What is behind a partition's lock.
#[derive(Debug)]
pub(super) struct PartitionSendState<C = BrokerConnection> {
    pub(super) queue: PartitionQueue,
    /// The connection to its leader.
    pub(super) selector: ConnectionSelector<C>,
    /// The topic has no such partition now: nothing is pushed.
    closed: bool,
}

/// What became of a record that was handed in.
pub(super) enum PushResult {
    /// It joined a batch whose turn comes anyway.
    Joined(Delivery),
    /// This is to be done now, and looked at again at that time.
    Sends(Delivery, NextAction, Option<Instant>),
    /// Nothing: the partition is closed.
    Closed,
}

/// What a sender does next.
pub(super) enum NextAction<C = BrokerConnection> {
    /// This, over this connection.
    Send(SendStep, C),
    /// Find the leader and connect.
    Connect,
    /// Nothing.
    Idle,
}

impl ProducerTopic {
    pub(super) fn new(name: TopicName) -> Self {
        let partitioner_state = PartitionerState::starting_at(getrandom::u32().unwrap_or(0));
        Self {
            name,
            partitioner_state,
            partitions: RwLock::default(),
            count: AtomicU32::new(0),
            reconnecting: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn topic_partition(&self, partition: PartitionId) -> TopicPartition {
        TopicPartition { topic: self.name.clone(), partition }
    }

    /// Is the topic with the id `topic_id` from now on, and has `count` partitions. What was for partitions that the topic no
    /// longer has fails.
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
                released.extend(settle(state.queue.fail_all(&self.lost(partition.number), Instant::now())));
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

    /// The topic is gone: takes no more records, and everything that was for it fails.
    pub(super) fn close(&self, error: &RequestError) -> Vec<ReleasedRecords> {
        self.closed.store(true, Ordering::Release);
        let mut released = Vec::new();
        for partition in self.partitions() {
            let mut state = partition.lock();
            state.closed = true;
            released.extend(settle(state.queue.fail_all(error, Instant::now())));
        }
        released
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The topic was created again, with fewer partitions.
    fn lost(&self, partition: PartitionId) -> RequestError {
        let detail = format_args!("{} has no partition {partition} any more", self.name);
        Failure::new(ErrorCode::UnknownPartition, detail).into()
    }

    pub(super) fn count(&self) -> u32 {
        self.count.load(Ordering::Acquire)
    }

    pub(super) fn partitions(&self) -> Vec<Arc<ProducerPartition>> {
        self.partitions.read().clone()
    }

    /// Those that the topic has now.
    pub(super) fn open_partitions(&self) -> Vec<Arc<ProducerPartition>> {
        let mut partitions = self.partitions();
        partitions.truncate(self.count() as usize);
        partitions
    }

    /// The partition for a record that may name one and may have a key; none if it names one that is not there.
    pub(super) fn route(
        &self,
        wanted: Option<PartitionId>,
        key: Option<&[u8]>,
        partitioner: Partitioner,
    ) -> Option<Arc<ProducerPartition>> {
        let count = self.count();
        let number = match wanted {
            Some(partition) => partition.value(),
            None => self.partitioner_state.choose(partitioner, key, count),
        };
        if number < count { self.partitions.read().get(number as usize).cloned() } else { None }
    }

    /// True for the one caller who shall reconnect: refresh metadata and connect.
    pub(super) fn begin_reconnect(&self) -> bool {
        !self.reconnecting.swap(true, Ordering::AcqRel)
    }

    pub(super) fn end_reconnect(&self) {
        self.reconnecting.store(false, Ordering::Release);
    }

    /// Whether some partition has records and no connection that would do.
    pub(super) fn lacks_connection(&self, kind: ConnectionKind) -> bool {
        self.partitions.read().iter().any(|partition| partition.lock().lacks_connection(kind))
    }
}

impl ProducerPartition {
    /// Short, and never across I/O.
    pub(super) fn lock(&self) -> MutexGuard<'_, PartitionSendState> {
        self.state.lock()
    }

    /// Hands in a record that holds `reserved` bytes of memory, unless the partition or its producer is closed. If
    /// `hurries`, nothing lingers.
    pub(super) fn push(
        &self,
        record: &batch::Record,
        reserved: usize,
        kind: ConnectionKind,
        hurries: bool,
        is_producer_closed: impl Fn() -> bool,
    ) -> PushResult {
        let mut state = self.lock();
        if state.closed || is_producer_closed() {
            return PushResult::Closed; // Seen under the lock: nothing comes after what closed it.
        }
        let was_busy = state.queue.is_busy();
        let (delivery, is_news) = state.queue.push(record, reserved, Instant::now);
        if hurries {
            state.queue.seal();
        }
        if !is_news && !hurries {
            return PushResult::Joined(delivery);
        }
        let next_action = state.next_action(kind, Instant::now());
        // After the action: what just left needs no alarm before its delivery timeout.
        let deadline = if was_busy { None } else { state.queue.deadline() };
        PushResult::Sends(delivery, next_action, deadline)
    }

    /// The answer to an attempt. True comes with it if the client's picture of the cluster may be old.
    pub(super) fn answered(&self, id: BatchId, result: Result<BatchAck, RequestError>) -> (Vec<ReleasedRecords>, bool) {
        let mut state = self.lock();
        let effects = state.answered(id, result, Instant::now());
        (settle(effects.settled), effects.metadata_outdated)
    }

    /// Gives up what is older than the delivery timeout.
    pub(super) fn expire(&self, now: Instant) -> Vec<ReleasedRecords> {
        let mut state = self.lock();
        settle(state.queue.expire(now))
    }

    /// What to do now, and when to look again although nothing happened.
    pub(super) fn next_action(&self, kind: ConnectionKind) -> (NextAction, Option<Instant>) {
        let mut state = self.lock();
        (state.next_action(kind, Instant::now()), state.queue.deadline())
    }

    /// Likewise, once a step was done.
    pub(super) fn end_step(&self, kind: ConnectionKind) -> (NextAction, Option<Instant>) {
        let mut state = self.lock();
        state.queue.end_step();
        (state.next_action(kind, Instant::now()), state.queue.deadline())
    }
}

impl<C: SelectableConnection> PartitionSendState<C> {
    pub(super) fn new(queue: PartitionQueue) -> Self {
        Self { queue, selector: ConnectionSelector::default(), closed: false }
    }

    /// What to do next, for a producer that wants this kind.
    pub(super) fn next_action(&mut self, kind: ConnectionKind, now: Instant) -> NextAction<C> {
        match self.selector.select(kind) {
            Selection::Open(connection) => match self.queue.next(now) {
                Some(step) => {
                    self.selector.add_in_flight(step.attempts());
                    NextAction::Send(step, connection)
                }
                None => NextAction::Idle,
            },
            Selection::Missing if self.queue.is_busy() => NextAction::Connect,
            Selection::Missing | Selection::Switching => NextAction::Idle,
        }
    }

    /// The bytes of a batch whose step was taken: what to send, unless it was given up meanwhile.
    pub(super) fn built(&mut self, id: BatchId, bytes: Bytes) -> Option<SendAttempt> {
        let attempt = self.queue.built(id, bytes);
        if attempt.is_none() {
            self.selector.remove_in_flight();
        }
        attempt
    }

    /// The answer to an attempt.
    pub(super) fn answered(
        &mut self,
        id: BatchId,
        result: Result<BatchAck, RequestError>,
        now: Instant,
    ) -> AnswerEffects {
        self.selector.remove_in_flight();
        self.queue.answered(id, result, now)
    }

    /// Whether it has records and no connection that would do.
    pub(super) fn lacks_connection(&mut self, kind: ConnectionKind) -> bool {
        self.queue.is_busy() && self.selector.select(kind) == Selection::Missing
    }
}
