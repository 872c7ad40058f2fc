//! A panic in a thread of the broker ends the whole broker.

mod support {
    pub mod raw;
}

use grower_broker::{Broker, BrokerConfig};
use grower_protocol::message::*;
use grower_storage::disk::{Call, FaultDisk, Faults, MemDisk};
use std::sync::Arc;
use std::time::Duration;
use support::raw::*;
use tokio::io::DuplexStream;

/// Only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

async fn with_broker(break_it: impl AsyncFnOnce(&Faults, Raw<DuplexStream>)) -> String {
    let disk = Arc::new(FaultDisk::new(MemDisk::default()));
    let faults = disk.faults();
    let broker = Broker::builder(BrokerConfig::at("/grower")).disk(disk).start().await.unwrap();
    break_it(&faults, Raw::open(broker.connect()).await).await;
    tokio::time::timeout(PATIENCE, broker.failed()).await.expect("the broker says that it failed")
}

async fn produce_while_syncs_panic(acks: Acks, length: usize) -> String {
    with_broker(async |faults, mut producer| {
        let topic = producer.create_topic("events", 1, &[]).await;
        producer.produce(topic, Acks::All, &batch(&["before"])).await.unwrap();
        let next = faults.calls(Call::Sync);
        faults.before(Call::Sync, next, || panic!("a bug, as the test wants it"));
        let records = batch(&[&"x".repeat(length)]);
        let partition =
            ProducePartition { topic, partition: PARTITION, length: records.len() as u32, expected_end: None };
        let produce = Produce { acks, timeout_ms: 60_000, partitions: vec![partition] };
        producer.send(&Request::Produce(produce), &records).await;
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_panic_in_a_sync_round_ends_the_broker() {
    let reason = produce_while_syncs_panic(Acks::All, 100_000).await;
    assert!(reason.contains("panicked") && reason.contains("restart"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_panic_in_a_sync_of_the_connections_own_task_ends_the_broker() {
    let reason = produce_while_syncs_panic(Acks::All, 10).await;
    assert!(reason.contains("panicked"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_panic_in_the_flush_timer_ends_the_broker() {
    let reason = produce_while_syncs_panic(Acks::Leader, 10).await;
    assert!(reason.contains("panicked"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_panic_while_a_request_changes_metadata_ends_the_broker() {
    let reason = with_broker(async |faults, mut client| {
        let next = faults.calls(Call::Write);
        faults.before(Call::Write, next, || panic!("a bug, as the test wants it"));
        let name = grower_protocol::ids::TopicName::new("events").unwrap();
        let topic = NewTopic { name, partitions: Some(1), replication_factor: None, configs: Vec::new() };
        client.send(&Request::CreateTopics { topics: vec![topic] }, &[]).await;
    })
    .await;
    assert!(reason.contains("panicked"), "{reason}");
}
