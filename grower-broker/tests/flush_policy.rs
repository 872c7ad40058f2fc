//! Acks keep their promise over a power cut, while the flush policy of a topic changes.

mod support {
    pub mod raw;
}

use bytes::BytesMut;
use grower_broker::{Broker, BrokerConfig};
use grower_protocol::batch::ProducerStamp;
use grower_protocol::compression::Codec;
use grower_protocol::ids::{ProducerEpoch, ProducerId, Sequence, TopicId, TopicName};
use grower_protocol::message::*;
use grower_storage::disk::{Call, FaultDisk, Faults, MemDisk};
use std::sync::Arc;
use std::time::Duration;
use support::raw::*;
use tokio::io::DuplexStream;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A broker on a disk that can be stalled and crashed. It flushes by itself only after `flush_delay`.
struct World {
    disk: MemDisk,
    faults: Faults,
    broker: Broker,
}

impl World {
    async fn start(disk: MemDisk, flush_delay: Duration) -> Self {
        let faulty = FaultDisk::new(disk.clone());
        let faults = faulty.faults();
        let config = BrokerConfig { flush_delay, ..BrokerConfig::at("/grower") };
        let broker = Broker::builder(config).disk(Arc::new(faulty)).start().await.unwrap();
        Self { disk, faults, broker }
    }

    async fn client(&self) -> Raw<DuplexStream> {
        Raw::open(self.broker.connect()).await
    }

    /// The records after a power cut at this moment.
    async fn values_after_a_power_cut(self) -> Vec<String> {
        let Self { disk, broker, .. } = self;
        disk.crash();
        drop(broker);
        let again = async {
            loop {
                let config = BrokerConfig::at("/grower");
                match Broker::builder(config).disk(Arc::new(disk.clone())).start().await {
                    Ok(broker) => return broker,
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await, // The former is about to let go.
                }
            }
        };
        let broker = tokio::time::timeout(PATIENCE, again).await.expect("the broker starts again");
        let mut client = Raw::open(broker.connect()).await;
        let topics = Some(vec![TopicName::new("events").unwrap()]);
        let described = client.ask(&Request::DescribeTopics { topics, segments: false }).await;
        let Response::DescribeTopics(described) = described else { panic!("{described:?}") };
        client.values(described[0].as_ref().unwrap().id, 0).await
    }
}

/// Longer than any test: nothing is flushed unless something asks for it.
const NEVER: Duration = Duration::from_secs(60);

async fn alter_flush(client: &mut Raw<DuplexStream>, policy: &str) {
    let configs = vec![("flush".to_owned(), Some(policy.to_owned()))];
    let alter = Request::AlterTopic { topic: TopicName::new("events").unwrap(), configs };
    assert_eq!(client.ask(&alter).await, Response::Done);
}

fn stamped(id: ProducerId, sequence: i32, value: &str) -> BytesMut {
    let (epoch, base_sequence) = (ProducerEpoch::new(0), Sequence::from_wire(sequence));
    batch_of(Codec::None, &[value], Some(ProducerStamp { id, epoch, base_sequence }))
}

async fn durability(client: &mut Raw<DuplexStream>, topic: TopicId, records: &[u8]) -> Durability {
    client.produce(topic, Acks::All, records).await.unwrap().durability
}

#[tokio::test]
async fn a_retry_that_is_told_fsynced_after_the_policy_changed_survives_a_power_cut() {
    let world = World::start(MemDisk::default(), NEVER).await;
    let mut client = world.client().await;
    let topic = client.create_topic("events", 1, &[("flush", "os")]).await;
    let id = client.producer_id().await;
    let records = stamped(id, 0, "first");
    assert_eq!(durability(&mut client, topic, &records).await, Durability::Written);
    alter_flush(&mut client, "fsync").await;
    assert_eq!(durability(&mut client, topic, &records).await, Durability::Fsynced);
    assert_eq!(world.values_after_a_power_cut().await, ["first"]);
}

#[tokio::test]
async fn records_read_before_a_change_of_policy_survive_a_power_cut_after_it() {
    let world = World::start(MemDisk::default(), NEVER).await;
    let mut client = world.client().await;
    let topic = client.create_topic("events", 1, &[("flush", "os")]).await;
    for value in ["one", "two"] {
        client.produce(topic, Acks::Leader, &batch(&[value])).await.unwrap();
    }
    assert_eq!(client.values(topic, 0).await, ["one", "two"]);
    alter_flush(&mut client, "fsync").await;
    assert_eq!(client.values(topic, 0).await, ["one", "two"], "the high watermark does not fall");
    assert_eq!(world.values_after_a_power_cut().await, ["one", "two"]);
}

#[tokio::test]
async fn each_ack_holds_however_often_the_policy_changes() {
    let world = World::start(MemDisk::default(), NEVER).await;
    let mut client = world.client().await;
    let topic = client.create_topic("events", 1, &[]).await;
    let id = client.producer_id().await;
    let mut sent = Vec::new();
    for (sequence, policy) in (0..).zip(["os", "fsync", "os", "os", "fsync", "fsync", "os", "fsync"]) {
        alter_flush(&mut client, policy).await;
        let value = format!("{sequence} by {policy}");
        let said = durability(&mut client, topic, &stamped(id, sequence, &value)).await;
        assert_eq!(said == Durability::Fsynced, policy == "fsync", "{value}");
        sent.push(value);
    }
    assert_eq!(world.values_after_a_power_cut().await, sent, "the last ack vouches for all before it");
}

#[tokio::test]
async fn an_idle_topic_that_leaves_flushing_to_the_system_is_flushed_within_the_delay() {
    for acks in [Acks::None, Acks::Leader, Acks::All] {
        let world = World::start(MemDisk::default(), Duration::from_millis(5)).await;
        let mut client = world.client().await;
        let topic = client.create_topic("events", 1, &[("flush", "os")]).await;
        let id = client.producer_id().await;
        let records = stamped(id, 0, "quiet");
        if acks == Acks::None {
            let partition =
                ProducePartition { topic, partition: PARTITION, length: records.len() as u32, expected_end: None };
            let produce = Produce { acks, timeout_ms: 1_000, partitions: vec![partition] };
            client.send(&Request::Produce(produce), &records).await;
        } else {
            client.produce(topic, acks, &records).await.unwrap();
        }
        let flushed = async {
            while durability(&mut client, topic, &records).await != Durability::Fsynced {
                tokio::time::sleep(Duration::from_millis(5)).await; // A retry tells how durable the first one is.
            }
        };
        tokio::time::timeout(PATIENCE, flushed).await.expect("it is flushed");
        assert_eq!(world.values_after_a_power_cut().await, ["quiet"], "{acks:?}");
    }
}

/// The config of the topic, as the metadata has it.
async fn flush_config(client: &mut Raw<DuplexStream>) -> String {
    let topics = Some(vec![TopicName::new("events").unwrap()]);
    let described = client.ask(&Request::DescribeTopics { topics, segments: false }).await;
    let Response::DescribeTopics(described) = described else { panic!("{described:?}") };
    let configs = &described[0].as_ref().unwrap().configs;
    configs.iter().find(|config| config.key == "flush").unwrap().value.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_policy_is_answered_after_a_sync_and_delays_no_reader() {
    let world = World::start(MemDisk::default(), NEVER).await;
    let mut client = world.client().await;
    let topic = client.create_topic("events", 1, &[("flush", "os")]).await;
    client.produce(topic, Acks::All, &batch(&["before"])).await.unwrap();
    let before = world.faults.calls(Call::Sync);
    alter_flush(&mut client, "os").await; // Syncs the command and nothing else.
    let of_the_command = world.faults.calls(Call::Sync) - before;

    let (begin, mut begun) = tokio::sync::oneshot::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    world.faults.before(Call::Sync, world.faults.calls(Call::Sync) + of_the_command, move || {
        begin.send(()).unwrap();
        let _ = ended.recv();
    });
    let mut altering = world.client().await;
    let mut alter = tokio::spawn(async move { alter_flush(&mut altering, "fsync").await });
    tokio::select! {
        begun = &mut begun => begun.unwrap(),
        done = &mut alter => panic!("it is answered before the log is durable: {done:?}"),
    }
    assert_eq!(flush_config(&mut client).await, "fsync", "the command is durable, the log is not yet");
    let mut producer = world.client().await;
    let records = batch(&["meanwhile"]);
    let produced = tokio::spawn(async move { producer.produce(topic, Acks::Leader, &records).await.unwrap() });
    assert_eq!(client.values(topic, 0).await, ["before"]);
    drop(end);
    alter.await.unwrap();
    produced.await.unwrap();
    assert_eq!(durability(&mut client, topic, &batch(&["after"])).await, Durability::Fsynced);
    assert_eq!(world.values_after_a_power_cut().await, ["before", "meanwhile", "after"]);
}

#[tokio::test]
async fn a_shorter_flush_delay_applies_to_waiting_records() {
    let world = World::start(MemDisk::default(), NEVER).await;
    let mut client = world.client().await;
    let topic = client.create_topic("events", 1, &[]).await;
    client.produce(topic, Acks::Leader, &batch(&["one"])).await.unwrap();
    assert!(client.values(topic, 0).await.is_empty(), "it is not durable");
    let settings = vec![("disk.flush_delay".to_owned(), Some("1ms".to_owned()))];
    assert_eq!(client.ask(&Request::AlterSettings { settings }).await, Response::Done);
    let flushed = async {
        while client.values(topic, 0).await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, flushed).await.expect("it is flushed long before the old delay is over");
}
