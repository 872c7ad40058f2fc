//! Runs a producer: executes the steps of its queues, sends batches, handles answers and reconnects.
//!
//! Batches are sent in the task that queues a record, or in the connection's task when an answer frees the window. One
//! background task waits for deadlines, others reconnect.

use super::builder::ProducerSettings;
use super::connection_selector::ConnectionKind;
use super::deadline_grid::DeadlineGrid;
use super::delivery::BatchAck;
use super::identity::IdentitySource;
use super::in_flight::{AttemptResult, NumberedBatch, ReleasedRecords, SendAttempt};
use super::lookup::TopicLookups;
use super::memory::ProducerMemory;
use super::queue::{PartitionQueue, SendStep};
use super::statistics::ProducerTotals;
use super::timer::ProducerTimer;
use super::topic::{NextAction, ProducerPartition, ProducerTopic, PushResult};
use super::unobserved::UnobservedFailures;
use super::yield_pace::YieldPace;
use crate::cluster::Cluster;
use crate::connection::{BrokerAnswer, BrokerConnection, ConnectionPool};
use crate::deadline::Deadline;
use crate::error::{FlushError, RequestError, single_part};
use grower_protocol::ids::{PartitionId, TopicId, TopicName};
use grower_protocol::message::{Acks, Durability, Produce, ProducePartition, Request, Response, TopicMetadata};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Notify, OnceCell};
use tokio::time::Instant;

/// A producer with more unacknowledged bytes leaves the connection that the producers of a client share. So a record of
/// another producer waits behind at most this many bytes of each.
const SHARING_BYTES_MAX: usize = 32 << 10;

/// The shared state of a producer's clones and tasks.
pub(super) struct ProducerEngine {
    pub(super) cluster: Arc<Cluster>,
    pool: ConnectionPool,
    pub(super) settings: ProducerSettings,
    pub(super) memory: ProducerMemory,
    pub(super) totals: ProducerTotals,
    pub(super) yield_pace: YieldPace,
    /// None if the producer is not idempotent.
    pub(super) identities: Option<IdentitySource>,
    topics: RwLock<BTreeMap<Arc<str>, Arc<ProducerTopic>>>,
    pub(super) lookups: TopicLookups,
    pub(super) unobserved: Arc<UnobservedFailures>,
    /// Told when a partition was fenced, or no longer needs that.
    pub(super) epoch_changed: Notify,
    timer: ProducerTimer,
    deadlines: DeadlineGrid,
    /// Runs the background tasks, also if a thread outside it calls the producer.
    pub(super) runtime: Handle,
    next_refresh: Mutex<Instant>,
    closed: AtomicBool,
    /// The runtime of the background tasks has ended.
    pub(super) runtime_ended: AtomicBool,
    /// The result of the first close.
    pub(super) close_result: OnceCell<Result<(), FlushError>>,
    /// The producer sends too much to share a connection. Never reset, since each change of connection costs a wait.
    is_bulk: AtomicBool,
}

#[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
impl ProducerEngine {
    pub(super) fn start(
        cluster: Arc<Cluster>,
        settings: ProducerSettings,
        identities: Option<IdentitySource>,
    ) -> Arc<Self> {
        let engine = Arc::new(Self {
            pool: ConnectionPool::new(cluster.dialer().clone()),
            memory: ProducerMemory::new(settings.memory_bytes),
            totals: ProducerTotals::default(),
            yield_pace: YieldPace::default(),
            next_refresh: Mutex::new(Deadline::after(settings.metadata_max_age).end()),
            cluster,
            settings,
            identities,
            topics: RwLock::default(),
            lookups: TopicLookups::default(),
            unobserved: Arc::default(),
            epoch_changed: Notify::default(),
            timer: ProducerTimer::default(),
            deadlines: DeadlineGrid::starting_at(Instant::now()),
            runtime: Handle::current(),
            closed: AtomicBool::new(false),
            runtime_ended: AtomicBool::new(false),
            close_result: OnceCell::new(),
            // Without answers the producer cannot know when it may change its connection, so it starts with its own.
            is_bulk: AtomicBool::new(settings.acks == Acks::None),
        });
        engine.spawn_timer();
        engine
    }

    /// Returns the deadline of records that a call hands in now.
    pub(super) fn deadline(&self, limit: Duration) -> Deadline {
        self.deadlines.deadline(Instant::now(), limit)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Rejects further records.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.memory.close();
    }

    /// Drops all unsettled records and ends the tasks.
    pub(super) fn abandon(&self) {
        self.close();
        for topic in self.topics() {
            for partition in topic.partitions() {
                let promises = partition.lock().queue.abandon();
                drop(promises); // Wakes the waiting callers, outside the lock.
            }
        }
        self.epoch_changed.notify_waiters();
        self.timer.set(Instant::now());
    }

    /// Leaves the shared connection for good if too many bytes are unacknowledged.
    pub(super) fn check_bulk(&self) {
        if SHARING_BYTES_MAX < self.memory.used() && self.connection_kind() == ConnectionKind::Shared {
            self.is_bulk.store(true, Ordering::Release);
        }
    }

    /// Returns the kind of connection that the producer uses.
    pub(super) fn connection_kind(&self) -> ConnectionKind {
        if self.is_bulk.load(Ordering::Acquire) { ConnectionKind::Dedicated } else { ConnectionKind::Shared }
    }

    pub(super) fn pool(&self, kind: ConnectionKind) -> &ConnectionPool {
        match kind {
            ConnectionKind::Shared => self.cluster.shared_pool(),
            ConnectionKind::Dedicated => &self.pool,
        }
    }

    pub(super) fn topics(&self) -> Vec<Arc<ProducerTopic>> {
        self.topics.read().values().cloned().collect()
    }

    /// Returns a topic that the producer has written to before.
    pub(super) fn known_topic(&self, name: &str) -> Option<Arc<ProducerTopic>> {
        self.topics.read().get(name).cloned()
    }

    /// Updates a topic with new metadata: more partitions, or another topic id under the same name.
    pub(super) fn update_topic(&self, metadata: &TopicMetadata) -> Arc<ProducerTopic> {
        let name: Arc<str> = Arc::from(&metadata.name);
        let topic = self
            .topics
            .write()
            .entry(name)
            .or_insert_with(|| Arc::new(ProducerTopic::new(metadata.name.clone(), getrandom::u32().unwrap_or(0))))
            .clone();
        let count = metadata.partitions.len() as u32;
        let released = topic.update(metadata.id, count, |number| self.queue(&topic, metadata.id, number));
        self.release(released);
        self.epoch_changed.notify_waiters();
        self.timer.set(*self.next_refresh.lock());
        topic
    }

    /// Fails all records of a deleted topic, and only then removes the topic, so that a flush misses no record.
    pub(super) fn fail_topic(&self, name: &TopicName, error: &RequestError) {
        let Some(topic) = self.known_topic(name.as_str()) else { return };
        self.release(topic.close(error));
        self.epoch_changed.notify_waiters();
        debug_assert!(
            topic.partitions().iter().all(|partition| !partition.lock().queue.is_busy()),
            "unsettled records of {name} would be unreachable"
        );
        self.topics.write().remove(name.as_str());
    }

    fn queue(&self, topic: &ProducerTopic, topic_id: TopicId, partition: PartitionId) -> PartitionQueue {
        let ProducerSettings { batches, window, .. } = self.settings;
        let identity = self.identities.as_ref().map(|identities| identities.first);
        PartitionQueue::new(topic.topic_partition(partition), batches, window, topic_id, identity)
            .reporting_to(self.unobserved.clone())
            .stopping(self.settings.on_failure)
    }

    /// Sends all batches of a partition that may be sent now.
    pub(super) fn drain(self: &Arc<Self>, topic: &Arc<ProducerTopic>, partition: &Arc<ProducerPartition>) {
        let (next_action, deadline) = partition.next_action(self.connection_kind(), Instant::now);
        self.set_timer(deadline);
        self.run_actions(topic, partition, next_action);
    }

    /// Queues records with `fill` and runs the actions that follow; returns `None` if the partition or the producer is
    /// closed. See [`ProducerPartition::push`].
    pub(super) fn push<D>(
        self: &Arc<Self>,
        topic: &Arc<ProducerTopic>,
        partition: &Arc<ProducerPartition>,
        fill: impl FnOnce(&mut PartitionQueue) -> (D, bool),
    ) -> Option<D> {
        // Another caller waits for the memory that the batch of these records holds.
        let ends_linger = self.memory.is_short() && self.settings.lingers();
        let kind = self.connection_kind();
        match partition.push(kind, ends_linger, || self.is_closed(), Instant::now, fill) {
            PushResult::Closed => None,
            PushResult::Joined(delivery) => Some(delivery),
            PushResult::Stopped(delivery, released) => {
                self.release(released);
                Some(delivery)
            }
            PushResult::Sends(delivery, next_action, deadline) => {
                self.set_timer(deadline);
                self.run_actions(topic, partition, next_action);
                Some(delivery)
            }
        }
    }

    /// Ends all lingers, because the memory is full: the callers that could fill the batches may all be waiting for
    /// memory.
    pub(super) fn end_lingers(self: &Arc<Self>) {
        if !self.settings.lingers() {
            return;
        }
        for topic in self.topics() {
            for partition in topic.partitions() {
                partition.lock().queue.seal();
                self.drain(&topic, &partition);
            }
        }
    }

    /// Runs this action and all that follow from it.
    pub(super) fn run_actions(
        self: &Arc<Self>,
        topic: &Arc<ProducerTopic>,
        partition: &Arc<ProducerPartition>,
        mut next_action: NextAction,
    ) {
        loop {
            let (step, connection) = match next_action {
                NextAction::Send(step, connection) => (step, connection),
                NextAction::Connect => return self.reconnect(topic),
                NextAction::Idle => return,
            };
            match step {
                SendStep::Build(numbered) => self.build(topic, partition, &connection, numbered),
                SendStep::Resend(attempts) => {
                    self.totals.retried(attempts.len());
                    attempts.into_iter().for_each(|attempt| self.send(topic, partition, &connection, attempt));
                }
                SendStep::Fence(attempt) => return self.fence(topic, partition, &connection, attempt),
                SendStep::Identify(old) => return self.identify(topic, partition, old), // Sending waits for it.
            }
            let deadline;
            (next_action, deadline) = partition.end_step(self.connection_kind(), Instant::now);
            self.set_timer(deadline);
        }
    }

    fn build(
        self: &Arc<Self>,
        topic: &Arc<ProducerTopic>,
        partition: &Arc<ProducerPartition>,
        connection: &BrokerConnection,
        numbered: NumberedBatch,
    ) {
        let plain_bytes = numbered.builder.size();
        let records = numbered.builder.count();
        let bytes = numbered.builder.build(numbered.stamp).freeze();
        self.totals.sent(records, bytes.len());
        topic.partitioner_state.batch_left(partition.number.value(), plain_bytes, topic.count());
        let attempt = partition.lock().built(numbered.id, bytes);
        if let Some(attempt) = attempt {
            self.send(topic, partition, connection, attempt);
        }
    }

    fn send(
        self: &Arc<Self>,
        topic: &Arc<ProducerTopic>,
        partition: &Arc<ProducerPartition>,
        connection: &BrokerConnection,
        attempt: SendAttempt,
    ) {
        let SendAttempt { id, topic: topic_id, expected_end, bytes } = attempt;
        let acks = self.settings.acks;
        let timeout_ms = u32::try_from(self.cluster.request_timeout().as_millis()).unwrap_or(u32::MAX);
        let part =
            ProducePartition { topic: topic_id, partition: partition.number, length: bytes.len() as u32, expected_end };
        let request = Request::Produce(Produce { acks, timeout_ms, partitions: vec![part] });
        let (engine, topic, partition) = (self.clone(), topic.clone(), partition.clone());
        let address = connection.address().clone();
        let done = Box::new(move |answer: Result<BrokerAnswer, RequestError>| {
            let ack = answer.and_then(|answer| ack_of(&address, acks, answer.response));
            engine.answered(&topic, &partition, id, ack);
        });
        match acks {
            Acks::None => connection.submit_unanswered(&request, bytes, done),
            Acks::Leader | Acks::All => connection.submit(&request, bytes, Duration::ZERO, done),
        }
    }

    fn answered(
        self: &Arc<Self>,
        topic: &Arc<ProducerTopic>,
        partition: &Arc<ProducerPartition>,
        id: u64,
        result: AttemptResult,
    ) {
        let (released, metadata_outdated) = partition.answered(id, result, Instant::now);
        self.release(released);
        if metadata_outdated {
            self.reconnect(topic);
        }
        self.drain(topic, partition);
    }

    /// Frees the memory of settled records and wakes their callers, outside all locks.
    pub(super) fn release(&self, released: Vec<ReleasedRecords>) {
        for ReleasedRecords { reserved, wakers, records, is_acknowledged } in released {
            self.memory.release(reserved); // First: a woken caller sends its next record.
            self.totals.settled(records, is_acknowledged);
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// Sets the timer to a queue's deadline. Must follow every change of a queue, or its deadline would be missed.
    fn set_timer(&self, deadline: Option<Instant>) {
        if let Some(deadline) = deadline {
            self.timer.set(deadline);
        }
    }

    /// Handles deadlines until the producer is dropped or closed; both wake the timer.
    pub(super) async fn run_timer(self: &Arc<Self>) {
        while !self.is_closed() || self.is_busy() {
            self.tick(Instant::now());
            self.timer.expired().await;
        }
    }

    fn tick(self: &Arc<Self>, now: Instant) {
        let refresh = {
            let mut next = self.next_refresh.lock();
            let due = *next <= now;
            if due {
                *next = Deadline::of(now, self.settings.metadata_max_age).end();
            }
            due
        };
        let topics = self.topics();
        if !topics.is_empty() {
            self.timer.set(*self.next_refresh.lock());
        }
        for topic in topics {
            if refresh {
                self.reconnect(&topic);
            }
            for partition in topic.partitions() {
                self.release(partition.expire(now));
                self.drain(&topic, &partition);
            }
        }
    }

    fn is_busy(&self) -> bool {
        let busy = |partition: Arc<ProducerPartition>| partition.lock().queue.is_busy();
        self.topics().iter().any(|topic| topic.partitions().into_iter().any(busy))
    }
}

#[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Returns the ack from the answer to a request with one batch.
fn ack_of(address: &Arc<str>, acks: Acks, response: Response) -> AttemptResult {
    match response {
        Response::Done if acks == Acks::None => Ok(BatchAck { base_offset: None, durability: Durability::None }),
        Response::Produce(parts) => {
            let produced = single_part(address, "produce", parts)?;
            Ok(BatchAck { base_offset: Some(produced.base_offset), durability: produced.durability })
        }
        other => Err(crate::error::unexpected_response(address, "produce", other)),
    }
}
