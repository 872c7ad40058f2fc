//! Random actions on a broker: a session must read what whole requests read, in the same order, and miss nothing.

use super::client::*;
use super::raw::*;
use grower_broker::Broker;
use grower_protocol::ids::{Offset, TopicId, TopicName};
use grower_protocol::message::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use tokio::io::DuplexStream;

const TOPICS: usize = 3;

#[derive(Clone, Debug)]
enum Action {
    Append { topic: usize, records: usize },
    Add { topic: usize },
    Drop { topic: usize },
    Recreate { topic: usize },
    Trim { topic: usize },
    Send { max_bytes: u32, min_bytes: u32 },
    Receive,
    LoseAndResume,
    Evict,
}

fn action() -> impl Strategy<Value = Action> {
    let topic = || 0..TOPICS;
    prop_oneof![
        4 => (topic(), 1..4usize).prop_map(|(topic, records)| Action::Append { topic, records }),
        3 => topic().prop_map(|topic| Action::Add { topic }),
        1 => topic().prop_map(|topic| Action::Drop { topic }),
        1 => topic().prop_map(|topic| Action::Recreate { topic }),
        1 => topic().prop_map(|topic| Action::Trim { topic }),
        5 => (1..400u32, 0..300u32).prop_map(|(max_bytes, min_bytes)| Action::Send { max_bytes, min_bytes }),
        5 => Just(Action::Receive),
        1 => Just(Action::LoseAndResume),
        1 => Just(Action::Evict),
    ]
}

/// A topic, and what its reader has read of it.
struct TopicReader {
    topic: TopicId,
    /// The offsets after each batch.
    ends: Vec<u64>,
    position: u64,
    /// The slot that reads it.
    slot: Option<u32>,
    read: BTreeMap<u64, String>,
}

struct World {
    broker: Broker,
    admin: Raw<DuplexStream>,
    client: SessionClient,
    topics: Vec<TopicReader>,
    in_flight: VecDeque<u64>,
    next_slot: u32,
    appended: usize,
}

fn name(topic: usize) -> TopicName {
    TopicName::new(&format!("topic-{topic}")).unwrap()
}

impl World {
    async fn start() -> Self {
        let broker = in_memory().start().await.unwrap();
        let mut admin = Raw::open(broker.connect()).await;
        let mut topics = Vec::new();
        for topic in 0..TOPICS {
            topics.push(created(&mut admin, topic).await);
        }
        let client = SessionClient::open(&broker, Vec::new()).await;
        Self { broker, admin, client, topics, in_flight: VecDeque::new(), next_slot: 0, appended: 0 }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Append { topic, records } => self.append(topic, records).await,
            Action::Add { topic } => self.add(topic).await,
            Action::Drop { topic } => self.drop_slot(topic).await,
            Action::Recreate { topic } => {
                assert_eq!(self.admin.ask(&Request::DeleteTopic(name(topic))).await, Response::Done);
                let slot = self.topics[topic].slot;
                self.topics[topic] = created(&mut self.admin, topic).await;
                self.change(FetchSession { drop: slot.map(FetchSlot).into_iter().collect(), ..add(Vec::new()) }).await;
            }
            Action::Trim { topic } => self.trim(topic).await,
            Action::Send { max_bytes, min_bytes } if self.in_flight.len() < 4 => {
                self.in_flight.push_back(self.client.next);
                self.client.send(FetchSession { max_bytes, min_bytes, max_wait_ms: 2, ..poll() }).await;
            }
            Action::Send { .. } => {}
            Action::Receive => self.receive().await,
            Action::LoseAndResume => self.resume().await,
            Action::Evict => self.evict().await,
        }
    }

    async fn append(&mut self, topic: usize, records: usize) {
        let values: Vec<_> = (0..records).map(|_| self.next_value()).collect();
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        let reader = &mut self.topics[topic];
        let produced = self.admin.produce(reader.topic, Acks::All, &batch(&values)).await.unwrap();
        reader.ends.push(produced.base_offset.value() + records as u64);
    }

    fn next_value(&mut self) -> String {
        self.appended += 1;
        format!("value-{}", self.appended)
    }

    async fn trim(&mut self, topic: usize) {
        let reader = &self.topics[topic];
        let Some(end) = reader.ends.get(reader.ends.len() / 2) else { return };
        let before = vec![(PARTITION, Offset::new(*end))];
        let trimmed = self.admin.ask(&Request::TrimTopic { topic: name(topic), before }).await;
        assert_eq!(trimmed, Response::Done);
    }

    /// Sends changes, which are answered at once, and takes in the answers before them.
    async fn change(&mut self, request: FetchSession) {
        while !self.in_flight.is_empty() {
            self.receive().await;
        }
        assert_eq!(self.client.ask(request).await, []);
    }

    async fn add(&mut self, topic: usize) {
        if self.topics[topic].slot.is_none() {
            let (slot_number, reader) = (self.next_slot, &mut self.topics[topic]);
            reader.slot = Some(slot_number);
            self.next_slot += 1;
            let added = slot(slot_number, reader.topic, reader.position);
            self.change(add(vec![added])).await;
        }
    }

    async fn drop_slot(&mut self, topic: usize) {
        if let Some(slot) = self.topics[topic].slot.take() {
            self.change(FetchSession { drop: vec![FetchSlot(slot)], ..add(Vec::new()) }).await;
        }
    }

    async fn receive(&mut self) {
        if self.in_flight.is_empty() {
            return;
        }
        let (number, parts) = self.client.receive().await;
        assert_eq!(Some(number), self.in_flight.pop_front(), "answers come in the order of the requests");
        for part in parts {
            self.take_in(part).await;
        }
    }

    async fn take_in(&mut self, (slot, offset, read): ReceivedPart) {
        let Some(reader) = self.topics.iter_mut().find(|reader| reader.slot == Some(slot)) else { return };
        assert_eq!(offset, reader.position, "slot {slot} skips or repeats records");
        match read {
            Ok(values) => {
                for value in values {
                    assert_eq!(reader.read.insert(reader.position, value), None);
                    reader.position += 1;
                }
            }
            Err(ErrorCode::OffsetOutOfRange) => {
                let topic = reader.topic;
                reader.slot = None;
                let start = self.admin.list_offset(topic, OffsetSpec::Beginning).await.unwrap().offset.unwrap();
                let reader = self.topics.iter_mut().find(|reader| reader.topic == topic).unwrap();
                assert!(reader.position < start.value(), "{} is in the log", reader.position);
                reader.position = start.value();
            }
            Err(other) => panic!("slot {slot}: {other:?}"),
        }
    }

    /// Loses all answers on their way, and resumes the session over another connection.
    async fn resume(&mut self) {
        self.in_flight.clear();
        self.client.raw = Raw::open(self.broker.connect()).await;
        let step = SessionStep::Resume(SessionSequence { number: self.client.next + 1, ..self.client.sequence() });
        self.in_flight.push_back(self.client.next + 1);
        self.client.next += 2;
        self.client.raw.send(&Request::FetchSession(FetchSession { step, ..fetch_now() }), &[]).await;
    }

    /// Loses the session, and opens another one at the positions that were taken in.
    async fn evict(&mut self) {
        let close = FetchSession { step: SessionStep::Close(self.client.session), ..fetch_now() };
        self.admin.ask(&Request::FetchSession(close)).await;
        self.in_flight.clear();
        let mut slots = Vec::new();
        for reader in self.topics.iter_mut().filter(|reader| reader.slot.is_some()) {
            slots.push(slot(self.next_slot, reader.topic, reader.position));
            reader.slot = Some(self.next_slot);
            self.next_slot += 1;
        }
        self.client = SessionClient::open(&self.broker, slots).await;
    }

    /// Reads until no slot is ready, and compares with whole requests.
    async fn read_to_the_end(mut self) {
        for topic in 0..TOPICS {
            self.add(topic).await;
        }
        while !self.in_flight.is_empty() {
            self.receive().await;
        }
        let mut quiet = 0;
        while quiet < 2 {
            let before: u64 = self.topics.iter().map(|reader| reader.position).sum();
            self.act(Action::Send { max_bytes: 500, min_bytes: 1 }).await;
            self.receive().await;
            for topic in 0..TOPICS {
                self.add(topic).await; // Its position may have been trimmed.
            }
            let after: u64 = self.topics.iter().map(|reader| reader.position).sum();
            quiet = if before == after { quiet + 1 } else { 0 };
        }
        for reader in &self.topics {
            let start = self.admin.list_offset(reader.topic, OffsetSpec::Beginning).await.unwrap().offset.unwrap();
            let whole = self.admin.values(reader.topic, start.value()).await;
            let read: Vec<_> = reader.read.range(start.value()..).map(|(_, value)| value.clone()).collect();
            assert_eq!(read, whole);
            assert_eq!(reader.position, start.value() + whole.len() as u64);
        }
        self.broker.stop().await.unwrap();
    }
}

async fn created(admin: &mut Raw<DuplexStream>, topic: usize) -> TopicReader {
    let topic = admin.create_topic(name(topic).as_str(), 1, &[]).await;
    TopicReader { topic, ends: Vec::new(), position: 0, slot: None, read: BTreeMap::new() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 300, ..ProptestConfig::default() })]
    #[test]
    fn a_session_reads_what_whole_requests_read(actions in prop::collection::vec(action(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::start().await;
            for action in actions {
                world.act(action).await;
            }
            world.read_to_the_end().await;
        });
    }
}
