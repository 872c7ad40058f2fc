//! A partition with connections that break, move and become too small: it never uses two at once and is never stuck.

use super::*;
use crate::deadline::Deadline;
use crate::error::{ConnectionError, RequestError};
use crate::producer::accumulator::BatchSettings;
use crate::producer::delivery::BatchAck;
use crate::producer::in_flight::{BatchId, FenceAttempt, NumberedBatch, SendAttempt, SettledRecords};
use crate::producer::promise::DeliveryPromise;
use crate::producer::queue::{PartitionQueue, SendStep};
use crate::producer::sequence_window::WindowSettings;
use crate::producer::topic::{NextAction, PartitionSendState};
use crate::record::TopicPartition;
use grower_protocol::batch::Record;
use grower_protocol::compression::Codec;
use grower_protocol::ids::{Offset, PartitionId, ProducerEpoch, ProducerId, Timestamp, TopicId, TopicName};
use grower_protocol::message::{Durability, ErrorCode, Failure, ProducerIdentity};
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// Longer than all waits of a test, so that no timeout hides a sender that is never woken.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(1_000);
/// More than any backoff.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
struct Wire {
    number: usize,
    is_open: Rc<Cell<bool>>,
}

impl PartialEq for Wire {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl SelectableConnection for Wire {
    fn is_open(&self) -> bool {
        self.is_open.get()
    }
}

/// A sender during its step.
struct Sender {
    wire: Wire,
    to_build: Option<NumberedBatch>,
    to_send: VecDeque<SendAttempt>,
}

enum NextEpoch {
    Fence(FenceAttempt),
    Identity,
}

#[derive(Clone, Debug)]
enum Event {
    Push,
    /// The sender builds a batch, sends an attempt, or takes the next step.
    Act,
    Answer(usize, Option<ErrorCode>),
    /// The connection closes. Its pending requests fail one by one.
    Close,
    /// The producer has outgrown the shared connection.
    Grow,
    /// Another broker becomes the leader; the old connection stays open.
    Move,
    /// The requested reconnect is done.
    Repaired,
    Identified,
    Wait,
    /// Every delivery timeout passes; batches in flight stay there.
    TimeOut,
}

struct World {
    state: PartitionSendState<Wire>,
    kind: ConnectionKind,
    now: Instant,
    sender: Option<Sender>,
    in_flight: Vec<(Wire, BatchId)>,
    /// The last connection of each kind.
    shared: Option<Wire>,
    own: Option<Wire>,
    wires: usize,
    repairing: Option<ConnectionKind>,
    /// The request for the next epoch that the broker has not answered yet.
    next_epoch: Option<NextEpoch>,
    answers: u64,
}

impl World {
    fn new() -> Self {
        let topic_partition = TopicPartition { topic: TopicName::new("t").unwrap(), partition: PartitionId::new(0) };
        let batches = BatchSettings { codec: Codec::None, bytes: 1 << 20, records: 1, linger: Duration::ZERO };
        let window = WindowSettings {
            codec: Codec::None,
            in_flight_max: 5,
            is_named: false,
            retry_wait: |_, _| Duration::from_secs(1),
        };
        let queue =
            PartitionQueue::new(topic_partition, batches, window, TopicId::from_random([7; 16]), Some(identity(1)));
        Self {
            state: PartitionSendState::new(queue),
            kind: ConnectionKind::Shared,
            now: Instant::now(),
            sender: None,
            in_flight: Vec::new(),
            shared: None,
            own: None,
            wires: 0,
            repairing: None,
            next_epoch: None,
            answers: 0,
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Push => {
                let deliver = |promise: &DeliveryPromise, index| drop(promise.delivery(index, Timestamp::default()));
                let deadline = Deadline::ending(self.now + DELIVERY_TIMEOUT, DELIVERY_TIMEOUT);
                self.state.queue.push((&Record::default()).into(), 1, deadline, || self.now, deliver);
                self.run_actions();
            }
            Event::Act => self.act(),
            Event::Answer(which, refusal) => self.answer(which, refusal),
            Event::Close => {
                let wire = self.in_flight.last().map(|(wire, _)| wire).or(self.shared.as_ref());
                wire.into_iter().for_each(|wire| wire.is_open.set(false));
            }
            Event::Grow => self.kind = ConnectionKind::Dedicated,
            Event::Move => {
                (self.shared, self.own) = (None, None);
                self.reconnect();
            }
            Event::Repaired => self.repaired(),
            Event::Identified => {
                match self.next_epoch.take() {
                    Some(NextEpoch::Fence(attempt)) => settle(self.state.queue.fenced(attempt, Ok(None), self.now)),
                    Some(NextEpoch::Identity) => {
                        self.answers += 1;
                        self.state.queue.set_identity(Ok(identity(self.answers + 1)), self.now);
                    }
                    None => return,
                }
                self.run_actions();
            }
            Event::Wait => self.wait(PAUSE),
            Event::TimeOut => self.wait(DELIVERY_TIMEOUT),
        }
    }

    /// Takes the next step, as a sender does, if no other sender is active.
    fn run_actions(&mut self) {
        match self.state.next_action(self.kind, self.now) {
            NextAction::Send(SendStep::Build(numbered), wire) => {
                self.sender = Some(Sender { wire, to_build: Some(numbered), to_send: VecDeque::new() });
            }
            NextAction::Send(SendStep::Resend(attempts), wire) => {
                self.sender = Some(Sender { wire, to_build: None, to_send: attempts.into() });
            }
            NextAction::Send(SendStep::Fence(attempt), _) => self.next_epoch = Some(NextEpoch::Fence(attempt)),
            NextAction::Send(SendStep::Identify(_), _) => self.next_epoch = Some(NextEpoch::Identity),
            NextAction::Connect => self.reconnect(),
            NextAction::Idle => {}
        }
    }

    fn act(&mut self) {
        let Some(sender) = &mut self.sender else { return };
        if let Some(numbered) = sender.to_build.take() {
            let bytes = numbered.builder.build(numbered.stamp).freeze();
            sender.to_send.extend(self.state.built(numbered.id, bytes));
        } else if let Some(attempt) = sender.to_send.pop_front() {
            let (wire, id) = (sender.wire.clone(), attempt.id);
            self.in_flight.push((wire, id));
            let first = &self.in_flight[0].0;
            assert!(self.in_flight.iter().all(|(wire, _)| wire == first), "on two connections: {:?}", self.in_flight);
        } else {
            self.sender = None;
            self.state.queue.end_step();
            self.run_actions();
        }
    }

    fn answer(&mut self, which: usize, refusal: Option<ErrorCode>) {
        if self.in_flight.is_empty() {
            return;
        }
        let (wire, id) = self.in_flight.remove(which % self.in_flight.len());
        self.answers += 1;
        let ack = BatchAck { base_offset: Some(Offset::new(self.answers)), durability: Durability::Fsynced };
        let lost = || RequestError::Lost(ConnectionError::Closed { address: "b".into() });
        let result = match refusal {
            _ if !wire.is_open() => Err(lost()),
            Some(code) => Err(Failure::new(code, "as the test wants").into()),
            None => Ok(ack),
        };
        let effects = self.state.answered(id, result, self.now);
        settle(effects.settled);
        if effects.metadata_outdated {
            self.reconnect();
        }
        self.run_actions();
    }

    fn reconnect(&mut self) {
        self.repairing.get_or_insert(self.kind); // The kind is chosen before the connection is open.
    }

    fn repaired(&mut self) {
        let Some(kind) = self.repairing.take() else { return };
        let wires = self.wires;
        let pool = if kind == ConnectionKind::Dedicated { &mut self.own } else { &mut self.shared };
        if pool.as_ref().is_none_or(|wire| !wire.is_open()) {
            *pool = Some(Wire { number: wires, is_open: Rc::new(Cell::new(true)) });
            self.wires += 1;
        }
        let wire = pool.clone().unwrap();
        self.state.selector.offer(kind, wire);
        self.run_actions();
        if self.state.lacks_connection(self.kind) {
            self.reconnect();
        }
    }

    /// Lets time pass; the timer expires if its time has come.
    fn wait(&mut self, time: Duration) {
        let deadline = self.state.queue.deadline(self.now);
        self.now += time;
        if deadline.is_some_and(|deadline| deadline <= self.now) {
            settle(self.state.queue.expire(self.now));
            self.run_actions();
        }
    }

    /// Ends all faults; no record is queued any more.
    fn heal(&mut self) {
        for _ in 0..40 {
            self.apply(Event::Repaired);
            (0..20).for_each(|_| self.apply(Event::Act));
            (0..5).for_each(|_| self.apply(Event::Answer(0, None)));
            self.apply(Event::Identified);
            self.apply(Event::Wait);
        }
    }

    fn check(&self) {
        assert!(!self.state.queue.is_busy(), "stuck, with {:?}", self.state.selector);
        assert_eq!(self.in_flight.len(), 0, "an attempt is lost");
        assert_eq!(self.state.selector.in_flight, 0, "an attempt was counted twice or never ended");
    }
}

fn settle(settled: Vec<SettledRecords>) {
    settled.into_iter().for_each(|settled| settled.promise.resolve(&settled.outcome));
}

fn identity(id: u64) -> ProducerIdentity {
    ProducerIdentity { id: ProducerId::new(id), epoch: ProducerEpoch::new(0) }
}

fn event() -> impl Strategy<Value = Event> {
    let codes =
        vec![ErrorCode::NotLeader, ErrorCode::DiskFull, ErrorCode::InvalidRecord, ErrorCode::OutOfOrderSequence];
    let refusal = prop_oneof![3 => Just(None), 1 => prop::sample::select(codes).prop_map(Some)];
    prop_oneof![
        6 => Just(Event::Push),
        12 => Just(Event::Act),
        6 => (any::<usize>(), refusal).prop_map(|(which, refusal)| Event::Answer(which, refusal)),
        1 => Just(Event::Close),
        1 => Just(Event::Grow),
        1 => Just(Event::Move),
        4 => Just(Event::Repaired),
        1 => Just(Event::Identified),
        2 => Just(Event::Wait),
        1 => Just(Event::TimeOut),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn a_partition_is_never_on_two_connections_and_never_stuck(events in prop::collection::vec(event(), 0..80)) {
        let mut world = World::new();
        for event in events {
            world.apply(event);
        }
        world.heal();
        world.check();
    }
}

/// Creates a partition with `batches` batches in flight on the shared connection.
fn with_under_way(batches: usize) -> World {
    let mut world = World::new();
    world.apply(Event::Push);
    world.apply(Event::Repaired);
    (0..3).for_each(|_| world.apply(Event::Act));
    world.apply(Event::Answer(0, None)); // The broker knows the producer.
    (0..batches).for_each(|_| world.apply(Event::Push));
    (0..20).for_each(|_| world.apply(Event::Act));
    assert_eq!(world.in_flight.len(), batches);
    world
}

#[test]
fn a_bulk_producer_switches_connections_after_its_last_answer() {
    let mut world = with_under_way(2);
    world.apply(Event::Grow);
    world.apply(Event::Push);
    world.apply(Event::Repaired);
    world.apply(Event::Answer(1, None));
    (0..5).for_each(|_| world.apply(Event::Act));
    assert_eq!(world.in_flight.len(), 1, "it waits");
    world.apply(Event::Answer(0, None));
    (0..5).for_each(|_| world.apply(Event::Act));
    let (wire, _) = &world.in_flight[0];
    assert_eq!(Some(wire), world.own.as_ref());
}

#[test]
fn an_expired_batch_still_counts_as_in_flight() {
    let mut world = with_under_way(1);
    world.apply(Event::TimeOut);
    world.apply(Event::Move);
    world.apply(Event::Push);
    world.apply(Event::Repaired);
    (0..5).for_each(|_| world.apply(Event::Act));
    assert_eq!(world.in_flight.len(), 1, "it waits");
    world.heal();
    world.check();
}
