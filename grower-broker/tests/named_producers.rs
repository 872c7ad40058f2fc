//! Named producers: only the latest holder of a name writes, wherever the batches of earlier ones wait.

mod support {
    pub mod raw;
}

use grower_broker::{Broker, BrokerConfig};
use grower_protocol::batch::ProducerStamp;
use grower_protocol::compression::Codec;
use grower_protocol::ids::{LastWritten, Offset, ProducerEpoch, ProducerHolder, ProducerName, Sequence, TopicId};
use grower_protocol::message::*;
use grower_storage::disk::{Call, FaultDisk, Faults, MemDisk};
use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::sync::Arc;
use support::raw::*;
use tokio::io::DuplexStream;

type Client = Raw<DuplexStream>;

/// A broker on a disk that keeps its files over restarts.
struct World {
    broker: Broker,
    disk: MemDisk,
    faults: Faults,
    config: BrokerConfig,
}

impl World {
    async fn new() -> Self {
        Self::with(BrokerConfig { disk_reserve_bytes: Some(0), ..BrokerConfig::at("/grower") }).await
    }

    async fn with(config: BrokerConfig) -> Self {
        let disk = MemDisk::default();
        let (broker, faults) = Self::start(&disk, &config).await;
        Self { broker, disk, faults, config }
    }

    async fn start(disk: &MemDisk, config: &BrokerConfig) -> (Broker, Faults) {
        let disk = FaultDisk::new(disk.clone());
        let faults = disk.faults();
        (Broker::builder(config.clone()).disk(Arc::new(disk)).start().await.unwrap(), faults)
    }

    /// Loses what is not durable, as a crash of the machine does.
    async fn crash(self) -> Self {
        let Self { broker, disk, config, .. } = self;
        drop(broker);
        disk.crash();
        let (broker, faults) = Self::start(&disk, &config).await;
        Self { broker, disk, faults, config }
    }

    async fn client(&self) -> Client {
        Raw::open(self.broker.connect()).await
    }
}

fn name(text: &str) -> ProducerName {
    ProducerName::new(text).unwrap()
}

async fn claim(client: &mut Client, text: &str, holder: u64) -> Part<ProducerIdentity> {
    init(client, text, holder, None).await
}

async fn init(
    client: &mut Client,
    text: &str,
    holder: u64,
    current: Option<ProducerIdentity>,
) -> Part<ProducerIdentity> {
    let request = InitProducer { name: Some(name(text)), holder: ProducerHolder::new(holder), current };
    match client.ask(&Request::InitProducer(request)).await {
        Response::InitProducer(identity) => Ok(identity),
        Response::Failed(failure) => Err(failure),
        other => panic!("{other:?}"),
    }
}

fn record(producer: ProducerIdentity, sequence: i32) -> bytes::BytesMut {
    let ProducerIdentity { id, epoch } = producer;
    let stamp = ProducerStamp { id, epoch, base_sequence: Sequence::from_wire(sequence) };
    batch_of(Codec::None, &[&format!("{epoch}:{sequence}")], Some(stamp))
}

async fn send(client: &mut Client, topic: TopicId, producer: ProducerIdentity, sequence: i32) -> Part<Produced> {
    client.produce(topic, Acks::All, &record(producer, sequence)).await
}

fn code<T: std::fmt::Debug>(part: Part<T>) -> ErrorCode {
    part.unwrap_err().code
}

#[tokio::test]
async fn after_a_claim_no_earlier_holder_writes_and_no_later_epoch_does() {
    let world = World::new().await;
    let mut client = world.client().await;
    let topic = client.create_topic("events", 1, &[]).await;
    let first = claim(&mut client, "shipper", 1).await.unwrap();
    send(&mut client, topic, first, 0).await.unwrap();
    let second = claim(&mut client, "shipper", 2).await.unwrap();
    assert_eq!((second.id, second.epoch), (first.id, first.epoch.next()));
    let refused = send(&mut client, topic, first, 1).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::FencedProducer);
    assert!(refused.detail.contains("epoch 0 of producer shipper is fenced"), "{refused}");
    let never = ProducerIdentity { epoch: ProducerEpoch::new(9), ..second };
    assert_eq!(code(send(&mut client, topic, never, 0).await), ErrorCode::FencedProducer);
    send(&mut client, topic, second, 0).await.unwrap();
    assert_eq!(client.values(topic, 0).await, ["0:0", "1:0"]);
    assert_eq!(code(init(&mut client, "shipper", 1, Some(first)).await), ErrorCode::FencedProducer);
}

#[tokio::test]
async fn a_claim_survives_a_crash_and_its_holder_continues() {
    let world = World::new().await;
    let mut client = world.client().await;
    let topic = client.create_topic("events", 1, &[]).await;
    let first = claim(&mut client, "shipper", 1).await.unwrap();
    let second = claim(&mut client, "shipper", 2).await.unwrap();
    let world = world.crash().await; // Before the first batch of either.
    let mut client = world.client().await;
    assert_eq!(code(send(&mut client, topic, first, 0).await), ErrorCode::FencedProducer);
    send(&mut client, topic, second, 0).await.unwrap();
    assert_eq!(claim(&mut client, "shipper", 2).await.unwrap(), second, "the holder repeats its claim");
    let third = claim(&mut client, "shipper", 3).await.unwrap();
    assert_eq!((third.id, third.epoch), (first.id, ProducerEpoch::new(2)));
}

#[tokio::test]
async fn a_deleted_name_refuses_its_holder_and_begins_with_a_fresh_id() {
    let world = World::new().await;
    let mut client = world.client().await;
    let topic = client.create_topic("events", 1, &[]).await;
    let held = claim(&mut client, "shipper", 1).await.unwrap();
    send(&mut client, topic, held, 0).await.unwrap();
    assert_eq!(client.ask(&Request::DeleteProducer(name("shipper"))).await, Response::Done);
    assert_eq!(code(send(&mut client, topic, held, 1).await), ErrorCode::FencedProducer);
    assert_eq!(code(init(&mut client, "shipper", 1, Some(held)).await), ErrorCode::FencedProducer);
    let again = client.ask(&Request::DeleteProducer(name("shipper"))).await;
    assert!(matches!(again, Response::Failed(failure) if failure.code == ErrorCode::UnknownProducer));
    let fresh = claim(&mut client, "shipper", 1).await.unwrap();
    assert_ne!(fresh.id, held.id);
    send(&mut client, topic, fresh, 0).await.unwrap();
}

#[tokio::test]
async fn a_claim_that_cannot_be_stored_changes_nothing() {
    let world = World::new().await;
    let mut client = world.client().await;
    let topic = client.create_topic("events", 1, &[]).await;
    let held = claim(&mut client, "shipper", 1).await.unwrap();
    let is_metadata = |path: &std::path::Path| path.starts_with("/grower/metadata");
    world.faults.rule(move |call, paths| (call == Call::Write && is_metadata(paths[0])).then_some(Errno::NOSPC));
    assert_eq!(code(claim(&mut client, "shipper", 2).await), ErrorCode::DiskFull);
    send(&mut client, topic, held, 0).await.unwrap();
    world.faults.heal();
    assert_eq!(claim(&mut client, "shipper", 2).await.unwrap().epoch, held.epoch.next());
}

#[tokio::test]
async fn a_claim_without_a_random_holder_or_beyond_the_limit_is_refused() {
    let mut config = BrokerConfig { disk_reserve_bytes: Some(0), ..BrokerConfig::at("/grower") };
    config.producers.named = 1;
    let world = World::with(config).await;
    let mut client = world.client().await;
    assert_eq!(code(claim(&mut client, "a", 0).await), ErrorCode::InvalidRequest);
    claim(&mut client, "a", 1).await.unwrap();
    assert_eq!(code(claim(&mut client, "b", 1).await), ErrorCode::LimitReached);
    claim(&mut client, "a", 2).await.unwrap();
}

/// A gate that holds calls of the disk while it is closed.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    open: bool,
    reached: bool,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock();
        state.reached = true;
        self.changed.notify_all();
        self.changed.wait_while(&mut state, |state| !state.open);
    }

    fn wait_until_reached(&self) {
        self.changed.wait_while(&mut self.state.lock(), |state| !state.reached);
    }

    fn open(&self) {
        self.state.lock().open = true;
        self.changed.notify_all();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_fences_batches_that_wait_behind_a_stalled_disk() {
    let world = World::new().await;
    let (mut client, mut zombie) = (world.client().await, world.client().await);
    let topic = client.create_topic("events", 1, &[("segment.messages", "1")]).await;
    let first = claim(&mut client, "shipper", 1).await.unwrap();
    send(&mut client, topic, first, 0).await.unwrap();
    let gate = Arc::new(Gate::default());
    let hung = gate.clone();
    world.faults.rule(move |call, paths| {
        if call == Call::Create && paths[0].starts_with("/grower/topics") {
            hung.pass();
        }
        None
    });
    // The first batch rolls, which hangs. The second waits behind it.
    for sequence in 1..3 {
        let batch = record(first, sequence);
        let length = batch.len() as u32;
        let partitions = vec![ProducePartition { topic, partition: PARTITION, length, expected_end: None }];
        zombie.send(&Request::Produce(Produce { acks: Acks::All, timeout_ms: 0, partitions }), &batch).await;
    }
    tokio::task::block_in_place(|| gate.wait_until_reached());
    let second = claim(&mut client, "shipper", 2).await.unwrap();
    gate.open();
    let mut outcomes = BTreeMap::new(); // A refusal may overtake the answer that waits for a sync.
    for _ in 0..2 {
        let Some((sent, Response::Produce(mut parts), _)) = zombie.receive().await else {
            panic!("each batch is answered");
        };
        outcomes.insert(sent, parts.remove(0).map(|produced| produced.base_offset).map_err(|failure| failure.code));
    }
    let outcomes: Vec<_> = outcomes.into_values().collect();
    assert_eq!(outcomes, [Ok(Offset::new(1)), Err(ErrorCode::FencedProducer)]);
    send(&mut client, topic, second, 0).await.unwrap();
    assert_eq!(client.values(topic, 0).await, ["0:0", "0:1", "1:0"]);
}

async fn fence(client: &mut Client, topic: TopicId, producer: ProducerIdentity) -> Part<Option<LastWritten>> {
    let request = FenceProducer { producer, partitions: vec![(topic, PARTITION)] };
    match client.ask(&Request::FenceProducer(request)).await {
        Response::FenceProducer(mut parts) => parts.remove(0).map(|fence| fence.last),
        other => panic!("{other:?}"),
    }
}

async fn describe(client: &mut Client, text: &str) -> ProducerDescription {
    match client.ask(&Request::DescribeProducer(name(text))).await {
        Response::DescribeProducer(described) => described,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_next_holder_continues_after_the_last_record_of_any_earlier_one() {
    let world = World::new().await;
    let mut client = world.client().await;
    let topic = client.create_topic("events", 2, &[]).await;
    let first = claim(&mut client, "shipper", 1).await.unwrap();
    send(&mut client, topic, first, 0).await.unwrap();
    send(&mut client, topic, first, 1).await.unwrap();
    let second = claim(&mut client, "shipper", 2).await.unwrap();
    let last = LastWritten { producer: first, sequence: Sequence::from_wire(1).unwrap(), offset: Offset::new(1) };
    assert_eq!(code(fence(&mut client, topic, first).await), ErrorCode::FencedProducer);
    assert_eq!(fence(&mut client, topic, second).await, Ok(Some(last)));
    let described = describe(&mut client, "shipper").await;
    assert_eq!((described.producer.identity, described.written), (second, vec![(topic, PARTITION, last)]));
    // The fence told the first holder's successor that this batch is in the log: a retry is acknowledged.
    assert_eq!(send(&mut client, topic, first, 1).await.unwrap().base_offset, Offset::new(1));
    send(&mut client, topic, second, 2).await.unwrap();
    assert_eq!(client.values(topic, 0).await, ["0:0", "0:1", "1:2"]);
    let missing = client.ask(&Request::DescribeProducer(name("other"))).await;
    assert!(matches!(missing, Response::Failed(failure) if failure.code == ErrorCode::UnknownProducer));
}

#[tokio::test]
async fn producers_are_listed_in_pages_by_name() {
    let world = World::new().await;
    let mut client = world.client().await;
    for text in ["c", "a", "b"] {
        claim(&mut client, text, 1).await.unwrap();
    }
    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let page = client.ask(&Request::ListProducers { after, most: 2 }).await;
        let Response::ListProducers { producers, next } = page else { panic!("{page:?}") };
        assert!(producers.len() <= 2);
        listed.extend(producers.into_iter().map(|producer| producer.name.to_string()));
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, ["a", "b", "c"]);
}

#[tokio::test]
async fn impossible_names_close_the_connection_and_nothing_else() {
    let world = World::new().await;
    let request =
        |text: &str| grower_protocol::wire::encode(&(2u8, Some(text.to_owned()), 7u64, None::<ProducerIdentity>));
    let mut client = world.client().await;
    client.send_message(&request("possible"), &[]).await;
    assert!(matches!(client.receive().await, Some((_, Response::InitProducer(_), _))));
    let impossible = ["", "a\u{7}b", &"n".repeat(250), &"n".repeat(64 << 10)];
    for text in impossible {
        let mut client = world.client().await;
        client.send_message(&request(text), &[]).await;
        assert!(client.receive().await.is_none(), "a name of {} bytes", text.len());
    }
    claim(&mut world.client().await, &"n".repeat(249), 1).await.unwrap();
}

#[tokio::test]
async fn two_processes_that_claim_one_name_in_turn_get_an_answer_each_and_double_nothing() {
    let world = World::new().await;
    let (mut client, mut sequence) = (world.client().await, 0);
    let topic = client.create_topic("events", 1, &[]).await;
    let mut sent = Vec::new();
    let mut before = None;
    for round in 1..100u64 {
        let producer = claim(&mut client, "shipper", 1 + round).await.unwrap();
        if before.is_some() {
            let delayed = claim(&mut client, "shipper", round).await;
            assert_eq!(code(delayed), ErrorCode::FencedProducer, "it comes too late");
        }
        let last = fence(&mut client, topic, producer).await.unwrap();
        assert_eq!(last.map(|last| last.sequence.to_wire() + 1).unwrap_or(0), sequence);
        send(&mut client, topic, producer, sequence).await.unwrap();
        sent.push(format!("{}:{sequence}", producer.epoch));
        sequence += 1;
        if let Some(before) = before.replace(producer) {
            assert_eq!(code(send(&mut client, topic, before, sequence).await), ErrorCode::FencedProducer);
        }
    }
    assert_eq!(client.values(topic, 0).await, sent);
}
