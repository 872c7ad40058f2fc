//! A panic in one request closes one connection; a panic that leaves shared state half changed ends the broker.

mod support {
    pub mod raw;
}

use grower_broker::{Broker, BrokerConfig};
use grower_protocol::ids::{PartitionId, TopicId};
use grower_protocol::message::*;
use grower_storage::disk::{Call, FaultDisk, Faults, MemDisk};
use std::sync::Arc;
use std::time::Duration;
use support::raw::*;
use tokio::io::DuplexStream;

/// Only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    broker: Broker,
    faults: Faults,
    topic: TopicId,
}

impl World {
    async fn new() -> Self {
        let disk = MemDisk::default();
        disk.set_capacity(32 << 20); // So little that each append asks how much is free.
        let disk = Arc::new(FaultDisk::new(disk));
        let faults = disk.faults();
        let config = BrokerConfig { disk_reserve_bytes: Some(0), ..BrokerConfig::at("/grower") };
        let broker = Broker::builder(config).disk(disk).start().await.unwrap();
        let mut client = Raw::open(broker.connect()).await;
        let topic = client.create_topic("events", 2, &[]).await;
        client.produce(topic, Acks::All, &batch(&["before"])).await.unwrap();
        Self { broker, faults, topic }
    }

    async fn client(&self) -> Raw<DuplexStream> {
        Raw::open(self.broker.connect()).await
    }

    /// The call after this many of its kind panics.
    fn panic_after(&self, others: u64, call: Call) {
        self.faults.before(call, self.faults.calls(call) + others, || panic!("a bug, as the test wants it"));
    }

    fn fetch(&self, offset: u64, max_wait_ms: u32) -> Request {
        Request::Fetch(Fetch { max_wait_ms, ..fetch_from(self.topic, offset) })
    }

    /// Everything but `broken` is as it was.
    async fn check_serves(&self, mut broken: Raw<DuplexStream>) {
        assert!(broken.receive().await.is_none(), "the connection is closed");
        let mut other = self.client().await;
        let produced = other.produce(self.topic, Acks::All, &batch(&["after"])).await.unwrap();
        let values = other.values(self.topic, 0).await;
        assert_eq!((&*values[0], values.len() as u64), ("before", produced.base_offset.value() + 1));
    }

    async fn stop(self) {
        tokio::time::timeout(PATIENCE, self.broker.stop()).await.expect("it waits for no request").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_panic_in_a_request_closes_its_connection_and_no_other() {
    let world = World::new().await;
    let mut waiting = world.client().await;
    waiting.send(&world.fetch(1, 60_000), &[]).await;
    let mut client = world.client().await;
    client.send(&world.fetch(1, 60_000), &[]).await; // Waits, and must not keep the connection.
    world.panic_after(0, Call::Read);
    client.send(&world.fetch(0, 0), &[]).await;
    world.check_serves(client).await;
    assert!(matches!(waiting.receive().await, Some((_, Response::Fetch(_), _))), "a fetch that waited is answered");
    drop(waiting);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_panic_in_a_fetch_that_waited_closes_its_connection() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.send(&world.fetch(1, 60_000), &[]).await;
    client.ask(&Request::DescribeBroker).await; // By now it waits.
    world.panic_after(0, Call::Read);
    world.client().await.produce(world.topic, Acks::All, &batch(&["news"])).await.unwrap();
    world.check_serves(client).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn records_written_before_a_panic_are_synced() {
    let world = World::new().await;
    let mut client = world.client().await;
    let records = batch(&["written"]);
    let part = |number| ProducePartition {
        topic: world.topic,
        partition: PartitionId::new(number),
        length: records.len() as u32,
        expected_end: None,
    };
    let request = Produce { acks: Acks::Leader, timeout_ms: 1_000, partitions: vec![part(0), part(1)] };
    world.panic_after(1, Call::Stat); // The second batch asks for room.
    client.send(&Request::Produce(request), &[&records[..], &records[..]].concat()).await;
    let read = async {
        let mut reader = world.client().await;
        while reader.values(world.topic, 0).await != ["before", "written"] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("it is committed without a waiter");
    world.check_serves(client).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_panic_in_the_middle_of_an_append_ends_the_broker() {
    let world = World::new().await;
    let mut client = world.client().await;
    world.panic_after(0, Call::Write);
    let records = batch(&["half"]);
    let partition =
        ProducePartition { topic: world.topic, partition: PARTITION, length: records.len() as u32, expected_end: None };
    let request = Produce { acks: Acks::All, timeout_ms: 1_000, partitions: vec![partition] };
    client.send(&Request::Produce(request), &records).await;
    let reason = tokio::time::timeout(PATIENCE, world.broker.failed()).await.expect("the broker says that it failed");
    assert!(reason.contains("a partition's log panicked"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_producer_whose_sync_panics_is_not_left_waiting() {
    let world = World::new().await;
    let mut client = world.client().await;
    let records = batch(&[&"x".repeat(100_000)]); // Too large to be synced by the connection's own task.
    let partition =
        ProducePartition { topic: world.topic, partition: PARTITION, length: records.len() as u32, expected_end: None };
    let request = Produce { acks: Acks::All, timeout_ms: 60_000, partitions: vec![partition] };
    world.panic_after(0, Call::Sync);
    client.send(&Request::Produce(request), &records).await;
    match tokio::time::timeout(PATIENCE, client.receive()).await.expect("it is answered, or its connection closed") {
        Some((_, Response::Produce(parts), _)) => {
            assert_eq!(parts[0].as_ref().unwrap_err().code, ErrorCode::ShuttingDown);
        }
        other => assert!(other.is_none(), "{other:?}"),
    }
    world.broker.failed().await;
}
