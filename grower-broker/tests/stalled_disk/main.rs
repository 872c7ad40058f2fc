//! A sync that does not return delays only the requests that wait for it.

mod http;
#[path = "../support/raw.rs"]
mod raw;

use bytes::BytesMut;
use grower_broker::{Broker, BrokerConfig};
use grower_protocol::batch::ProducerStamp;
use grower_protocol::compression::Codec;
use grower_protocol::ids::{ProducerEpoch, ProducerId, ProducerIdentity, Sequence, TopicId, TopicName};
use grower_protocol::message::*;
use grower_storage::disk::{Call, Fault, FaultDisk, Faults, MemDisk};
use raw::*;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// Far less than the stall, which lasts until the test ends it.
const PATIENCE: Duration = Duration::from_secs(10);

async fn connect(address: SocketAddr) -> Raw<TcpStream> {
    Raw::open(TcpStream::connect(address).await.unwrap()).await
}

/// As the daemon has it on a small machine.
fn two_threads() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A broker on a disk that can be stalled, and a client.
fn with_broker(talk: impl AsyncFnOnce(SocketAddr, &Faults)) {
    let (network, clients) = (two_threads(), two_threads());
    let disk = Arc::new(FaultDisk::new(MemDisk::default()));
    let faults = disk.faults();
    let config = BrokerConfig { listen: "127.0.0.1:0".parse().ok(), ..BrokerConfig::at("/grower") };
    let broker = network.block_on(Broker::builder(config).disk(disk).start()).unwrap();
    let address = broker.listen_address().unwrap();
    clients.block_on(talk(address, &faults));
    network.block_on(broker.stop()).unwrap();
}

/// Waits for this many syncs since `begin`, and then until more would have come.
async fn syncs_settle_at(faults: &Faults, begin: u64, syncs: u64, what: &str) {
    let asked = async {
        while faults.calls(Call::Sync) < begin + syncs {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect(what);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(faults.calls(Call::Sync) - begin, syncs, "{what}");
}

#[test]
fn requests_without_the_disk_are_served_while_producers_wait_for_it() {
    others_are_served_while(&[true; 4]);
}

/// A new partition's files take several syncs before the append, in the task of its producer.
#[test]
fn requests_without_the_disk_are_served_while_a_partition_is_created() {
    others_are_served_while(&[false]);
}

#[test]
fn others_are_served_while_as_many_partitions_are_created_as_the_network_has_threads() {
    others_are_served_while(&[false, false]);
}

/// Background work that may look at a partition while its writer waits for the disk.
#[test]
fn others_are_served_while_a_roll_waits_for_the_disk_and_its_topic_is_described() {
    with_broker(async |address, faults| {
        let mut reader = connect(address).await;
        let read = reader.create_topic("read", 1, &[]).await;
        reader.produce(read, Acks::All, &batch(&["before"])).await.unwrap();
        let mut producer = connect(address).await;
        let topic = producer.create_topic("events", 1, &[("segment.messages", "1")]).await;
        producer.produce(topic, Acks::All, &batch(&["before"])).await.unwrap();
        quiet(&mut reader, faults).await;

        let stall = Stall::begin_with(Call::SyncDir, faults);
        let rolling = faults.calls(Call::SyncDir);
        send_one(&mut producer, topic, Acks::None, "during").await;
        until(|| rolling < faults.calls(Call::SyncDir), "the roll is at the disk").await;
        let name = TopicName::new("events").unwrap();
        let looks = [
            Request::DescribeTopics { topics: Some(vec![name.clone()]), segments: true },
            Request::ListSegments { topic: name, from: None },
            list_offset(topic, OffsetSpec::Beginning),
            list_offset(topic, OffsetSpec::End),
            list_offset(topic, OffsetSpec::Latest),
        ];
        let mut watchers = Vec::new();
        for look in &looks {
            let mut watcher = connect(address).await;
            watcher.send(look, &[]).await;
            watchers.push(watcher);
        }
        let appends = [Acks::None, Acks::Leader, Acks::All];
        for acks in appends {
            let mut rival = connect(address).await;
            send_one(&mut rival, topic, acks, "behind").await;
            watchers.push(rival);
        }
        let others = async {
            let mut newcomer = connect(address).await;
            assert_eq!(newcomer.values(read, 0).await, ["before"]);
            for watcher in &mut watchers[..looks.len()] {
                let (_, answer, _) = watcher.receive().await.unwrap();
                assert!(!matches!(answer, Response::Failed(_)), "{answer:?}");
            }
        };
        tokio::time::timeout(PATIENCE, others).await.expect("others are served");

        drop(stall);
        while producer.values(topic, 0).await.len() < 2 + appends.len() {
            tokio::task::yield_now().await;
        }
        assert_eq!(producer.values(topic, 0).await[..2], ["before", "during"]);
    });
}

/// The writer is at the disk for other reasons than an append: it writes down that a quiet partition is durable.
#[test]
fn others_are_served_while_producers_wait_for_a_partitions_identity() {
    with_broker(async |address, faults| {
        let mut reader = connect(address).await;
        let read = reader.create_topic("read", 1, &[]).await;
        reader.produce(read, Acks::All, &batch(&["before"])).await.unwrap();
        let mut producer = connect(address).await;
        let topic = producer.create_topic("events", 1, &[]).await;
        quiet(&mut reader, faults).await;
        producer.produce(topic, Acks::All, &batch(&["0"])).await.unwrap();

        let stall = Stall::begin_with(Call::SyncDir, faults); // Producers sync no directory any more.
        let begin = faults.calls(Call::SyncDir);
        until(|| begin < faults.calls(Call::SyncDir), "the quiet partition is written down").await;
        let mut producers = Vec::new();
        for _ in 0..8 {
            let mut rival = connect(address).await;
            send_one(&mut rival, topic, Acks::All, "behind").await;
            producers.push(rival);
        }
        for number in 1..=20 {
            send_one(&mut producer, topic, Acks::All, &number.to_string()).await;
        }
        let others = async {
            let mut newcomer = connect(address).await;
            assert_eq!(newcomer.values(read, 0).await, ["before"]);
        };
        tokio::time::timeout(PATIENCE, others).await.expect("others are served");

        drop(stall);
        for rival in &mut producers {
            let (_, answer, _) = rival.receive().await.unwrap();
            assert!(matches!(answer, Response::Produce(produced) if produced[0].is_ok()));
        }
        for _ in 1..=20 {
            let (_, answer, _) = producer.receive().await.unwrap();
            assert!(matches!(answer, Response::Produce(produced) if produced[0].is_ok()));
        }
        let mut stored = producer.values(topic, 0).await;
        assert_eq!(stored.len(), 29);
        stored.retain(|value| value != "behind");
        assert!(
            stored.iter().eq((0..=20).map(|n| n.to_string()).collect::<Vec<_>>().iter()),
            "in the order sent: {stored:?}"
        );
    });
}

/// A batch that waits in the append queue is in the log by the answer to the fence, or never will be.
#[test]
fn a_fence_covers_the_batches_that_wait_for_the_disk() {
    with_broker(async |address, faults| {
        let mut producer = connect(address).await;
        let topic = producer.create_topic("events", 1, &[("segment.messages", "1")]).await;
        let id = producer.producer_id().await;
        producer.produce(topic, Acks::All, &numbered(id, 0, 0)).await.unwrap();
        quiet(&mut producer, faults).await;

        let stall = Stall::begin_with(Call::SyncDir, faults);
        let rolling = faults.calls(Call::SyncDir);
        send_batch(&mut producer, topic, &numbered(id, 0, 1)).await;
        until(|| rolling < faults.calls(Call::SyncDir), "the roll is at the disk").await;
        send_batch(&mut producer, topic, &numbered(id, 0, 2)).await;
        let (mut fencer, mut late) = (connect(address).await, connect(address).await);
        tokio::time::sleep(Duration::from_millis(50)).await; // The batch is queued.
        let begun = ProducerIdentity { id, epoch: ProducerEpoch::new(1) };
        let fence = FenceProducer { producer: begun, partitions: vec![(topic, PARTITION)] };
        fencer.send(&Request::FenceProducer(fence), &[]).await;
        tokio::time::sleep(Duration::from_millis(50)).await; // The fence is queued behind it.
        send_batch(&mut late, topic, &numbered(id, 0, 3)).await;

        drop(stall);
        let (_, answer, _) = fencer.receive().await.unwrap();
        let Response::FenceProducer(parts) = answer else { panic!("{answer:?}") };
        let last = parts[0].clone().unwrap().last.unwrap();
        let (_, answer, _) = late.receive().await.unwrap();
        let Response::Produce(produced) = answer else { panic!("{answer:?}") };
        assert_eq!(produced[0].clone().unwrap_err().code, ErrorCode::FencedProducer);
        assert_eq!((last.sequence.to_wire(), last.offset.value()), (2, 2), "the queue keeps its order");
        for _ in 1..=2 {
            let (_, answer, _) = producer.receive().await.unwrap();
            assert!(matches!(answer, Response::Produce(produced) if produced[0].is_ok()));
        }
        producer.produce(topic, Acks::All, &numbered(id, 1, 3)).await.unwrap();
        assert_eq!(producer.values(topic, 0).await, ["0.0", "0.1", "0.2", "1.3"]);
    });
}

/// A reader of the log sees all that a fence has decided.
#[test]
fn a_fence_waits_until_the_record_that_it_names_is_durable() {
    with_broker(async |address, faults| {
        let (mut producer, mut fencer) = (connect(address).await, connect(address).await);
        let topic = producer.create_topic("events", 1, &[]).await;
        let id = producer.producer_id().await;
        quiet(&mut producer, faults).await;

        let stall = Stall::begin_with(Call::Sync, faults);
        let syncing = faults.calls(Call::Sync);
        send_batch(&mut producer, topic, &numbered(id, 0, 0)).await;
        until(|| syncing < faults.calls(Call::Sync), "the batch is written").await;
        let begun = ProducerIdentity { id, epoch: ProducerEpoch::new(1) };
        let fence = FenceProducer { producer: begun, partitions: vec![(topic, PARTITION)] };
        fencer.send(&Request::FenceProducer(fence), &[]).await;
        let early = tokio::time::timeout(Duration::from_millis(200), fencer.receive()).await;
        assert!(early.is_err(), "a power cut could still take the record back: {early:?}");
        drop(stall);
        let (_, answer, _) = fencer.receive().await.unwrap();
        let Response::FenceProducer(parts) = answer else { panic!("{answer:?}") };
        assert_eq!(parts[0].clone().unwrap().last.unwrap().offset.value(), 0);
    });
}

/// A batch of one record.
fn numbered(id: ProducerId, epoch: u16, sequence: i32) -> BytesMut {
    let stamp = ProducerStamp { id, epoch: ProducerEpoch::new(epoch), base_sequence: Sequence::from_wire(sequence) };
    batch_of(Codec::None, &[&format!("{epoch}.{sequence}")], Some(stamp))
}

/// The system lets no file grow (`ulimit -f`), so each batch wants a new segment.
#[test]
fn others_are_served_while_partitions_roll_because_their_files_may_not_grow() {
    with_broker(async |address, faults| {
        let mut reader = connect(address).await;
        let read = reader.create_topic("read", 1, &[]).await;
        reader.produce(read, Acks::All, &batch(&["before"])).await.unwrap();
        let mut producers = Vec::new();
        for name in ["a", "b"] {
            let mut producer = connect(address).await;
            let topic = producer.create_topic(name, 1, &[]).await;
            producer.produce(topic, Acks::All, &batch(&["before"])).await.unwrap();
            producers.push((producer, topic));
        }
        quiet(&mut reader, faults).await;
        let stall = Stall::begin_with(Call::SyncDir, faults);
        faults.inject(Fault::too_large(Call::Write, faults.calls(Call::Write)).from_then_on());
        let begin = faults.calls(Call::SyncDir);
        for (producer, topic) in &mut producers {
            send_one(producer, *topic, Acks::All, "during").await;
        }
        until(|| begin + 2 <= faults.calls(Call::SyncDir), "both rolls are at the disk").await;
        let others = async {
            assert_eq!(connect(address).await.values(read, 0).await, ["before"]);
        };
        tokio::time::timeout(PATIENCE, others).await.expect("others are served");

        drop(stall);
        for (producer, _) in &mut producers {
            let (_, answer, _) = producer.receive().await.unwrap();
            let Response::Produce(produced) = answer else { panic!("{answer:?}") };
            assert_eq!(produced[0].as_ref().unwrap_err().code, ErrorCode::DiskFull, "nor any other file");
        }
        faults.heal();
        for (mut producer, topic) in producers {
            producer.produce(topic, Acks::All, &batch(&["after"])).await.unwrap();
            assert_eq!(producer.values(topic, 0).await, ["before", "after"]);
        }
    });
}

async fn until(is_so: impl Fn() -> bool, what: &str) {
    let looking = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect(what);
}

/// Waits until the partitions that were written to have been written down and the disk has nothing to do.
async fn quiet(client: &mut Raw<TcpStream>, faults: &Faults) {
    let settle = async {
        let mut calls = 0;
        for still in 0.. {
            let _ = client.ask(&Request::DescribeBroker).await;
            tokio::time::sleep(Duration::from_millis(300)).await; // Three times what a partition has to be quiet for.
            if calls == faults.calls(Call::SyncDir) && 0 < still {
                return;
            }
            calls = faults.calls(Call::SyncDir);
        }
    };
    tokio::time::timeout(PATIENCE, settle).await.expect("the disk rests");
}

async fn send_batch(producer: &mut Raw<TcpStream>, topic: TopicId, records: &[u8]) {
    let partition = ProducePartition { topic, partition: PARTITION, length: records.len() as u32, expected_end: None };
    let produce = Produce { acks: Acks::All, timeout_ms: 60_000, partitions: vec![partition] };
    producer.send(&Request::Produce(produce), records).await;
}

async fn send_one(producer: &mut Raw<TcpStream>, topic: TopicId, acks: Acks, value: &str) {
    let records = batch(&[value]);
    let partition = ProducePartition { topic, partition: PARTITION, length: records.len() as u32, expected_end: None };
    let produce = Produce { acks, timeout_ms: 60_000, partitions: vec![partition] };
    producer.send(&Request::Produce(produce), &records).await;
}

fn list_offset(topic: TopicId, spec: OffsetSpec) -> Request {
    Request::ListOffsets(ListOffsets { partitions: vec![ListOffset { topic, partition: PARTITION, spec }] })
}

/// Lets the disk stall under producers, each of a partition of its own, which has files already or does not.
fn others_are_served_while(have_files: &[bool]) {
    with_broker(async |address, faults| {
        let mut reader = connect(address).await;
        let read = reader.create_topic("read", 1, &[]).await;
        reader.produce(read, Acks::All, &batch(&["before"])).await.unwrap();
        let mut producers = Vec::new();
        for (number, has_files) in have_files.iter().enumerate() {
            let mut producer = connect(address).await;
            let topic = producer.create_topic(&format!("events-{number}"), 1, &[]).await;
            if *has_files {
                producer.produce(topic, Acks::All, &batch(&["before"])).await.unwrap();
            }
            producers.push((producer, topic));
        }
        tokio::time::sleep(Duration::from_millis(500)).await; // Nothing is under way, all threads sleep.

        let stall = Stall::begin(faults);
        let begin = faults.calls(Call::Sync);
        for (producer, topic) in &mut producers {
            let records = batch(&["during"]);
            let partition = ProducePartition {
                topic: *topic,
                partition: PARTITION,
                length: records.len() as u32,
                expected_end: None,
            };
            let produce = Produce { acks: Acks::All, timeout_ms: 60_000, partitions: vec![partition] };
            producer.send(&Request::Produce(produce), &records).await;
            tokio::time::sleep(Duration::from_millis(30)).await; // It is at the disk by now.
            let others = async {
                let mut newcomer = connect(address).await;
                assert_eq!(newcomer.values(read, 0).await, ["before"]);
            };
            tokio::time::timeout(PATIENCE, others).await.expect("others are served");
        }
        assert!(begin < faults.calls(Call::Sync), "the disk was asked to sync");

        drop(stall);
        for (mut producer, topic) in producers {
            let (_, response, _) = producer.receive().await.unwrap();
            let Response::Produce(produced) = response else { panic!("{response:?}") };
            produced[0].clone().unwrap();
            assert_eq!(producer.values(topic, 0).await.last().unwrap(), "during");
        }
    });
}

/// A thousand partitions without waiters would else have as many syncs under way as there are threads, and take
/// the processors from their own producers.
#[test]
fn flushes_without_a_waiter_take_one_sync_at_a_time() {
    with_broker(async |address, faults| {
        let mut producer = connect(address).await;
        let mut topics = Vec::new();
        for number in 0..8 {
            let topic = producer.create_topic(&format!("events-{number}"), 1, &[]).await;
            producer.produce(topic, Acks::All, &batch(&["before"])).await.unwrap();
            topics.push(topic);
        }
        tokio::time::sleep(Duration::from_millis(500)).await; // Nothing is under way.

        let stall = Stall::begin(faults);
        let begin = faults.calls(Call::Sync);
        for topic in &topics[..7] {
            producer.produce(*topic, Acks::Leader, &batch(&["during"])).await.unwrap();
        }
        syncs_settle_at(faults, begin, 1, "seven partitions have bytes without a waiter").await;
        let records = batch(&["during"]);
        let partition = ProducePartition {
            topic: topics[7],
            partition: PARTITION,
            length: records.len() as u32,
            expected_end: None,
        };
        let produce = Produce { acks: Acks::All, timeout_ms: 60_000, partitions: vec![partition] };
        producer.send(&Request::Produce(produce), &records).await;
        syncs_settle_at(faults, begin, 2, "who waits does not wait behind them").await;

        drop(stall);
        let (_, response, _) = producer.receive().await.unwrap();
        assert!(matches!(response, Response::Produce(produced) if produced[0].is_ok()));
        for topic in topics {
            while producer.values(topic, 1).await != ["during"] {
                tokio::time::sleep(Duration::from_millis(5)).await; // Readers see what is durable.
            }
        }
    });
}

/// No sync comes back until this is dropped.
struct Stall(Arc<AtomicBool>);

impl Stall {
    fn begin(faults: &Faults) -> Self {
        Self::begin_with(Call::Sync, faults)
    }

    /// The same for another kind of call.
    fn begin_with(call: Call, faults: &Faults) -> Self {
        let stalled = Arc::new(AtomicBool::new(true));
        let next = faults.calls(call);
        for nth in next..next + 100 {
            let stalled = stalled.clone();
            faults.before(call, nth, move || {
                while stalled.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
        Self(stalled)
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
