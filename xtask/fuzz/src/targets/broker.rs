//! A whole broker that receives any requests.

use super::batch::{samples, seal_all};
use super::input_reader::{InputReader, encode_chunks};
use super::message;
use crate::Target;
use bytes::BytesMut;
use grower_broker::metadata::{Command, MemMetadataStore, MetadataStore, NodeIdentity, Uuid};
use grower_broker::{Broker, BrokerConfig, MemLogs};
use grower_protocol::batch::{BatchBuilder, ProducerStamp, Record};
use grower_protocol::compression::Codec;
use grower_protocol::ids::{
    NodeId, Offset, PartitionId, ProducerEpoch, ProducerId, ProducerIdentity, Sequence, Timestamp, TopicId, TopicName,
};
use grower_protocol::message::{
    Acks, FenceProducer, Fetch, Heartbeat, InitProducer, Produce, ProducePartition, Request, Response,
};
use grower_protocol::wire::{Correlation, FrameDecoder, PREFACE_LENGTH, Preface, decode, encode, encode_frame};
use grower_storage::disk::{Disk, MemDisk};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::runtime::Runtime;

pub(super) const BROKER: Target = Target {
    name: "broker",
    about: "requests to a running broker, with batches: each gets a response, and the broker still serves",
    run,
    seeds,
    allocates: 64 << 20,
};

/// The id in the protocol's tests, whose messages are seeds here.
const TOPIC: TopicId = TopicId::from_bytes([7; 16]);
const DIR: &str = "/grower";
const FRAME_BYTES_MAX: usize = 1 << 20;
const REQUESTS_MAX: usize = 16;
/// Longer than any response takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn run(input: &[u8]) {
    watch_for_panics();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(async {
        let broker = start().await;
        let mut client = TestClient::open(broker.connect()).await;
        let mut input = InputReader(input);
        for _ in 0..REQUESTS_MAX {
            if input.is_empty() {
                break;
            }
            let Ok(request) = decode::<Request>(input.chunk()) else { continue };
            let mut attachment = Vec::new();
            let request = bounded(request, &mut input, &mut attachment);
            client.ask(&request, &attachment).await;
        }
        let mut next = TestClient::open(broker.connect()).await;
        next.ask(&Request::InitProducer(InitProducer::default()), &[]).await;
        drop((client, next));
        broker.stop().await.expect("it stops cleanly");
    });
    stop(runtime);
    assert!(!PANICKED.load(Ordering::Relaxed), "the broker panicked");
}

fn stop(runtime: Runtime) {
    runtime.shutdown_background();
}

static PANICKED: AtomicBool = AtomicBool::new(false);

/// Notices panics in tasks of the broker, which end only their task.
fn watch_for_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICKED.store(true, Ordering::Relaxed);
            before(info);
        }));
    });
}

/// Removes waiting times from a request, and attaches the batches that a produce announces.
fn bounded(request: Request, input: &mut InputReader<'_>, attachment: &mut Vec<u8>) -> Request {
    match request {
        Request::Fetch(fetch) => Request::Fetch(Fetch { max_wait_ms: 0, ..fetch }),
        Request::Heartbeat(beat) => Request::Heartbeat(Heartbeat { max_wait_ms: 0, ..beat }),
        Request::Produce(mut produce) => {
            for partition in &mut produce.partitions {
                let mut batches = input.chunk().to_vec();
                seal_all(&mut batches);
                partition.length = batches.len() as u32;
                attachment.extend(batches);
            }
            Request::Produce(produce)
        }
        other => other,
    }
}

/// Starts a broker in memory, with one topic of a known id.
async fn start() -> Broker {
    let metadata = Arc::new(MemMetadataStore::default());
    let node = NodeId::new(1);
    let create = Command::CreateTopic {
        name: TopicName::new("events").expect("a sound name"),
        id: TOPIC,
        replicas: vec![vec![node]; 3],
        configs: Vec::new(),
        at: Timestamp::from_millis(1),
    };
    let disk = Arc::new(MemDisk::default());
    let uuid = Uuid::from_random([5; 16]);
    disk.create_dir_all(Path::new(DIR)).expect("memory can be written");
    NodeIdentity::open(&*disk, Path::new(DIR), node, || uuid).expect("a new directory is taken");
    let register = Command::RegisterBroker { node, uuid, address: String::new() };
    let config = BrokerConfig {
        frame_bytes_max: FRAME_BYTES_MAX,
        fetch_bytes_max: FRAME_BYTES_MAX / 2,
        ..BrokerConfig::at(DIR)
    };
    let builder = Broker::builder(config).disk(disk).logs(Arc::new(MemLogs));
    for command in [register, create] {
        metadata.propose(command).await.expect("a new cluster takes a topic");
    }
    builder.metadata(metadata).start().await.expect("a broker in memory starts")
}

/// A client that waits for each response.
struct TestClient {
    stream: DuplexStream,
    unread: BytesMut,
    asked: u32,
}

impl TestClient {
    async fn open(mut stream: DuplexStream) -> Self {
        stream.write_all(&Preface::OURS.encode()).await.expect("a broker takes a preface");
        stream.read_exact(&mut [0; PREFACE_LENGTH]).await.expect("a broker sends its preface");
        Self { stream, unread: BytesMut::new(), asked: 0 }
    }

    async fn ask(&mut self, request: &Request, attachment: &[u8]) {
        self.asked += 1;
        let mut frame = encode_frame(Correlation(self.asked), &encode(request), attachment.len());
        frame.extend_from_slice(attachment);
        if FRAME_BYTES_MAX < frame.len() {
            return;
        }
        self.stream.write_all(&frame).await.expect("a broker reads what it can understand");
        if matches!(request, Request::Produce(Produce { acks: Acks::None, .. })) {
            return;
        }
        let answer = tokio::time::timeout(PATIENCE, self.answer()).await;
        answer.unwrap_or_else(|_| panic!("no answer to {request:?}"));
    }

    /// Waits for the response to the latest request. Earlier responses may arrive before it.
    async fn answer(&mut self) {
        let decoder = FrameDecoder::new(FRAME_BYTES_MAX);
        loop {
            while let Some(frame) = decoder.next_frame(&mut self.unread).expect("a broker sends sound frames") {
                decode::<Response>(&frame.message).expect("a broker sends sound messages");
                if frame.correlation == Correlation(self.asked) {
                    return;
                }
            }
            let received = self.stream.read_buf(&mut self.unread).await.expect("a pipe can be read");
            assert!(0 < received, "the broker closed the connection instead of answering");
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> =
        (message::REQUEST.seeds)().into_iter().map(|request| encode_chunks(&[request])).collect();
    let produce = |partition| {
        let partition =
            ProducePartition { topic: TOPIC, partition: PartitionId::new(partition), length: 0, expected_end: None };
        encode(&Request::Produce(Produce { acks: Acks::All, timeout_ms: 0, partitions: vec![partition] }))
    };
    for (at, batch) in samples().into_iter().enumerate() {
        seeds.push(encode_chunks(&[produce(at as u32 % 3), batch.to_vec()]));
    }
    // A fence between a producer's batches; and a batch that expects an end.
    let id = encode(&Request::InitProducer(InitProducer::default()));
    let identity = |epoch| ProducerIdentity { id: ProducerId::new(0), epoch: ProducerEpoch::new(epoch) };
    let partitions = vec![(TOPIC, PartitionId::new(0)), (TOPIC, PartitionId::new(9)), (TOPIC, PartitionId::new(0))];
    let fence = |epoch| {
        encode(&Request::FenceProducer(FenceProducer { producer: identity(epoch), partitions: partitions.clone() }))
    };
    let numbered = |epoch, sequence| {
        let mut batch = BatchBuilder::new(Codec::None);
        batch.push(&Record { value: Some("v".into()), ..Record::default() });
        let ProducerIdentity { id, epoch } = identity(epoch);
        batch.build(Some(ProducerStamp { id, epoch, base_sequence: Sequence::from_wire(sequence) })).to_vec()
    };
    let at_end = |end| {
        let partition = ProducePartition {
            topic: TOPIC,
            partition: PartitionId::new(0),
            length: 0,
            expected_end: Some(Offset::new(end)),
        };
        encode(&Request::Produce(Produce { acks: Acks::All, timeout_ms: 0, partitions: vec![partition] }))
    };
    seeds.push(encode_chunks(&[
        id,
        produce(0),
        numbered(0, 0),
        fence(1),
        produce(0),
        numbered(0, 1),
        at_end(1),
        numbered(1, 1),
        at_end(1 << 40),
        numbered(1, 2),
        fence(0),
    ]));
    seeds.push(seeds.concat());
    seeds
}
