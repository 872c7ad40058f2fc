//! A topic as a producer sees it: its partitions' lines, and whose turn it is.
//!
//! A sender looks its partition up, waits for memory, and only then hands its record in. Meanwhile the topic may be
//! deleted, or created again with fewer partitions. So what takes no more records is *closed* under its lock, and who
//! finds it closed looks the topic up again: a record is never put where neither the timer nor a flush would find it.

use super::delivery::{Delivery, Placed};
use super::entry::{Attempt, BatchId, Effects, Told, tell};
use super::line::{Line, Step};
use super::partitioner::{Partitioner, Turn};
use super::route::{Passable, Passage, Road, Route};
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
pub(super) struct Topic {
    pub(super) name: TopicName,
    pub(super) turn: Turn,
    /// Also those that the topic had before it was made anew with fewer: they may hold records.
    partitions: RwLock<Vec<Arc<Partition>>>,
    /// How many it has now.
    count: AtomicU32,
    repairing: AtomicBool,
    /// Deleted, and out of the engine's sight or about to be. For ever: a topic of the same name gets another object.
    closed: AtomicBool,
}

/// One partition.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) number: PartitionId,
    state: Mutex<State>,
}

/// What is behind a partition's lock.
#[derive(Debug)]
pub(super) struct State<L = BrokerConnection> {
    pub(super) line: Line,
    /// The connection to its leader.
    pub(super) route: Route<L>,
    /// The topic has no such partition now: nothing is pushed.
    closed: bool,
}

/// What became of a record that was handed in.
pub(super) enum Pushed {
    /// It joined a batch whose turn comes anyway.
    Joined(Delivery),
    /// This is to be done now, and looked at again at that time.
    Sends(Delivery, Turnout, Option<Instant>),
    /// Nothing: the partition is closed.
    Closed,
}

/// What a sender does next.
pub(super) enum Turnout<L = BrokerConnection> {
    /// This, over this connection.
    Step(Step, L),
    /// Find the leader and connect.
    Connect,
    /// Nothing.
    Rest,
}

impl Topic {
    pub(super) fn new(name: TopicName) -> Self {
        let turn = Turn::starting_at(getrandom::u32().unwrap_or(0));
        Self {
            name,
            turn,
            partitions: RwLock::default(),
            count: AtomicU32::new(0),
            repairing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn place(&self, partition: PartitionId) -> TopicPartition {
        TopicPartition { topic: self.name.clone(), partition }
    }

    /// Is the topic with the id `home` from now on, and has `count` partitions. What was for partitions that the topic no
    /// longer has fails.
    pub(super) fn update(&self, home: TopicId, count: u32, line: impl Fn(PartitionId) -> Line) -> Vec<Told> {
        debug_assert!(!self.is_closed(), "a topic that was given up is not looked up again");
        let mut partitions = self.partitions.write();
        let mut told = Vec::new();
        for partition in partitions.iter() {
            let mut state = partition.lock();
            state.line.move_home(home);
            state.closed = count <= partition.number.value();
            if state.closed {
                told.extend(tell(state.line.fail_all(&self.lost(partition.number), Instant::now())));
            }
        }
        for number in (partitions.len() as u32..count).map(PartitionId::new) {
            partitions.push(Arc::new(Partition { number, state: Mutex::new(State::new(line(number))) }));
        }
        self.count.store(count, Ordering::Release);
        told
    }

    /// The topic is gone: takes no more records, and everything that was for it fails.
    pub(super) fn close(&self, error: &RequestError) -> Vec<Told> {
        self.closed.store(true, Ordering::Release);
        let mut told = Vec::new();
        for partition in self.partitions() {
            let mut state = partition.lock();
            state.closed = true;
            told.extend(tell(state.line.fail_all(error, Instant::now())));
        }
        told
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

    pub(super) fn partitions(&self) -> Vec<Arc<Partition>> {
        self.partitions.read().clone()
    }

    /// Those that the topic has now.
    pub(super) fn open_partitions(&self) -> Vec<Arc<Partition>> {
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
    ) -> Option<Arc<Partition>> {
        let count = self.count();
        let number = match wanted {
            Some(partition) => partition.value(),
            None => self.turn.choose(partitioner, key, count),
        };
        if number < count { self.partitions.read().get(number as usize).cloned() } else { None }
    }

    /// True for the one caller who shall repair: refresh metadata and connect.
    pub(super) fn begin_repair(&self) -> bool {
        !self.repairing.swap(true, Ordering::AcqRel)
    }

    pub(super) fn end_repair(&self) {
        self.repairing.store(false, Ordering::Release);
    }

    /// Whether some partition has records and no connection that would do.
    pub(super) fn is_stuck(&self, road: Road) -> bool {
        self.partitions.read().iter().any(|partition| partition.lock().is_stuck(road))
    }
}

impl Partition {
    /// Short, and never across I/O.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Hands in a record that holds `reserved` bytes of memory, unless the partition or its producer is closed. If
    /// `hurries`, nothing lingers.
    pub(super) fn push(
        &self,
        record: &batch::Record,
        reserved: usize,
        road: Road,
        hurries: bool,
        is_producer_closed: impl Fn() -> bool,
    ) -> Pushed {
        let mut state = self.lock();
        if state.closed || is_producer_closed() {
            return Pushed::Closed; // Seen under the lock: nothing comes after what closed it.
        }
        let was_busy = state.line.is_busy();
        let (delivery, is_news) = state.line.push(record, reserved, Instant::now);
        if hurries {
            state.line.seal();
        }
        if !is_news && !hurries {
            return Pushed::Joined(delivery);
        }
        let turnout = state.turnout(road, Instant::now());
        // After the turn: what just left needs no alarm before its delivery timeout.
        let deadline = if was_busy { None } else { state.line.deadline() };
        Pushed::Sends(delivery, turnout, deadline)
    }

    /// The answer to an attempt. True comes with it if the client's picture of the cluster may be old.
    pub(super) fn answered(&self, id: BatchId, result: Result<Placed, RequestError>) -> (Vec<Told>, bool) {
        let mut state = self.lock();
        let effects = state.answered(id, result, Instant::now());
        (tell(effects.settled), effects.look_again)
    }

    /// Gives up what is older than the delivery timeout.
    pub(super) fn expire(&self, now: Instant) -> Vec<Told> {
        let mut state = self.lock();
        tell(state.line.expire(now))
    }

    /// What to do now, and when to look again although nothing happened.
    pub(super) fn turnout(&self, road: Road) -> (Turnout, Option<Instant>) {
        let mut state = self.lock();
        (state.turnout(road, Instant::now()), state.line.deadline())
    }

    /// Likewise, once a step was done.
    pub(super) fn rest(&self, road: Road) -> (Turnout, Option<Instant>) {
        let mut state = self.lock();
        state.line.rest();
        (state.turnout(road, Instant::now()), state.line.deadline())
    }
}

impl<L: Passable> State<L> {
    pub(super) fn new(line: Line) -> Self {
        Self { line, route: Route::default(), closed: false }
    }

    /// What to do next, for a producer that wants this road.
    pub(super) fn turnout(&mut self, road: Road, now: Instant) -> Turnout<L> {
        match self.route.passage(road) {
            Passage::Open(connection) => match self.line.next(now) {
                Some(step) => {
                    self.route.depart(step.attempts());
                    Turnout::Step(step, connection)
                }
                None => Turnout::Rest,
            },
            Passage::Missing if self.line.is_busy() => Turnout::Connect,
            Passage::Missing | Passage::Turning => Turnout::Rest,
        }
    }

    /// The bytes of a batch whose step was taken: what to send, unless it was given up meanwhile.
    pub(super) fn built(&mut self, id: BatchId, bytes: Bytes) -> Option<Attempt> {
        let attempt = self.line.built(id, bytes);
        if attempt.is_none() {
            self.route.arrived();
        }
        attempt
    }

    /// The answer to an attempt.
    pub(super) fn answered(&mut self, id: BatchId, result: Result<Placed, RequestError>, now: Instant) -> Effects {
        self.route.arrived();
        self.line.answered(id, result, now)
    }

    /// Whether it has records and no connection that would do.
    pub(super) fn is_stuck(&mut self, road: Road) -> bool {
        self.line.is_busy() && self.route.passage(road) == Passage::Missing
    }
}
