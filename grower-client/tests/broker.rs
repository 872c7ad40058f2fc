//! The client against a real broker in the same process.

use bytes::Bytes;
use grower_broker::{Broker, BrokerConfig};
use grower_client::ids::{Offset, PartitionId, Timestamp};
use grower_client::{
    Client, Codec, ConsumeError, Consumer, ConsumerBuilder, Durability, ErrorCode, OffsetSpec, Outcome, Partitioner,
    ProduceError, Record, StartFrom, TopicSpec, transport,
};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::Notify;

/// Longer than anything here takes; only a failing test waits so long.
const LONG: Duration = Duration::from_secs(20);

struct World {
    client: Client,
    _broker: Broker,
    _dir: TempDir,
}

impl World {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = BrokerConfig::at(dir.path());
        (config.listen, config.http) = (None, None);
        let broker = Broker::start(config).await.unwrap();
        let client = client(&broker).await;
        Self { client, _broker: broker, _dir: dir }
    }

    async fn topic(&self, name: &str, spec: TopicSpec) {
        self.client.admin().create_topic(name, spec).await.unwrap();
    }

    /// Produces `values` to partition 0 of `topic` and waits for the acks.
    async fn produce(&self, topic: &str, values: impl IntoIterator<Item = String>) {
        let producer = self.client.producer().build().await.unwrap();
        for value in values {
            drop(producer.enqueue(Record::new(topic).value(value).partition(0)).await.unwrap());
        }
        producer.flush().await.unwrap();
    }
}

async fn client(broker: &Broker) -> Client {
    let transport = transport::in_process(broker.connector());
    Client::builder().transport(transport).bootstrap(["in process"]).connect().await.unwrap()
}

fn numbered(range: std::ops::Range<u32>) -> impl Iterator<Item = String> {
    range.map(|number| format!("record {number}"))
}

/// Reads until there are `count` records.
async fn read(consumer: &mut Consumer, count: usize) -> Vec<String> {
    let mut values = Vec::new();
    let reading = async {
        while values.len() < count {
            let record = consumer.next().await.unwrap().unwrap();
            values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
        }
    };
    let in_time = tokio::time::timeout(LONG, reading).await;
    assert!(in_time.is_ok(), "{} of {count} records came: {values:?}", values.len());
    values
}

#[tokio::test]
async fn what_is_sent_is_read_with_all_its_parts() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(3)).await;
    let producer = world.client.producer().build().await.unwrap();
    let record = Record::new("events").key("k").value("v").header("h", "x").timestamp(Timestamp::from_millis(17));
    let ack = producer.send(record).await.unwrap();
    assert_eq!((ack.offset, ack.durability), (Some(Offset::ZERO), Durability::Fsynced));

    let mut consumer = world.client.consumer().subscribe(["events"]).build().await.unwrap();
    let record = consumer.next().await.unwrap().unwrap();
    assert_eq!((record.partition, record.offset), (ack.partition, Offset::ZERO));
    assert_eq!((record.key, record.value), (Some(Bytes::from("k")), Some(Bytes::from("v"))));
    assert_eq!(record.headers.len(), 1);
    assert_eq!(record.timestamp, Timestamp::from_millis(17));
}

#[tokio::test]
async fn every_codec_brings_every_record_back_in_order() {
    let world = World::start().await;
    for codec in Codec::ALL {
        let topic = format!("events-{codec}");
        world.topic(&topic, TopicSpec::partitions(1)).await;
        let producer = world.client.producer().compression(codec).batch_bytes(5_000).build().await.unwrap();
        for value in numbered(0..2_000) {
            drop(producer.enqueue(Record::new(topic.as_str()).value(value)).await.unwrap());
        }
        producer.close().await.unwrap();
        let mut consumer = world.client.consumer().assign([(topic.as_str(), 0)]).build().await.unwrap();
        assert_eq!(read(&mut consumer, 2_000).await, numbered(0..2_000).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn records_that_wait_for_an_answer_share_a_batch() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(1).config("segment.messages", "1")).await;
    world.produce("events", numbered(0..1_000)).await;
    let described = world.client.admin().describe_topic("events", true).await.unwrap();
    let batches = described.partitions[0].segments.len(); // A segment holds at least one batch, and here at most one.
    assert!(batches < 100, "{batches} batches");
}

#[tokio::test]
async fn a_consumer_starts_where_it_is_told() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(1)).await;
    let producer = world.client.producer().build().await.unwrap();
    for number in 0..10 {
        let record = Record::new("events").value(format!("record {number}"));
        producer.send(record.timestamp(Timestamp::from_millis(1_000 * number))).await.unwrap();
    }
    let first = async |from| {
        let mut consumer = world.client.consumer().subscribe(["events"]).from(from).build().await.unwrap();
        read(&mut consumer, 1).await.remove(0)
    };
    assert_eq!(first(StartFrom::Beginning).await, "record 0");
    assert_eq!(first(StartFrom::Offset(Offset::new(4))).await, "record 4");
    assert_eq!(first(StartFrom::Time(Timestamp::from_millis(6_500))).await, "record 7");
    let mut at_end = world.client.consumer().subscribe(["events"]).from(StartFrom::End).build().await.unwrap();
    producer.send(Record::new("events").value("new")).await.unwrap();
    assert_eq!(read(&mut at_end, 1).await, ["new"]);
}

#[tokio::test]
async fn a_consumer_can_be_moved_and_paused() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(1)).await;
    world.produce("events", numbered(0..100)).await;
    let mut consumer = world.client.consumer().subscribe(["events"]).max_poll_records(3).build().await.unwrap();
    assert_eq!(consumer.poll(LONG).await.unwrap().len(), 3);
    assert_eq!(consumer.position("events", 0), Some(Offset::new(3)));
    assert_eq!(consumer.high_watermark("events", 0), Some(Offset::new(100)));
    assert_eq!(consumer.lag("events", 0), Some(97));

    consumer.seek("events", 0, Offset::new(50)).unwrap();
    assert_eq!(read(&mut consumer, 2).await, ["record 50", "record 51"]);
    consumer.pause("events", 0).unwrap();
    assert!(consumer.poll(Duration::from_millis(20)).await.unwrap().is_empty());
    consumer.resume("events", 0).unwrap();
    assert_eq!(read(&mut consumer, 1).await, ["record 52"]);
    consumer.seek_to_time(Timestamp::MIN).await.unwrap();
    assert_eq!(read(&mut consumer, 1).await, ["record 0"]);
    assert!(matches!(consumer.seek("events", 7, Offset::ZERO), Err(ConsumeError::NotAssigned { .. })));
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_a_typed_error() {
    let world = World::start().await;
    let producer = world.client.producer().build().await.unwrap();
    let error = producer.send(Record::new("nowhere")).await.unwrap_err();
    assert_eq!((error.code(), error.outcome()), (Some(ErrorCode::UnknownTopic), Outcome::Refused));
    assert!(matches!(producer.send(Record::new("no/where")).await, Err(ProduceError::Name(_))));
    let error = world.client.consumer().subscribe(["nowhere"]).build().await.map(drop).unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownTopic));
    world.topic("small", TopicSpec::partitions(1)).await;
    let error = producer.send(Record::new("small").partition(4)).await.unwrap_err();
    assert!(matches!(error, ProduceError::UnknownPartition { partitions: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_record_that_is_too_large_fails_alone() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(1).config("max.message.bytes", "2000")).await;
    let producer = world.client.producer().build().await.unwrap();
    let mut deliveries = Vec::new();
    for number in 0..200 {
        let length = if number == 77 { 5_000 } else { 100 };
        let value = format!("{number:0length$}");
        deliveries.push(producer.enqueue(Record::new("events").value(value)).await.unwrap());
    }
    let mut offsets = Vec::new();
    for (number, delivery) in deliveries.into_iter().enumerate() {
        match delivery.await {
            Ok(ack) => offsets.push(ack.offset.unwrap().value()),
            Err(error) => {
                assert_eq!(number, 77, "{error}");
                assert_eq!((error.code(), error.outcome()), (Some(ErrorCode::TooLarge), Outcome::Refused));
            }
        }
    }
    assert_eq!(offsets, (0..199).collect::<Vec<u64>>());
}

#[tokio::test]
async fn round_robin_takes_partitions_in_turn() {
    let world = World::start().await;
    world.topic("rainbow", TopicSpec::partitions(3)).await;
    let producer = world.client.producer().partitioner(Partitioner::RoundRobin).batch_records(1).build().await.unwrap();
    let mut places = Vec::new();
    for _ in 0..6 {
        let ack = producer.send(Record::new("rainbow").value("Hello, Kitty")).await.unwrap();
        places.push((ack.partition.value(), ack.offset.unwrap().value()));
    }
    assert_eq!(places, [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]);
}

#[tokio::test]
async fn a_topic_made_anew_is_another_topic_to_everybody() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(1)).await;
    let producer = world.client.producer().build().await.unwrap();
    let mut consumer = world.client.consumer().subscribe(["events"]).build().await.unwrap();
    producer.send(Record::new("events").value("old")).await.unwrap();
    assert_eq!(read(&mut consumer, 1).await, ["old"]);

    world.client.admin().delete_topic("events").await.unwrap();
    world.topic("events", TopicSpec::partitions(1)).await;
    let ack = producer.send(Record::new("events").value("new")).await.unwrap();
    assert_eq!(ack.offset, Some(Offset::ZERO));
    let first = loop {
        match consumer.next().await.unwrap() {
            Ok(record) => break record,
            Err(error) => assert_eq!(error.code(), Some(ErrorCode::UnknownTopic)), // It looked in between.
        }
    };
    assert_eq!((first.offset, first.value), (Offset::ZERO, Some(Bytes::from("new"))));
}

#[tokio::test]
async fn new_partitions_are_written_to_and_read_from_their_beginning() {
    let world = World::start().await;
    world.topic("sandbox", TopicSpec::partitions(1)).await;
    let consumer = world.client.consumer().subscribe(["sandbox"]).from(StartFrom::End);
    let mut consumer = consumer.metadata_max_age(Duration::from_millis(20)).build().await.unwrap();
    let producer = world.client.producer().build().await.unwrap();
    producer.send(Record::new("sandbox").value("a").partition(0)).await.unwrap();
    world.client.admin().grow_topic("sandbox", 2).await.unwrap();
    producer.send(Record::new("sandbox").value("b").partition(1)).await.unwrap();
    let mut values = read(&mut consumer, 2).await;
    values.sort();
    assert_eq!(values, ["a", "b"]);
}

#[tokio::test]
async fn acks_none_says_that_it_vouches_for_nothing() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(1)).await;
    let producer = world.client.producer().acks(grower_client::Acks::None).build().await.unwrap();
    for value in numbered(0..100) {
        let ack = producer.send(Record::new("events").value(value)).await.unwrap();
        assert_eq!((ack.offset, ack.durability), (None, Durability::None));
    }
    let mut consumer = world.client.consumer().subscribe(["events"]).build().await.unwrap();
    assert_eq!(read(&mut consumer, 100).await, numbered(0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn little_memory_slows_a_producer_down_and_loses_nothing() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(1)).await;
    let producer = world.client.producer().memory(2_000).build().await.unwrap();
    for value in numbered(0..1_000) {
        drop(producer.enqueue(Record::new("events").value(value)).await.unwrap());
    }
    producer.close().await.unwrap();
    let error = producer.send(Record::new("events")).await.unwrap_err();
    assert!(matches!(error, ProduceError::Closed));
    let mut consumer = world.client.consumer().subscribe(["events"]).prefetch_bytes(1).build().await.unwrap();
    assert_eq!(read(&mut consumer, 1_000).await, numbered(0..1_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn retention_moves_a_reader_forward_and_never_to_the_end() {
    let world = World::start().await;
    let spec = TopicSpec::partitions(1).config("segment.messages", "1");
    world.topic("events", spec.config("retention.messages", "3")).await;
    let producer = world.client.producer().batch_records(1).build().await.unwrap();
    for value in numbered(0..10) {
        producer.send(Record::new("events").value(value)).await.unwrap();
    }
    let start = async || {
        let lookup = [("events", 0, OffsetSpec::Beginning)];
        let mut found = world.client.admin().list_offsets(lookup).await.unwrap();
        found.remove(0).unwrap().offset.unwrap()
    };
    while start().await == Offset::ZERO {
        tokio::task::yield_now().await;
    }
    let from = StartFrom::Offset(Offset::new(1));
    let mut consumer = world.client.consumer().assign([("events", 0)]).from(from).build().await.unwrap();
    let first = consumer.next().await.unwrap().unwrap();
    assert!(Offset::new(1) < first.offset && first.offset <= start().await, "{}", first.offset);

    consumer.seek("events", 0, Offset::new(99)).unwrap();
    let error = consumer.next().await.unwrap().unwrap_err();
    let ConsumeError::OffsetOutOfRange { requested, high_watermark, .. } = error else { panic!("{error}") };
    assert_eq!((requested, high_watermark), (Offset::new(99), Offset::new(10)));
}
#[tokio::test]
async fn a_client_outlives_its_broker() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = BrokerConfig::at(dir.path());
    (config.listen, config.http) = (Some("127.0.0.1:0".parse().unwrap()), None);
    let broker = Broker::start(config.clone()).await.unwrap();
    let address = broker.listen_address().unwrap();
    let client = Client::connect(address.to_string()).await.unwrap();
    client.admin().create_topic("events", TopicSpec::partitions(1)).await.unwrap();
    let producer = client.producer().build().await.unwrap();
    producer.send(Record::new("events").value("before")).await.unwrap();
    let mut consumer = client.consumer().subscribe(["events"]).build().await.unwrap();
    assert_eq!(read(&mut consumer, 1).await, ["before"]);
    broker.stop().await.unwrap();

    let waiting = producer.enqueue(Record::new("events").value("meanwhile")).await.unwrap();
    config.listen = Some(address);
    let _broker = Broker::start(config).await.unwrap();
    assert_eq!(waiting.await.unwrap().partition, PartitionId::new(0));
    assert_eq!(read(&mut consumer, 1).await, ["meanwhile"]);
}

/// Polls until there are `count` records; gives partition and offset of each.
async fn poll(consumer: &mut Consumer, count: usize) -> Vec<(u32, u64)> {
    let mut read = Vec::new();
    let polling = async {
        while read.len() < count {
            let records = consumer.poll(Duration::from_millis(200)).await.unwrap();
            read.extend(records.into_iter().map(|record| (record.partition.value(), record.offset.value())));
        }
    };
    tokio::time::timeout(LONG, polling).await.expect("the records come");
    read
}

/// A consumer and a signal for each change of its assignment.
struct Member {
    consumer: Consumer,
    changed: Arc<Notify>,
}

impl Member {
    async fn join(builder: ConsumerBuilder) -> Self {
        let changed = Arc::new(Notify::new());
        let signal = changed.clone();
        let consumer = builder.on_rebalance(move |_| signal.notify_one()).build().await.unwrap();
        Self { consumer, changed }
    }

    /// Waits until it owns exactly these.
    async fn owns(&self, partitions: &[u32]) {
        let owned = || self.consumer.assignment().iter().map(|place| place.partition.value()).collect::<Vec<_>>();
        let waiting = async {
            while owned() != partitions {
                self.changed.notified().await;
            }
        };
        let in_time = tokio::time::timeout(LONG, waiting).await;
        assert!(in_time.is_ok(), "{partitions:?} should come, not {:?}", owned());
    }
}

#[tokio::test]
async fn what_a_member_had_not_committed_its_heir_reads() {
    let world = World::start().await;
    world.topic("rainbow", TopicSpec::partitions(3)).await;
    let producer = world.client.producer().partitioner(Partitioner::RoundRobin).batch_records(1).build().await.unwrap();
    for number in 0..18 {
        producer.send(Record::new("rainbow").value(format!("Hello, Kitty {number}!"))).await.unwrap();
    }
    let member = || {
        let timeout = Duration::from_secs(1);
        world.client.consumer().group("g").subscribe(["rainbow"]).max_poll_records(3).session_timeout(timeout)
    };
    let mut first = Member::join(member()).await;
    first.owns(&[0, 1, 2]).await;
    let mut second = Member::join(member()).await;
    first.owns(&[0, 1]).await;
    second.owns(&[2]).await;

    let before = poll(&mut first.consumer, 3).await;
    first.consumer.commit().await.unwrap();
    poll(&mut first.consumer, 3).await; // Read and not committed.
    drop(first); // As if it had been killed.
    second.owns(&[0, 1, 2]).await;
    let mut after = poll(&mut second.consumer, 15).await;
    after.extend(&before);
    after.sort_unstable();
    let all: Vec<(u32, u64)> = (0..3).flat_map(|partition| (0..6).map(move |offset| (partition, offset))).collect();
    assert_eq!(after, all);
}

#[tokio::test]
async fn a_member_that_leaves_makes_room_at_once() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(2)).await;
    let member = || world.client.consumer().group("g").subscribe(["events"]).auto_commit(Some(LONG));
    let mut first = Member::join(member()).await;
    let mut second = Member::join(member()).await;
    first.owns(&[0]).await;
    second.owns(&[1]).await;
    world.produce("events", numbered(0..5)).await;
    assert_eq!(poll(&mut first.consumer, 5).await.len(), 5);
    first.consumer.close().await.unwrap();
    assert!(first.consumer.next().await.is_none());
    second.owns(&[0, 1]).await;
    world.produce("events", numbered(5..6)).await;
    assert_eq!(poll(&mut second.consumer, 1).await, [(0, 5)]);
}

#[tokio::test]
async fn a_group_waits_for_topics_and_reads_new_partitions_from_their_beginning() {
    let world = World::start().await;
    let from = StartFrom::End;
    let consumer =
        world.client.consumer().group("g").subscribe(["sandbox"]).from(from).session_timeout(Duration::from_secs(1));
    let mut member = Member::join(consumer).await;
    member.owns(&[]).await;
    world.topic("sandbox", TopicSpec::partitions(1)).await;
    member.owns(&[0]).await;
    let producer = world.client.producer().build().await.unwrap();
    world.client.admin().grow_topic("sandbox", 2).await.unwrap();
    producer.send(Record::new("sandbox").value("b").partition(1)).await.unwrap();
    assert_eq!(poll(&mut member.consumer, 1).await, [(1, 0)]);
}

#[tokio::test]
async fn a_group_can_be_reset_when_nobody_is_in_it() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(1)).await;
    world.produce("events", numbered(0..10)).await;
    let admin = world.client.admin();
    let mut consumer = world.client.consumer().group("g").subscribe(["events"]).build().await.unwrap();
    assert_eq!(poll(&mut consumer, 10).await.len(), 10);
    consumer.commit().await.unwrap();
    let error = admin.reset_group("g", [("events", 0, Offset::ZERO)]).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::GroupNotEmpty));
    consumer.close().await.unwrap();
    admin.reset_group("g", [("events", 0, Offset::new(7))]).await.unwrap();
    let mut consumer = world.client.consumer().group("g").subscribe(["events"]).build().await.unwrap();
    assert_eq!(read(&mut consumer, 3).await, numbered(7..10).collect::<Vec<_>>());
}
