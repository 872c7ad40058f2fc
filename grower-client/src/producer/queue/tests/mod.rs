//! A queue against a small broker: no fault reorders, duplicates or blocks records.

mod answers;
mod epochs;
mod faults;
mod messages;
mod mini_broker;
mod model;
mod sent_records;

use super::*;
use crate::deadline::Deadline;
use crate::error::ConnectionError;
use crate::producer::deliveries::Deliveries;
use crate::record::Ack;
use grower_protocol::batch::Record;
use grower_protocol::compression::Codec;
use grower_protocol::ids::{Offset, PartitionId, ProducerEpoch, ProducerId, Timestamp, TopicName};
use grower_protocol::message::{ErrorCode, Failure, FailureContext, Outcome, RecordRange};
use messages::{Answer, Message};
use mini_broker::MiniBroker;
use sent_records::SentRecords;
use std::collections::VecDeque;
use std::time::Duration;

const DELIVERY_TIMEOUT: Duration = Duration::from_secs(100);
/// More than any backoff and less than the delivery timeout.
const PAUSE: Duration = Duration::from_secs(5);
/// A time limit of single records, of one or two pauses.
const BRIEF: Duration = Duration::from_secs(8);
const RECORDS_MAX: u32 = 3;

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
    wire: VecDeque<Message>,
    /// Connections that the client has given up while the broker was stalled: their messages may still be handled.
    lost_wires: Vec<VecDeque<Message>>,
    answers: Vec<Answer>,
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
    /// The same with a short time limit.
    PushBriefly(u32),
    /// The same with one delivery for all.
    PushMany(u32),
    /// The broker handles the next message.
    Handle,
    /// The broker refuses it.
    Refuse(ErrorCode),
    /// One of the answers arrives.
    Answer(usize),
    /// The connection breaks after the broker has handled this many messages.
    Cut(usize),
    /// The client gives up a stalled connection.
    Stall,
    /// The broker handles the next message of a connection that was given up.
    Land(usize),
    /// The broker restarts after a power cut. This many batches survive although they were not acknowledged.
    Restart(usize),
    /// The broker forgets an idle producer.
    Forget,
    /// The broker refuses the current id.
    RefuseId,
    /// Another partition of a named producer renews the identity.
    Renew,
    Wait,
    /// Every delivery timeout passes.
    TimeOut,
    RecordsMax(Option<u32>),
    /// Whether the broker refuses to allocate producer ids.
    NoIdentities(bool),
    /// The broker refuses records whose values this number divides. Its refusals name at most this many ranges.
    RefuseRecords(Option<u32>, usize),
}

impl World {
    fn new() -> Self {
        Self::of(None, RECORDS_MAX)
    }

    /// The producer has a name.
    fn named() -> Self {
        Self::of(Some(identity(1)), RECORDS_MAX)
    }

    /// The next holder of the name, with the same broker.
    fn successor(mut self) -> Self {
        let mut next = Self::of(self.renew(), RECORDS_MAX);
        (next.broker, next.pushed) = (self.broker, self.pushed);
        next
    }

    fn with_batches_of(records: u32) -> Self {
        Self::of(None, records)
    }

    fn of(registered: Option<ProducerIdentity>, records: u32) -> Self {
        let topic_partition = TopicPartition { topic: TopicName::new("t").unwrap(), partition: PartitionId::new(0) };
        let batches = BatchSettings { codec: Codec::None, bytes: 1 << 20, records, linger: Duration::ZERO };
        let window = WindowSettings {
            codec: Codec::None,
            in_flight_max: 5,
            is_named: registered.is_some(),
            retry_wait: |_, _| Duration::from_secs(1),
        };
        let topic_id = TopicId::from_random([7; 16]);
        let now = Instant::now();
        Self {
            queue: PartitionQueue::new(topic_partition, batches, window, topic_id, registered.or(Some(identity(1)))),
            broker: MiniBroker::knowing(registered),
            wire: VecDeque::new(),
            lost_wires: Vec::new(),
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
            Event::Push(count) => self.push_each(count, DELIVERY_TIMEOUT),
            Event::PushBriefly(count) => self.push_each(count, BRIEF),
            Event::PushMany(count) => {
                let may_send = self.push_many(count);
                assert!(may_send || self.queue.next(self.now).is_none(), "the queue would miss a step");
            }
            Event::Handle => {
                let answer = self.wire.pop_front().map(|message| message.handle(&mut self.broker));
                self.answers.extend(answer);
                self.broker.sync();
            }
            Event::Refuse(code) => {
                let answer = self.wire.pop_front().map(|message| message.failed(refusal(code)));
                self.answers.extend(answer);
            }
            Event::Answer(which) => {
                if !self.answers.is_empty() {
                    let answer = self.answers.remove(which % self.answers.len());
                    self.answer(answer);
                }
            }
            Event::Cut(handled) => self.cut(handled),
            Event::Stall => self.stall(),
            Event::Land(which) => self.land(which),
            Event::Restart(kept) => {
                self.lost_wires.clear();
                self.broker.restart(kept);
                self.cut(0);
            }
            Event::Forget => {
                if self.is_definite() && self.wire.is_empty() && self.answers.is_empty() {
                    self.lost_wires.clear();
                    self.broker.forget_producers();
                }
            }
            Event::RefuseId if self.broker.registered.is_some() => {}
            Event::RefuseId => drop(self.broker.refused_ids.insert(ProducerId::new(self.ids))),
            Event::Renew => drop(self.renew()),
            Event::Wait => return self.wait(PAUSE),
            Event::TimeOut => return self.wait(DELIVERY_TIMEOUT),
            Event::RecordsMax(most) => self.broker.records_max = most,
            Event::NoIdentities(none) => self.no_identities = none,
            Event::RefuseRecords(divisor, named) => {
                (self.broker.refused_divisor, self.broker.named_ranges) = (divisor, named);
            }
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

    fn push_each(&mut self, count: u32, limit: Duration) {
        let may_send = (0..count).fold(false, |before, _| self.push(limit) | before);
        assert!(may_send || self.queue.next(self.now).is_none(), "the queue would miss a step");
    }

    fn push(&mut self, limit: Duration) -> bool {
        let value = self.pushed;
        let deliver = |promise: &DeliveryPromise, index| promise.delivery(index, Timestamp::default());
        let (delivery, may_send) = self.push_record(limit, deliver);
        self.sent.push(SentRecords::One(value, delivery));
        may_send
    }

    fn push_many(&mut self, count: u32) -> bool {
        let (first, mut deliveries) = (self.pushed, Deliveries::new(Arc::default()));
        let mut may_send = false;
        for _ in 0..count {
            let deliver = |promise: &DeliveryPromise, index| deliveries.add(promise, index, Timestamp::default());
            may_send |= self.push_record(DELIVERY_TIMEOUT, deliver).1;
        }
        self.sent.push(SentRecords::Many(first, deliveries));
        may_send
    }

    fn push_record<D>(&mut self, limit: Duration, deliver: impl FnOnce(&DeliveryPromise, u32) -> D) -> (D, bool) {
        let record = Record { value: Some(self.pushed.to_be_bytes().to_vec().into()), ..Record::default() };
        self.pushed += 1;
        let deadline = Deadline::ending(self.now + limit, limit);
        self.give_up = self.give_up.min(deadline.end());
        let pushed = self.queue.push((&record).into(), 1, deadline, || self.now, deliver);
        let may_send = pushed.needs_attention();
        (pushed.delivery, may_send)
    }

    fn drain(&mut self) {
        while let Some(step) = self.queue.next(self.now) {
            match step {
                SendStep::Build(numbered) => {
                    let bytes = numbered.builder.build(numbered.stamp).freeze();
                    self.wire.extend(self.queue.built(numbered.id, bytes).map(Message::Batch));
                    self.queue.end_step();
                }
                SendStep::Resend(attempts) => {
                    self.wire.extend(attempts.into_iter().map(Message::Batch));
                    self.queue.end_step();
                }
                SendStep::Fence(attempt) => self.wire.push_back(Message::Fence(attempt)),
                SendStep::Identify(old) => {
                    let identity = if self.no_identities { Err(lost()) } else { Ok(self.renewed(old)) };
                    self.queue.set_identity(identity, self.now);
                }
            }
        }
        self.next_check = self.next_check.into_iter().chain(self.queue.deadline(self.now)).min();
        if self.now < self.give_up {
            self.in_flight_seen = self.in_flight_seen.max(self.wire.len() + self.answers.len());
        }
    }

    /// The identity in place of `old`.
    fn renewed(&mut self, old: ProducerIdentity) -> ProducerIdentity {
        match self.broker.registered {
            None => {
                self.ids += 1;
                identity(self.ids)
            }
            Some(newest) if newest == old => self.renew().expect("it has a name"),
            Some(newest) => newest,
        }
    }

    /// Begins the next epoch of a named producer.
    fn renew(&mut self) -> Option<ProducerIdentity> {
        let newest = self.broker.registered.as_mut()?;
        newest.epoch = newest.epoch.next();
        Some(*newest)
    }

    fn answer(&mut self, answer: Answer) {
        settle(match answer {
            Answer::Batch(id, result) => self.queue.answered(id, result, self.now).settled,
            Answer::Fence(attempt, result) => self.queue.fenced(attempt, result, self.now),
        });
    }

    fn cut(&mut self, handled: usize) {
        for message in self.wire.clone().into_iter().take(handled) {
            message.handle(&mut self.broker);
        }
        self.lose_connection();
    }

    /// Breaks the connection with all its answers.
    fn lose_connection(&mut self) {
        let mut failed: Vec<Answer> = self.answers.drain(..).map(Answer::lost).collect();
        failed.extend(self.wire.drain(..).map(|message| message.failed(lost())));
        failed.sort_unstable_by_key(|answer| if let Answer::Batch(id, _) = answer { *id } else { BatchId::MAX });
        failed.into_iter().for_each(|answer| self.answer(answer));
    }

    fn stall(&mut self) {
        if !self.wire.is_empty() {
            self.lost_wires.push(self.wire.clone());
        }
        self.lose_connection();
    }

    fn land(&mut self, which: usize) {
        if self.lost_wires.is_empty() {
            return;
        }
        let which = which % self.lost_wires.len();
        if let Some(message) = self.lost_wires[which].pop_front() {
            message.handle(&mut self.broker);
        }
        self.lost_wires.retain(|wire| !wire.is_empty());
    }

    /// Whether a flush would end now.
    fn is_definite(&self) -> bool {
        !self.queue.is_busy() && !self.queue.has_open_doubt()
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
}

fn settle(settled: Vec<SettledRecords>) {
    settled.into_iter().for_each(|settled| settled.promise.resolve(&settled.outcome));
}

fn identity(id: u64) -> ProducerIdentity {
    ProducerIdentity { id: ProducerId::new(id), epoch: ProducerEpoch::new(0) }
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
