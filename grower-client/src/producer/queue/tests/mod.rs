//! A queue against a small broker: no fault reorders, duplicates or blocks records.

mod answers;
mod faults;
mod producer_ids;
mod sent_records;

use super::*;
use crate::error::ConnectionError;
use crate::producer::deliveries::Deliveries;
use crate::producer::delivery::BatchAck;
use crate::record::Ack;
use grower_protocol::batch::{Batch, BatchHeader, Record};
use grower_protocol::compression::Codec;
use grower_protocol::ids::{Offset, PartitionId, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicName};
use grower_protocol::message::{Durability, ErrorCode, Failure, Outcome};
use proptest::prelude::*;
use sent_records::SentRecords;
use std::collections::{HashMap, VecDeque};

const DELIVERY_TIMEOUT: Duration = Duration::from_secs(100);
/// More than any backoff and less than the delivery timeout.
const PAUSE: Duration = Duration::from_secs(5);
const RECORDS_MAX: u32 = 3;

/// The broker's log, and the last five batches of each producer.
#[derive(Default)]
struct MiniBroker {
    log: Vec<u32>,
    producers: HashMap<ProducerId, VecDeque<(Sequence, u32, u64)>>,
    /// The broker refuses batches with more records.
    records_max: Option<u32>,
}

impl MiniBroker {
    fn handle(&mut self, bytes: &Bytes) -> Result<BatchAck, RequestError> {
        let batch = Batch::check(bytes.clone()).unwrap();
        let header = *batch.header();
        if self.records_max.is_some_and(|most| most < header.record_count) {
            return Err(refusal(ErrorCode::TooLarge));
        }
        let stamp = header.producer.unwrap();
        let first = stamp.base_sequence.unwrap();
        let known = self.producers.entry(stamp.id).or_default();
        let same = known.iter().find(|(sequence, count, _)| (*sequence, *count) == (first, header.record_count));
        if let Some((.., offset)) = same {
            return Ok(ack_at(*offset));
        }
        if known.back().is_some_and(|(sequence, count, _)| sequence.wrapping_add(*count) != first) {
            return Err(refusal(ErrorCode::OutOfOrderSequence));
        }
        let offset = self.log.len() as u64;
        known.push_back((first, header.record_count, offset));
        if 5 < known.len() {
            known.pop_front();
        }
        self.log.extend(values(&batch, &header));
        Ok(ack_at(offset))
    }
}

fn values(batch: &Batch, header: &BatchHeader) -> Vec<u32> {
    assert!(header.record_count <= RECORDS_MAX);
    let records = batch.records(1 << 20).unwrap();
    records.map(|record| u32::from_be_bytes(record.unwrap().value.unwrap()[..].try_into().unwrap())).collect()
}

fn ack_at(offset: u64) -> BatchAck {
    BatchAck { base_offset: Some(Offset::new(offset)), durability: Durability::Fsynced }
}

fn refusal(code: ErrorCode) -> RequestError {
    Failure::new(code, "as the test wants").into()
}

fn lost() -> RequestError {
    RequestError::Lost(ConnectionError::Closed { address: "b".into() })
}

/// A queue, the broker, and the messages between them.
struct World {
    queue: PartitionQueue,
    broker: MiniBroker,
    wire: VecDeque<SendAttempt>,
    /// Answers that the queue has not received yet.
    answers: Vec<(BatchId, Result<BatchAck, RequestError>)>,
    now: Instant,
    ids: u64,
    pushed: u32,
    sent: Vec<SentRecords>,
    /// The earliest expiry of a batch. Later, expired batches may still be in flight.
    give_up: Instant,
    in_flight_seen: usize,
    /// The time of the queue's next expiry check: its earliest deadline.
    next_check: Option<Instant>,
    /// The broker refuses to allocate producer ids.
    no_identities: bool,
}

#[derive(Clone, Debug)]
enum Event {
    Push(u32),
    /// The same with one delivery for all.
    PushMany(u32),
    /// The broker handles the next attempt.
    Handle,
    /// The broker refuses it.
    Refuse(ErrorCode),
    /// One of the answers arrives.
    Answer(usize),
    /// The connection breaks after the broker has handled this many attempts.
    Cut(usize),
    Wait,
    /// Every delivery timeout passes.
    TimeOut,
    RecordsMax(Option<u32>),
    /// Whether the broker refuses to allocate producer ids.
    NoIdentities(bool),
}

impl World {
    fn new() -> Self {
        let topic_partition = TopicPartition { topic: TopicName::new("t").unwrap(), partition: PartitionId::new(0) };
        let batches =
            BatchSettings { codec: Codec::None, bytes: 1 << 20, records: RECORDS_MAX, linger: Duration::ZERO };
        let window = WindowSettings {
            codec: Codec::None,
            in_flight_max: 5,
            delivery_timeout: DELIVERY_TIMEOUT,
            retry_wait: |_, _| Duration::from_secs(1),
        };
        let topic_id = TopicId::from_random([7; 16]);
        let now = Instant::now();
        Self {
            queue: PartitionQueue::new(topic_partition, batches, window, topic_id, Some(identity(1))),
            broker: MiniBroker::default(),
            wire: VecDeque::new(),
            answers: Vec::new(),
            now,
            ids: 1,
            pushed: 0,
            sent: Vec::new(),
            give_up: now + DELIVERY_TIMEOUT,
            in_flight_seen: 0,
            next_check: None,
            no_identities: false,
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Push(count) => {
                let may_send = (0..count).fold(false, |before, _| self.push() | before);
                assert!(may_send || self.queue.next(self.now).is_none(), "the queue would miss a step");
            }
            Event::PushMany(count) => {
                let may_send = self.push_many(count);
                assert!(may_send || self.queue.next(self.now).is_none(), "the queue would miss a step");
            }
            Event::Handle => {
                if let Some(attempt) = self.wire.pop_front() {
                    let answer = self.broker.handle(&attempt.bytes);
                    self.answers.push((attempt.id, answer));
                }
            }
            Event::Refuse(code) => {
                if let Some(attempt) = self.wire.pop_front() {
                    self.answers.push((attempt.id, Err(refusal(code))));
                }
            }
            Event::Answer(which) => {
                if !self.answers.is_empty() {
                    let (id, answer) = self.answers.remove(which % self.answers.len());
                    self.answer(id, answer);
                }
            }
            Event::Cut(handled) => self.cut(handled),
            Event::Wait => return self.wait(PAUSE),
            Event::TimeOut => return self.wait(DELIVERY_TIMEOUT),
            Event::RecordsMax(most) => self.broker.records_max = most,
            Event::NoIdentities(none) => self.no_identities = none,
        }
        self.drain();
    }

    /// Lets time pass. The queue is checked only at its own deadline, as with a real timer.
    fn wait(&mut self, time: Duration) {
        self.now += time;
        if self.next_check.is_some_and(|next_check| next_check <= self.now) {
            self.next_check = None;
            settle(self.queue.expire(self.now));
            self.drain();
        }
    }

    fn push(&mut self) -> bool {
        let value = self.pushed;
        let (delivery, may_send) = self.push_record(|promise| promise.deliver(Timestamp::default()));
        self.sent.push(SentRecords::One(value, delivery));
        may_send
    }

    fn push_many(&mut self, count: u32) -> bool {
        let (first, mut deliveries) = (self.pushed, Deliveries::new(Arc::default()));
        let push = |_| self.push_record(|promise| deliveries.add(promise, Timestamp::default())).1;
        let may_send = (0..count).map(push).fold(false, |before, may_send| before | may_send);
        self.sent.push(SentRecords::Many(first, deliveries));
        may_send
    }

    fn push_record<D>(&mut self, deliver: impl FnOnce(&mut DeliveryPromise) -> D) -> (D, bool) {
        let record = Record { value: Some(self.pushed.to_be_bytes().to_vec().into()), ..Record::default() };
        self.pushed += 1;
        let pushed = self.queue.push((&record).into(), 1, || self.now, deliver);
        let may_send = pushed.may_send();
        (pushed.delivery, may_send)
    }

    fn drain(&mut self) {
        while let Some(step) = self.queue.next(self.now) {
            match step {
                SendStep::Build(numbered) => {
                    let bytes = numbered.builder.build(numbered.stamp).freeze();
                    self.wire.extend(self.queue.built(numbered.id, bytes));
                    self.queue.end_step();
                }
                SendStep::Resend(attempts) => {
                    self.wire.extend(attempts);
                    self.queue.end_step();
                }
                SendStep::Identify => {
                    self.ids += u64::from(!self.no_identities);
                    let identity = if self.no_identities { Err(lost()) } else { Ok(identity(self.ids)) };
                    self.queue.set_identity(identity, self.now);
                }
            }
        }
        self.next_check = self.next_check.into_iter().chain(self.queue.deadline()).min();
        if self.now < self.give_up {
            self.in_flight_seen = self.in_flight_seen.max(self.wire.len() + self.answers.len());
        }
    }

    fn answer(&mut self, id: BatchId, answer: Result<BatchAck, RequestError>) {
        settle(self.queue.answered(id, answer, self.now).settled);
    }

    fn cut(&mut self, handled: usize) {
        for attempt in self.wire.iter().take(handled) {
            drop(self.broker.handle(&attempt.bytes));
        }
        let mut ids: Vec<BatchId> = self.answers.drain(..).map(|(id, _)| id).collect();
        ids.extend(self.wire.drain(..).map(|attempt| attempt.id));
        ids.sort_unstable();
        ids.into_iter().for_each(|id| self.answer(id, Err(lost())));
    }

    /// Ends all faults.
    fn heal(&mut self) {
        self.broker.records_max = None;
        self.no_identities = false;
        for _ in 0..200 {
            self.apply(Event::Wait);
            self.apply(Event::Handle);
            self.apply(Event::Answer(0));
        }
    }

    /// Checks the outcome of each record against the log.
    fn check(mut self) {
        let mut acked = Vec::new();
        for (value, outcome) in self.sent.drain(..).flat_map(SentRecords::outcomes) {
            let times = self.broker.log.iter().filter(|logged| **logged == value).count();
            assert!(times <= 1, "record {value} is there {times} times: {:?}", self.broker.log);
            match outcome.unwrap_or_else(|| panic!("record {value} is stuck")) {
                Ok(ack) => {
                    let offset = ack.offset.unwrap().value();
                    assert_eq!(self.broker.log[offset as usize], value, "record {value} was acknowledged at {offset}");
                    acked.push(value);
                }
                Err(error) if error.outcome() == Outcome::Refused => {
                    assert_eq!(times, 0, "record {value} was refused and is there: {error}");
                }
                Err(_) => {}
            }
        }
        let order: Vec<u32> = self.broker.log.iter().copied().filter(|value| acked.contains(value)).collect();
        assert_eq!(order, acked, "acknowledged records are out of order");
        assert!(self.in_flight_seen <= 5, "{} batches were on their way", self.in_flight_seen);
    }
}

fn settle(settled: Vec<SettledRecords>) {
    settled.into_iter().for_each(|settled| settled.promise.resolve(settled.outcome));
}

fn identity(id: u64) -> ProducerIdentity {
    ProducerIdentity { id: ProducerId::new(id), epoch: ProducerEpoch::new(0) }
}

fn event() -> impl Strategy<Value = Event> {
    let code = prop::sample::select(vec![ErrorCode::DiskFull, ErrorCode::NotLeader, ErrorCode::InvalidRecord]);
    prop_oneof![
        4 => (1u32..8).prop_map(Event::Push),
        4 => (1u32..12).prop_map(Event::PushMany),
        6 => Just(Event::Handle),
        6 => any::<usize>().prop_map(Event::Answer),
        2 => code.prop_map(Event::Refuse),
        1 => (0usize..6).prop_map(Event::Cut),
        2 => Just(Event::Wait),
        1 => Just(Event::TimeOut),
        1 => prop::option::of(1u32..3).prop_map(Event::RecordsMax),
        1 => any::<bool>().prop_map(Event::NoIdentities),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn faults_never_reorder_duplicate_or_block_records(events in prop::collection::vec(event(), 0..60)) {
        let mut world = World::new();
        for event in events {
            world.apply(event);
        }
        world.heal();
        world.check();
    }
}

fn offsets(world: &mut World) -> Vec<Option<u64>> {
    let acked = |outcome: Option<Result<Ack, ProduceError>>| outcome?.ok()?.offset.map(Offset::value);
    world.sent.drain(..).flat_map(SentRecords::outcomes).map(|(_, outcome)| acked(outcome)).collect()
}

/// Creates a world with a known producer and `batches` batches in flight.
fn with_in_flight(batches: usize) -> World {
    let mut world = World::new();
    for event in [Event::Push(1), Event::Handle, Event::Answer(0)] {
        world.apply(event);
    }
    world.apply(Event::Push(RECORDS_MAX * batches as u32));
    assert_eq!(world.wire.len(), batches);
    world
}
