//! Topics without appends age as well: their segments roll, and expired tombstones are dropped.

mod support {
    pub(crate) mod raw;
}

use grower_broker::{Broker, BrokerConfig, Clock};
use grower_protocol::batch::{BatchBuilder, BatchReader, Record};
use grower_protocol::compression::Codec;
use grower_protocol::ids::{Timestamp, TopicId, TopicName};
use grower_protocol::message::*;
use grower_storage::disk::MemDisk;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use support::raw::*;
use tokio::io::DuplexStream;

const START: i64 = 1_700_000_000_000;
const HOUR: i64 = 3_600_000;

/// A clock that goes when it is told to, in milliseconds since the start.
#[derive(Default)]
struct Hand(AtomicI64);

impl Clock for Hand {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(START + self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst).unsigned_abs())
    }
}

struct World {
    disk: MemDisk,
    clock: Arc<Hand>,
    client: Raw<DuplexStream>,
    broker: Broker,
}

impl World {
    async fn start(disk: MemDisk, clock: Arc<Hand>) -> Self {
        let config = BrokerConfig { retention_check: Duration::from_millis(5), ..BrokerConfig::at("/grower") };
        let builder = Broker::builder(config).disk(Arc::new(disk.clone())).clock(clock.clone());
        let broker = builder.start().await.unwrap();
        let client = Raw::open(broker.connect()).await;
        Self { disk, clock, client, broker }
    }

    async fn restarted(self) -> Self {
        self.broker.stop().await.unwrap();
        Self::start(self.disk, self.clock).await
    }

    fn pass(&self, millis: i64) {
        self.clock.0.fetch_add(millis, Ordering::SeqCst);
    }

    async fn put(&mut self, topic: TopicId, key: &str, value: Option<&str>) {
        let (key, value) = (Some(key.to_owned().into()), value.map(|value| value.to_owned().into()));
        let mut batch = BatchBuilder::new(Codec::None);
        batch.push(&Record { timestamp: self.clock.wall(), key, value, ..Record::default() });
        self.client.produce(topic, Acks::All, &batch.build(None)).await.unwrap();
    }

    /// Keys of the records that can be read; those of tombstones are in brackets.
    async fn keys(&mut self, topic: TopicId) -> String {
        let (parts, records) = self.client.fetch(fetch_from(topic, 0)).await;
        parts[0].clone().unwrap();
        let batches = BatchReader::new(records).map(Result::unwrap);
        let records = batches.flat_map(|batch| batch.records(1 << 20).unwrap().map(Result::unwrap).collect::<Vec<_>>());
        let shown = records.map(|record| {
            let key = String::from_utf8(record.key.unwrap_or_default().to_vec()).unwrap();
            if record.value.is_none() { format!("({key})") } else { key }
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    async fn segments(&mut self, topic: &str) -> usize {
        let topics = Some(vec![TopicName::new(topic).unwrap()]);
        match self.client.ask(&Request::DescribeTopics { topics, segments: true }).await {
            Response::DescribeTopics(topics) => topics[0].as_ref().unwrap().partitions[0].segments.len(),
            other => panic!("{other:?}"),
        }
    }

    /// Waits until the keys of a topic are these.
    async fn until_keys(&mut self, topic: TopicId, expected: &str) {
        for _ in 0..6_000 {
            if self.keys(topic).await == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?} is left, and not {expected:?}", self.keys(topic).await);
    }

    async fn until_segments(&mut self, topic: &str, expected: usize) {
        for _ in 0..6_000 {
            if self.segments(topic).await == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{topic} has {} segments, and not {expected}", self.segments(topic).await);
    }
}

#[tokio::test]
async fn a_tombstone_of_a_quiet_compacted_topic_is_dropped_in_time() {
    for restart in [false, true] {
        let mut world = World::start(MemDisk::default(), Arc::default()).await;
        let configs = [("cleanup.policy", "compact"), ("delete.retention.ms", "1h")];
        let topic = world.client.create_topic("profiles", 1, &configs).await;
        for (key, value) in [("a", Some("1")), ("b", Some("1")), ("a", None)] {
            world.put(topic, key, value).await;
        }
        assert_eq!(world.keys(topic).await, "a b (a)");
        world.pass(HOUR); // Quiet for as long as a tombstone stays: the segment rolls, and a pass may take it.
        world.until_keys(topic, "b (a)").await;
        if restart {
            world = world.restarted().await;
        }
        world.pass(HOUR);
        world.until_keys(topic, "b").await;
        assert_eq!(world.segments("profiles").await, 2);
        world.put(topic, "c", Some("1")).await;
        assert_eq!(world.keys(topic).await, "b c");
        world.broker.stop().await.unwrap();
    }
}

#[tokio::test]
async fn an_old_segment_of_an_idle_partition_rolls_once() {
    let mut world = World::start(MemDisk::default(), Arc::default()).await;
    let topic = world.client.create_topic("events", 1, &[("segment.ms", "1h"), ("retention.ms", "-1")]).await;
    world.put(topic, "a", Some("1")).await;
    assert_eq!(world.segments("events").await, 1);
    world.pass(HOUR);
    world.until_segments("events", 2).await;
    world = world.restarted().await;
    world.pass(10 * HOUR);
    world.put(topic, "b", Some("1")).await;
    assert_eq!(world.segments("events").await, 2, "an empty segment is as old as its first record");
    world.pass(HOUR);
    world.until_segments("events", 3).await;
    assert_eq!(world.keys(topic).await, "a b");
    world.broker.stop().await.unwrap();
}
