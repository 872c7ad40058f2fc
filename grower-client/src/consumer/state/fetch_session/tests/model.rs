//! A client session against a model of the broker's half, over a link that reorders and loses answers.

use super::*;
use grower_protocol::message::{ErrorCode, Failure, FetchedPartition, FetchedRecords};
use proptest::prelude::*;

/// A slot of the model broker.
#[derive(Clone, Copy, Debug)]
struct ModelSlot {
    partition: usize,
    position: u64,
    is_news: bool,
    has_ended: bool,
}

/// The broker's half of the session, as the protocol describes it. A record is one byte.
#[derive(Default)]
struct ModelBroker {
    ends: [u64; PARTITIONS],
    /// The next news of this partition is a failure.
    fails: [bool; PARTITIONS],
    is_open: bool,
    next: u64,
    last_slot: Option<FetchSlot>,
    slots: BTreeMap<FetchSlot, ModelSlot>,
    waiting: VecDeque<(u64, u32)>,
    /// The requests below this number came over a link that is lost, and so are their answers.
    lost_below: u64,
    unreceived: BTreeMap<u64, Vec<(FetchSlot, ModelSlot)>>,
}

impl ModelBroker {
    /// Takes a request. Answers one without permitted bytes at once.
    fn receive(&mut self, request: FetchSession) -> Result<Option<FetchSessionAnswer>, ErrorCode> {
        let number = match request.step {
            SessionStep::Open => {
                let (ends, fails) = (self.ends, self.fails);
                *self = Self { ends, fails, is_open: true, ..Self::default() };
                0
            }
            _ if !self.is_open => return Err(ErrorCode::UnknownFetchSession),
            SessionStep::Continue(place) => {
                assert_eq!(place.number, self.next, "a hole in the numbers");
                self.unreceived = self.unreceived.split_off(&place.received_below);
                place.number
            }
            SessionStep::Resume(place) => {
                assert!(self.next <= place.number, "a resume has a new number");
                self.unreceived = self.unreceived.split_off(&place.received_below);
                self.go_back();
                place.number
            }
            SessionStep::Close(_) => unreachable!("the test closes no session"),
        };
        self.next = number + 1;
        self.slots.retain(|slot, _| !request.drop.contains(slot));
        for AddedSlot { slot, partition } in request.add {
            if Some(slot) <= self.last_slot {
                assert!(matches!(request.step, SessionStep::Resume(_)), "a slot is used twice");
                continue;
            }
            self.last_slot = Some(slot);
            let (partition, position) = (partition.partition.value() as usize, partition.offset.value());
            self.slots.insert(slot, ModelSlot { partition, position, is_news: true, has_ended: false });
        }
        if request.max_bytes == 0 {
            return Ok(Some(FetchSessionAnswer { session: SESSION, number, parts: Vec::new() }));
        }
        self.waiting.push_back((number, request.max_bytes));
        Ok(None)
    }

    fn go_back(&mut self) {
        self.waiting.clear();
        while let Some((_, before)) = self.unreceived.pop_last() {
            for (slot, before) in before {
                self.slots.entry(slot).and_modify(|slot| *slot = ModelSlot { is_news: true, ..before });
            }
        }
    }

    /// Answers the first waiting request.
    fn answer(&mut self) -> Option<FetchSessionAnswer> {
        let (number, mut left) = self.waiting.pop_front()?;
        let (mut parts, mut before) = (Vec::new(), Vec::new());
        for (&number, slot) in self.slots.iter_mut().filter(|(_, slot)| !slot.has_ended) {
            let records = (self.ends[slot.partition] - slot.position).min(left.into()) as u32;
            if records == 0 && !slot.is_news {
                continue;
            }
            before.push((number, *slot));
            let (offset, high_watermark) = (Offset::new(slot.position), Offset::new(self.ends[slot.partition]));
            slot.is_news = false;
            slot.has_ended = std::mem::take(&mut self.fails[slot.partition]);
            let fetched = if slot.has_ended {
                Err(Failure::new(ErrorCode::NotLeader, "moved"))
            } else {
                slot.position += u64::from(records);
                left -= records;
                let log_start = Offset::ZERO;
                let records = FetchedRecords { length: records, high_watermark, log_start, damaged: None };
                Ok(FetchedPartition::Records(records))
            };
            parts.push(SlotPart { slot: number, offset, fetched });
        }
        self.unreceived.insert(number, before);
        let answer = FetchSessionAnswer { session: SESSION, number, parts };
        (self.lost_below <= number).then_some(answer)
    }
}

/// The client, the broker, and what is under way between them.
#[derive(Default)]
struct World {
    client: ClientFetchSession<usize>,
    broker: ModelBroker,
    requests: VecDeque<FetchSession>,
    answers: Vec<FetchSessionAnswer>,
    /// The slot and the position of each partition that is read.
    read: [Option<(FetchSlot, u64)>; PARTITIONS],
}

#[derive(Clone, Debug)]
enum Action {
    Append(usize, u64),
    /// Reads a partition from this share of its records on, out of 4.
    Seek(usize, u64),
    Stop(usize),
    Fail(usize),
    Send(u32),
    ReceiveRequest,
    Answer,
    ReceiveAnswer(prop::sample::Index),
    LoseLink,
    Evict,
}

impl World {
    fn act(&mut self, action: Action) {
        match action {
            Action::Append(partition, records) => self.broker.ends[partition] += records,
            Action::Seek(partition, quarters) => self.seek(partition, self.broker.ends[partition] * quarters / 4),
            Action::Stop(partition) => self.stop(partition),
            Action::Fail(partition) => self.broker.fails[partition] = true,
            Action::Send(max_bytes) => self.send(max_bytes),
            Action::ReceiveRequest => self.receive_request(),
            Action::Answer => self.answers.extend(self.broker.answer()),
            Action::ReceiveAnswer(which) => self.receive_answer(|answers| which.index(answers)),
            Action::LoseLink => self.lose_link(),
            Action::Evict => self.broker.is_open = false,
        }
    }

    fn seek(&mut self, partition: usize, position: u64) {
        self.stop(partition);
        self.read[partition] = Some((self.client.add(partition, fetch_from(partition, position)), position));
    }

    fn stop(&mut self, partition: usize) {
        if let Some((slot, _)) = self.read[partition].take() {
            self.client.drop_slot(slot);
        }
    }

    fn send(&mut self, max_bytes: u32) {
        if self.client.may_send(max_bytes) {
            self.requests.push_back(self.client.next_request(limits(max_bytes)).1);
        }
    }

    fn receive_request(&mut self) {
        let Some(request) = self.requests.pop_front() else { return };
        match self.broker.receive(request) {
            Ok(answer) => self.answers.extend(answer),
            Err(_) => self.open_another(),
        }
    }

    fn receive_answer(&mut self, choose: impl FnOnce(usize) -> usize) {
        if self.answers.is_empty() {
            return;
        }
        let answer = self.answers.remove(choose(self.answers.len()));
        assert!(self.client.awaits(answer.number), "an answer comes on the link of its request");
        self.client.answered(answer, Bytes::new()).unwrap();
        while let Some(news) = self.client.next_answer() {
            news.parts.into_iter().for_each(|part| self.take_in(part));
        }
    }

    fn take_in(&mut self, part: SlotPart) {
        let Some(partition) = self.client.owner_at(part.slot, part.offset).unwrap() else { return };
        let (slot, position) = self.read[partition].unwrap();
        assert_eq!((slot, position), (part.slot, part.offset.value()), "the news is about the position");
        match part.fetched {
            Ok(FetchedPartition::Records(records)) => {
                let next = position + u64::from(records.length);
                self.client.advance(slot, Offset::new(next));
                self.read[partition] = Some((slot, next));
            }
            _ => self.seek(partition, position),
        }
    }

    fn lose_link(&mut self) {
        self.requests.clear();
        self.answers.clear();
        self.broker.lost_below = self.broker.next;
        if !self.client.lose_link() {
            self.open_another();
        }
    }

    fn open_another(&mut self) {
        self.requests.clear();
        self.answers.clear();
        self.broker.lost_below = self.broker.next;
        self.client = ClientFetchSession::default();
        for partition in 0..PARTITIONS {
            if let Some((_, position)) = self.read[partition] {
                self.read[partition] = Some((self.client.add(partition, fetch_from(partition, position)), position));
            }
        }
    }

    /// Whether all records of all partitions that are read have arrived.
    fn is_done(&self) -> bool {
        self.read.iter().zip(&self.broker.ends).all(|(read, end)| read.is_none_or(|(_, position)| position == *end))
    }
}

fn action() -> impl Strategy<Value = Action> {
    let partition = 0..PARTITIONS;
    prop_oneof![
        3 => (partition.clone(), 1..20u64).prop_map(|(partition, records)| Action::Append(partition, records)),
        2 => (partition.clone(), 0..=4u64).prop_map(|(partition, quarters)| Action::Seek(partition, quarters)),
        1 => partition.clone().prop_map(Action::Stop),
        1 => partition.prop_map(Action::Fail),
        5 => prop_oneof![Just(0), 1..10u32].prop_map(Action::Send),
        5 => Just(Action::ReceiveRequest),
        5 => Just(Action::Answer),
        5 => any::<prop::sample::Index>().prop_map(Action::ReceiveAnswer),
        1 => Just(Action::LoseLink),
        1 => Just(Action::Evict),
    ]
}

proptest! {
    #[test]
    fn a_session_brings_each_record_once_and_in_order(actions in prop::collection::vec(action(), 0..120)) {
        let mut world = World::default();
        for action in actions {
            world.act(action);
        }
        for _ in 0..1000 {
            if world.is_done() {
                break;
            }
            world.send(10);
            world.receive_request();
            world.act(Action::Answer);
            world.receive_answer(|_| 0);
        }
        prop_assert!(world.is_done(), "records are missing: {:?} of {:?}", world.read, world.broker.ends);
    }
}
