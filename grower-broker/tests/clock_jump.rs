//! A jump of the wall clock deletes nothing early and refuses no record.

mod support {
    pub mod raw;
}

use grower_broker::{Broker, BrokerConfig, Clock};
use grower_protocol::batch::{BatchBuilder, Record};
use grower_protocol::compression::Codec;
use grower_protocol::ids::{Offset, Timestamp, TopicId};
use grower_protocol::message::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use support::raw::*;
use tokio::io::DuplexStream;

const START: i64 = 1_700_000_000_000;
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// Clocks that go when they are told to: how far each is, in milliseconds.
#[derive(Default)]
struct Hands {
    wall: AtomicI64,
    monotonic: AtomicI64,
}

impl Hands {
    fn pass(&self, millis: i64) {
        self.monotonic.fetch_add(millis, Ordering::SeqCst);
        self.jump(millis);
    }

    fn jump(&self, millis: i64) {
        self.wall.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(START + self.wall.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic.load(Ordering::SeqCst).unsigned_abs())
    }
}

struct World {
    clock: Arc<Hands>,
    client: Raw<DuplexStream>,
    /// Four records of the start, two in a segment, which are kept for an hour.
    events: TopicId,
    /// Records that are appended here expire at once.
    marks: TopicId,
    marked: u64,
    _broker: Broker,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(Hands::default());
        let config = BrokerConfig { retention_check: Duration::from_millis(10), ..BrokerConfig::at("/grower") };
        let broker = in_memory_with(config).clock(clock.clone()).start().await.unwrap();
        let mut client = Raw::open(broker.connect()).await;
        let configs = [("segment.messages", "2"), ("retention.ms", "1h")];
        let events = client.create_topic("events", 1, &configs).await;
        let marks = client.create_topic("marks", 1, &configs).await;
        let mut world = Self { clock, client, events, marks, marked: 0, _broker: broker };
        for _ in 0..4 {
            world.produce(world.events, Timestamp::from_millis(START)).await.unwrap();
        }
        world
    }

    async fn produce(&mut self, topic: TopicId, timestamp: Timestamp) -> Part<Produced> {
        let mut batch = BatchBuilder::new(Codec::None);
        batch.push(&Record { timestamp, value: Some("x".into()), ..Record::default() });
        self.client.produce(topic, Acks::All, &batch.build(None)).await
    }

    async fn log_start(&mut self, topic: TopicId) -> u64 {
        self.client.list_offset(topic, OffsetSpec::Beginning).await.unwrap().offset.map_or(0, Offset::value)
    }

    /// How many records of `events` retention leaves: after at least one whole look that began after this was called.
    async fn left(&mut self) -> u64 {
        for _ in 0..3 {
            self.produce(self.marks, Timestamp::MIN).await.unwrap();
            self.marked += 1;
            while self.log_start(self.marks).await < self.marked {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        4 - self.log_start(self.events).await
    }
}

#[tokio::test]
async fn retention_drops_nothing_for_a_clock_that_is_ahead_for_a_moment() {
    let mut world = World::new().await;
    world.clock.jump(30 * DAY);
    assert_eq!(world.left().await, 4);
    world.clock.pass(HOUR / 2);
    assert_eq!(world.left().await, 4);
    world.clock.jump(-30 * DAY);
    assert_eq!(world.left().await, 4);
    world.clock.pass(HOUR / 2 + 1);
    assert_eq!(world.left().await, 0, "each record goes in its time");
}

#[tokio::test]
async fn a_clock_that_is_behind_for_a_moment_refuses_no_record_and_drops_none() {
    let mut world = World::new().await;
    let refused = world.produce(world.events, Timestamp::from_millis(START + DAY)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidTimestamp);
    world.clock.jump(-30 * DAY);
    world.produce(world.events, Timestamp::from_millis(START)).await.unwrap();
    world.clock.pass(2 * HOUR);
    assert_eq!(world.left().await, 4, "by the wall clock they are of the future");
}
