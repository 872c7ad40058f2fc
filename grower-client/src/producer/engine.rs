//! What runs a producer: takes steps of its lines, sends, handles answers, repairs.
//!
//! Sending happens wherever there is reason to: in the task that handed in a record, or on the connection's task when an
//! answer makes room. Two tasks of its own wait for time to pass and for brokers to come back.

use super::alarm::Alarm;
use super::builder::Settings;
use super::delivery::{Delivery, Placed, Unseen};
use super::entry::{Attempt, Numbered, Told};
use super::line::{Line, Step};
use super::lookup::Lookups;
use super::memory::Memory;
use super::route::Road;
use super::topic::{Partition, Pushed, Topic, Turnout};
use crate::cluster::Cluster;
use crate::connection::{BrokerAnswer, BrokerConnection, ConnectionPool};
use crate::error::{RequestError, single_part};
use grower_protocol::batch;
use grower_protocol::ids::{PartitionId, TopicId, TopicName};
use grower_protocol::message::{
    Acks, Durability, Produce, ProducePartition, ProducerIdentity, Request, Response, TopicMetadata,
};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Duration;
use tokio::time::Instant;

/// How much a producer may have unacknowledged, in bytes, and still share its connection with the others of its client.
/// So nobody's record waits behind more than this of each of them.
const SHARING_BYTES_MAX: usize = 32 << 10;

/// One producer's inside.
pub(super) struct Engine {
    pub(super) cluster: Arc<Cluster>,
    pool: ConnectionPool,
    pub(super) settings: Settings,
    pub(super) memory: Memory,
    identity: Option<ProducerIdentity>,
    topics: RwLock<HashMap<Arc<str>, Arc<Topic>>>,
    pub(super) lookups: Lookups,
    pub(super) unseen: Arc<Unseen>,
    alarm: Alarm,
    next_refresh: Mutex<Instant>,
    closed: AtomicBool,
    /// It sends too much to share a connection; for ever, since turning from one to another costs a wait.
    is_bulk: AtomicBool,
}

impl Engine {
    pub(super) fn start(cluster: Arc<Cluster>, settings: Settings, identity: Option<ProducerIdentity>) -> Arc<Self> {
        let engine = Arc::new(Self {
            pool: ConnectionPool::new(cluster.dialer().clone()),
            memory: Memory::new(settings.memory_bytes),
            next_refresh: Mutex::new(Instant::now() + settings.metadata_max_age),
            cluster,
            settings,
            identity,
            topics: RwLock::default(),
            lookups: Lookups::default(),
            unseen: Arc::default(),
            alarm: Alarm::default(),
            closed: AtomicBool::new(false),
            // Nothing tells when the last batch without an answer has arrived, so it could not turn to another connection.
            is_bulk: AtomicBool::new(settings.acks == Acks::None),
        });
        tokio::spawn(engine.clone().keep_time());
        engine
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Takes no more records.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.memory.close();
    }

    /// Forgets what is not settled and ends the tasks.
    pub(super) fn abandon(&self) {
        self.close();
        for topic in self.topics() {
            for partition in topic.partitions() {
                let promises = partition.lock().line.abandon();
                drop(promises); // Wakes whoever waits, outside the lock.
            }
        }
        self.alarm.at(Instant::now());
    }

    /// Looks whether so much is under way that it must not go over the shared connection.
    pub(super) fn weigh(&self) {
        if SHARING_BYTES_MAX < self.memory.used() && self.road() == Road::Shared {
            self.is_bulk.store(true, Ordering::Release);
        }
    }

    /// Whose connections it takes.
    pub(super) fn road(&self) -> Road {
        if self.is_bulk.load(Ordering::Acquire) { Road::Own } else { Road::Shared }
    }

    pub(super) fn pool(&self, road: Road) -> &ConnectionPool {
        match road {
            Road::Shared => self.cluster.shared_pool(),
            Road::Own => &self.pool,
        }
    }

    pub(super) fn topics(&self) -> Vec<Arc<Topic>> {
        self.topics.read().values().cloned().collect()
    }

    /// A topic that was written to before.
    pub(super) fn known(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.read().get(name).cloned()
    }

    /// Brings a topic up to date: more partitions, or another topic under the same name.
    pub(super) fn learn(&self, metadata: &TopicMetadata) -> Arc<Topic> {
        let name: Arc<str> = Arc::from(&metadata.name);
        let topic =
            self.topics.write().entry(name).or_insert_with(|| Arc::new(Topic::new(metadata.name.clone()))).clone();
        let count = metadata.partitions.len() as u32;
        let told = topic.update(metadata.id, count, |number| self.line(&topic, metadata.id, number));
        self.settle(told);
        self.alarm.at(*self.next_refresh.lock());
        topic
    }

    /// The topic is gone: everything that was for it fails. Only then it is forgotten, so that a flush misses nothing.
    pub(super) fn give_up(&self, name: &TopicName, error: &RequestError) {
        let Some(topic) = self.known(name.as_str()) else { return };
        self.settle(topic.close(error));
        self.topics.write().remove(name.as_str());
    }

    fn line(&self, topic: &Topic, home: TopicId, partition: PartitionId) -> Line {
        let Settings { batches, window, .. } = self.settings;
        Line::new(topic.place(partition), batches, window, home, self.identity).reporting_to(self.unseen.clone())
    }

    /// Sends whatever can be sent of a partition.
    pub(super) fn drain(self: &Arc<Self>, topic: &Arc<Topic>, partition: &Arc<Partition>) {
        let (turnout, deadline) = partition.turnout(self.road());
        self.watch(deadline);
        self.turn_out(topic, partition, turnout);
    }

    /// Hands in a record that holds `reserved` bytes of memory; none if the partition, or the producer, is closed.
    pub(super) fn push(
        self: &Arc<Self>,
        topic: &Arc<Topic>,
        partition: &Arc<Partition>,
        record: &batch::Record,
        reserved: usize,
    ) -> Option<Delivery> {
        // Somebody waits for the memory that this record's batch holds.
        let hurries = self.memory.is_short() && self.settings.lingers();
        match partition.push(record, reserved, self.road(), hurries, || self.is_closed()) {
            Pushed::Closed => None,
            Pushed::Joined(delivery) => Some(delivery),
            Pushed::Sends(delivery, turnout, deadline) => {
                self.watch(deadline);
                self.turn_out(topic, partition, turnout);
                Some(delivery)
            }
        }
    }

    /// Memory is full: no batch lingers any longer, since those who wait for room may be all who could fill it.
    pub(super) fn hurry(self: &Arc<Self>) {
        if !self.settings.lingers() {
            return;
        }
        for topic in self.topics() {
            for partition in topic.partitions() {
                partition.lock().line.seal();
                self.drain(&topic, &partition);
            }
        }
    }

    /// Takes this step and all that can be taken after it.
    pub(super) fn turn_out(self: &Arc<Self>, topic: &Arc<Topic>, partition: &Arc<Partition>, mut turnout: Turnout) {
        loop {
            let (step, connection) = match turnout {
                Turnout::Step(step, connection) => (step, connection),
                Turnout::Connect => return self.repair(topic),
                Turnout::Rest => return,
            };
            match step {
                Step::Build(numbered) => self.build(topic, partition, &connection, numbered),
                Step::Resend(attempts) => {
                    attempts.into_iter().for_each(|attempt| self.send(topic, partition, &connection, attempt));
                }
                Step::Identify => return self.identify(topic, partition), // Nothing can be sent until it has come.
            }
            let deadline;
            (turnout, deadline) = partition.rest(self.road());
            self.watch(deadline);
        }
    }

    fn build(
        self: &Arc<Self>,
        topic: &Arc<Topic>,
        partition: &Arc<Partition>,
        connection: &BrokerConnection,
        numbered: Numbered,
    ) {
        let plain_bytes = numbered.builder.size();
        let bytes = numbered.builder.build(numbered.stamp).freeze();
        topic.turn.left(partition.number.value(), plain_bytes, topic.count());
        let attempt = partition.lock().built(numbered.id, bytes);
        if let Some(attempt) = attempt {
            self.send(topic, partition, connection, attempt);
        }
    }

    fn send(
        self: &Arc<Self>,
        topic: &Arc<Topic>,
        partition: &Arc<Partition>,
        connection: &BrokerConnection,
        attempt: Attempt,
    ) {
        let Attempt { id, topic: home, bytes } = attempt;
        let acks = self.settings.acks;
        let timeout_ms = u32::try_from(self.cluster.request_timeout().as_millis()).unwrap_or(u32::MAX);
        let part = ProducePartition { topic: home, partition: partition.number, length: bytes.len() as u32 };
        let request = Request::Produce(Produce { acks, timeout_ms, partitions: vec![part] });
        let (engine, topic, partition) = (self.clone(), topic.clone(), partition.clone());
        let address = connection.address().clone();
        let done = Box::new(move |answer: Result<BrokerAnswer, RequestError>| {
            let placed = answer.and_then(|answer| placed(&address, acks, answer.response));
            engine.answered(&topic, &partition, id, placed);
        });
        match acks {
            Acks::None => connection.submit_unanswered(&request, bytes, done),
            Acks::Leader | Acks::All => connection.submit(&request, bytes, Duration::ZERO, done),
        }
    }

    fn answered(
        self: &Arc<Self>,
        topic: &Arc<Topic>,
        partition: &Arc<Partition>,
        id: u64,
        result: Result<Placed, RequestError>,
    ) {
        let (told, look_again) = partition.answered(id, result);
        self.settle(told);
        if look_again {
            self.repair(topic);
        }
        self.drain(topic, partition);
    }

    /// Outside all locks.
    fn settle(&self, told: Vec<Told>) {
        for Told { reserved, waiting } in told {
            self.memory.release(reserved); // First: who hears of the ack sends the next.
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// Gets a new producer id for one partition.
    fn identify(self: &Arc<Self>, topic: &Arc<Topic>, partition: &Arc<Partition>) {
        let (engine, topic, partition) = (self.clone(), topic.clone(), partition.clone());
        tokio::spawn(async move {
            let identity = identity(&engine.cluster).await;
            tracing::debug!(topic = %topic.name, partition = %partition.number, ok = identity.is_ok(), "asked for a new producer id");
            partition.lock().line.become_producer(identity, Instant::now());
            engine.drain(&topic, &partition);
        });
    }

    /// Sets the alarm for a partition. Follows whatever changes a line, else nobody would look when its time has come.
    fn watch(&self, deadline: Option<Instant>) {
        if let Some(deadline) = deadline {
            self.alarm.at(deadline);
        }
    }

    /// Ends once the producer was dropped or closed: both ring the alarm.
    async fn keep_time(self: Arc<Self>) {
        while !self.is_closed() || self.is_busy() {
            self.tick(Instant::now());
            self.alarm.ring().await;
        }
    }

    fn tick(self: &Arc<Self>, now: Instant) {
        let refresh = {
            let mut next = self.next_refresh.lock();
            let due = *next <= now;
            if due {
                *next = now + self.settings.metadata_max_age;
            }
            due
        };
        let topics = self.topics();
        if !topics.is_empty() {
            self.alarm.at(*self.next_refresh.lock());
        }
        for topic in topics {
            if refresh {
                self.repair(&topic);
            }
            for partition in topic.partitions() {
                self.settle(partition.expire(now));
                self.drain(&topic, &partition);
            }
        }
    }

    fn is_busy(&self) -> bool {
        let busy = |partition: Arc<Partition>| partition.lock().line.is_busy();
        self.topics().iter().any(|topic| topic.partitions().into_iter().any(busy))
    }
}

/// A producer id, never used before.
pub(super) async fn identity(cluster: &Cluster) -> Result<ProducerIdentity, RequestError> {
    match cluster.ask_retrying(&Request::InitProducer).await? {
        (_, Response::InitProducer(identity)) => Ok(identity),
        (connection, other) => Err(connection.unexpected("init producer", other)),
    }
}

/// What the answer to a request with one batch says.
fn placed(address: &Arc<str>, acks: Acks, response: Response) -> Result<Placed, RequestError> {
    match response {
        Response::Done if acks == Acks::None => Ok(Placed { base_offset: None, durability: Durability::None }),
        Response::Produce(parts) => {
            let produced = single_part(address, "produce", parts)?;
            Ok(Placed { base_offset: Some(produced.base_offset), durability: produced.durability })
        }
        other => Err(crate::error::unexpected_response(address, "produce", other)),
    }
}
