use super::*;
use crate::clock::{BrokerClock, Calendar};
use crate::config::{MetadataLimits, ProducerLimits};
use crate::health::Health;
use crate::logs::MemLogs;
use crate::memory::Memory;
use crate::metadata::{Command, MemMetadataStore, MetadataStore, ProducerClaim, Uuid};
use crate::metrics::Metrics;
use crate::topic::IndexKind;
use grower_protocol::batch::{BatchBuilder, ProducerStamp, Record, UnplacedBatch};
use grower_protocol::compression::Codec;
use grower_protocol::ids::{
    NodeId, PartitionId, ProducerEpoch, ProducerHolder, ProducerId, ProducerName, Sequence, TopicId, TopicName,
};
use grower_protocol::message::{ErrorCode, NewTopic};

/// The smallest budget, and the number of producers that fit its share.
const BUDGET: usize = 16 << 20;
const MOST: u64 = 4_096;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Two partitions, a budget and the time of day.
struct World {
    topics: Arc<Topics>,
    memory: Memory,
    calendar: Arc<Calendar>,
    clock: Arc<BrokerClock>,
    topic: TopicId,
}

impl World {
    async fn new() -> Self {
        let (calendar, memory, metadata) =
            (Arc::new(Calendar::default()), Memory::new(BUDGET), MemMetadataStore::default());
        let uuid = Uuid::from_random([1; 16]);
        metadata.propose(Command::RegisterBroker { node: NodeId::new(1), uuid, address: String::new() }).await.unwrap();
        let (logs, metadata) = (Arc::new(MemLogs), Arc::new(metadata));
        let clock = BrokerClock::new(calendar.clone());
        let health = Health::new(Metrics::for_test());
        let topics = Arc::new(Topics::new(metadata, logs, clock.clone(), IndexKind::default(), memory.clone(), health));
        let (name, topic) = (TopicName::new("events").unwrap(), TopicId::from_random([2; 16]));
        let request = NewTopic { name, partitions: Some(2), replication_factor: None, configs: Vec::new() };
        let now = Timestamp::default();
        topics
            .change(move |image| Ok(image.create_topic(&request, topic, now, &MetadataLimits::default())?))
            .await
            .unwrap();
        Self { topics, memory, calendar, clock, topic }
    }

    /// A producer's first batch; `true` if it is known already.
    fn send(&self, partition: u32, producer: u64) -> bool {
        self.try_send(partition, producer).unwrap()
    }

    fn try_send(&self, partition: u32, producer: u64) -> Result<bool, ErrorCode> {
        let mut batch = BatchBuilder::new(Codec::None);
        batch.push(&Record::default());
        let base_sequence = Some(Sequence::ZERO);
        let stamp = ProducerStamp { id: ProducerId::new(producer), epoch: ProducerEpoch::new(0), base_sequence };
        let batch = UnplacedBatch::built(batch.build(Some(stamp)));
        let partition = self.topics.partition(self.topic, PartitionId::new(partition)).unwrap();
        let appended = partition.append(batch, self.clock.steady());
        appended.map(|appended| appended.duplicate).map_err(|failure| failure.code)
    }

    /// The id of a new named producer.
    async fn claim(&self, name: &str) -> u64 {
        let (name, holder) = (ProducerName::new(name).unwrap(), ProducerHolder::new(1));
        let claim = ProducerClaim { name, holder, current: None };
        self.topics.claim_producer(claim, ProducerLimits::default()).await.unwrap().id.value()
    }

    fn names(&self) -> Vec<String> {
        let image = self.topics.image();
        image.named_producers_after(None).map(|producer| producer.name.to_string()).collect()
    }

    fn wait(&self, millis: i64) {
        self.calendar.pass(millis);
    }

    fn remembered(&self) -> usize {
        self.memory.state_bytes(StateKind::Producers)
    }
}

#[tokio::test]
async fn a_flood_of_producers_stays_within_its_memory_and_all_are_served() {
    let world = World::new().await;
    for producer in 0..3 * MOST {
        world.wait(1);
        assert!(!world.send(0, producer));
        assert!(world.remembered() <= BUDGET / 16);
    }
    assert_eq!(world.memory.used(), world.remembered().next_multiple_of(64 << 10), "it counts against the budget");
    assert!(world.send(0, 3 * MOST - 1), "the latest are remembered");
    assert!(!world.send(0, 0), "the longest silent are not");
}

#[tokio::test]
async fn the_longest_silent_producers_of_all_partitions_are_dropped_first() {
    let world = World::new().await;
    (0..MOST / 2).for_each(|producer| assert!(!world.send(0, producer)));
    world.wait(DAY_MS / 2);
    (MOST / 2..MOST - 1).for_each(|producer| assert!(!world.send(1, producer)));
    world.topics.bound_producers(world.clock.steady());
    assert_eq!(world.remembered(), (MOST / 2 - 1) as usize * 256);
    assert!(world.send(1, MOST / 2));
    assert!(!world.send(0, 0));
    world.topics.bound_producers(world.clock.steady());
    assert_eq!(world.remembered(), (MOST / 2) as usize * 256, "no producer is dropped while there is memory");
}

#[tokio::test]
async fn a_wall_clock_that_jumps_ends_no_idempotence() {
    let world = World::new().await;
    for jump in [30 * DAY_MS, -60 * DAY_MS] {
        world.calendar.jump(jump);
        world.clock.observe();
        world.topics.forget_producers(world.clock.steady(), EXPIRY_MS);
        world.send(0, 7);
        assert!(world.send(0, 7));
        world.wait(2 * 60 * 60 * 1000); // Long enough for the new date to be believed.
        world.clock.observe();
        world.topics.forget_producers(world.clock.steady(), EXPIRY_MS);
        assert!(world.send(0, 7));
    }
}

#[tokio::test]
async fn memory_is_freed_after_a_day_and_with_the_topic() {
    let world = World::new().await;
    (0..10).for_each(|producer| assert!(!world.send(0, producer)));
    world.wait(DAY_MS);
    assert!(!world.send(1, 10));
    world.topics.forget_producers(world.clock.steady(), EXPIRY_MS);
    assert_eq!(world.remembered(), 11 * 256);
    world.wait(1);
    world.topics.forget_producers(world.clock.steady(), EXPIRY_MS);
    assert_eq!(world.remembered(), 256);
    let name = TopicName::new("events").unwrap();
    world.topics.change(move |image| Ok(image.delete_topic(&name)?)).await.unwrap();
    assert_eq!((world.remembered(), world.memory.used()), (0, 0));
}

#[tokio::test]
async fn a_named_producer_is_remembered_as_long_as_its_name() {
    let world = World::new().await;
    let producer = world.claim("shipper").await;
    assert!(!world.send(0, producer));
    world.wait(100 * DAY_MS);
    world.topics.forget_producers(world.clock.steady(), EXPIRY_MS);
    assert!(world.send(0, producer));
    world.topics.delete_producer(ProducerName::new("shipper").unwrap()).await.unwrap();
    assert_eq!(world.try_send(0, producer + 1), Err(ErrorCode::FencedProducer));
    world.topics.forget_producers(world.clock.steady(), EXPIRY_MS);
    assert_eq!(world.remembered(), 0);
}

#[tokio::test]
async fn names_that_are_not_used_for_long_are_deleted() {
    let world = World::new().await;
    let week = Duration::from_secs(7 * 24 * 60 * 60);
    let writes = world.claim("writes").await;
    world.claim("idle").await;
    world.wait(6 * DAY_MS);
    world.send(1, writes);
    world.claim("young").await;
    world.wait(2 * DAY_MS);
    world.topics.expire_named_producers(week).await.unwrap();
    assert_eq!(world.names(), ["writes", "young"]);
    world.calendar.jump(30 * DAY_MS);
    world.topics.expire_named_producers(week).await.unwrap();
    assert_eq!(world.names(), ["writes", "young"], "a wall clock that jumps ends no name");
    world.wait(6 * DAY_MS);
    world.topics.expire_named_producers(week).await.unwrap();
    assert!(world.names().is_empty());
}

#[tokio::test]
async fn full_memory_refuses_further_named_producers_and_forgets_none() {
    let world = World::new().await;
    let mut named = Vec::new();
    for number in 0..1_300 {
        named.push(world.claim(&format!("p{number}")).await);
    }
    for producer in 0..MOST {
        world.send(0, producer); // Others give way.
    }
    let states: Vec<(u32, u64)> = (0..2).flat_map(|number| named.iter().map(move |id| (number, *id))).collect();
    let outcomes: Vec<_> = states.iter().map(|(partition, producer)| world.try_send(*partition, *producer)).collect();
    let accepted = outcomes.iter().filter(|outcome| **outcome == Ok(false)).count();
    assert!(1_300 < accepted && accepted < states.len(), "{accepted}");
    assert!(outcomes[accepted..].iter().all(|outcome| *outcome == Err(ErrorCode::MemoryFull)));
    assert!(world.remembered() <= BUDGET / 16 + 1_024, "{}", world.remembered());
    assert!(states[..accepted].iter().all(|(partition, producer)| world.send(*partition, *producer)));
    assert!(!world.send(1, 7), "a producer without a name is served");
}
