//! A topic as a producer sees it: its partitions' lines, and whose turn it is.

use super::delivery::Placed;
use super::entry::{Attempt, BatchId, Effects};
use super::line::{Line, Step};
use super::partitioner::{Partitioner, Turn};
use super::route::{Passable, Passage, Road, Route};
use crate::connection::Link;
use crate::error::RequestError;
use crate::record::{Record, TopicPartition};
use bytes::Bytes;
use grower_protocol::ids::{PartitionId, TopicName};
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
}

/// One partition.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) number: PartitionId,
    state: Mutex<State>,
}

/// What is behind a partition's lock.
#[derive(Debug)]
pub(super) struct State<L = Link> {
    pub(super) line: Line,
    /// The connection to its leader.
    pub(super) route: Route<L>,
}

/// What a sender does next.
pub(super) enum Turnout<L = Link> {
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
        Self { name, turn, partitions: RwLock::default(), count: AtomicU32::new(0), repairing: AtomicBool::new(false) }
    }

    pub(super) fn place(&self, partition: PartitionId) -> TopicPartition {
        TopicPartition { topic: self.name.clone(), partition }
    }

    /// Has `count` partitions from now on.
    pub(super) fn resize(&self, count: u32, line: impl Fn(PartitionId) -> Line) {
        let mut partitions = self.partitions.write();
        for number in (partitions.len() as u32..count).map(PartitionId::new) {
            let state = Mutex::new(State { line: line(number), route: Route::default() });
            partitions.push(Arc::new(Partition { number, state }));
        }
        self.count.store(count, Ordering::Release);
    }

    pub(super) fn count(&self) -> u32 {
        self.count.load(Ordering::Acquire)
    }

    pub(super) fn partitions(&self) -> Vec<Arc<Partition>> {
        self.partitions.read().clone()
    }

    /// The partition for `record`; none if it asks for one that is not there.
    pub(super) fn route(&self, record: &Record, partitioner: Partitioner) -> Option<Arc<Partition>> {
        let count = self.count();
        let number = match record.partition {
            Some(partition) => partition.value(),
            None => self.turn.choose(partitioner, record.key.as_deref(), count),
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

    /// What to do next, once a step was done.
    pub(super) fn rest(&self, road: Road) -> Turnout {
        let mut state = self.state.lock();
        state.line.rest();
        state.turnout(road, Instant::now())
    }
}

impl<L: Passable> State<L> {
    /// What to do next, for a producer that wants this road.
    pub(super) fn turnout(&mut self, road: Road, now: Instant) -> Turnout<L> {
        match self.route.passage(road) {
            Passage::Open(link) => match self.line.next(now) {
                Some(step) => {
                    self.route.depart(step.attempts());
                    Turnout::Step(step, link)
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
