//! Reading up to an end that is fixed at the start: it ends in every case, and exactly there.

mod stalling;
mod support;
mod world;

use futures_util::StreamExt as _;
use grower_broker::{Broker, BrokerConfig, Clock};
use grower_client::ids::{Offset, Timestamp};
use grower_client::{
    Client, ConsumeError, Consumer, ConsumerEvent, ErrorCode, GapCause, OnGap, ReadToEnd, Record, StartFrom, TopicSpec,
};
use stalling::Stall;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use support::{Act, FakeBroker, TOPIC};
use tokio::time::timeout;
use world::{LONG, Member, World, client, numbered, read, topic_partition};

/// Reads to the end; returns partitions and offsets, or the code of an error.
async fn rest(mut reading: ReadToEnd<'_>) -> Vec<Result<(u32, u64), Option<ErrorCode>>> {
    let mut items = Vec::new();
    let all = async {
        while let Some(item) = reading.next().await {
            let place = item.map(|record| (record.partition.value(), record.offset.value()));
            items.push(place.map_err(|error| error.code()));
        }
    };
    timeout(LONG, all).await.expect("it ends");
    items
}

async fn read_to_end(consumer: &mut Consumer) -> Vec<(u32, u64)> {
    let mut read: Vec<_> =
        rest(consumer.read_to_end().await.unwrap()).await.into_iter().map(|item| item.unwrap()).collect();
    read.sort();
    read
}

#[tokio::test]
async fn it_ends_where_the_log_ended_at_the_start_and_reading_continues_there() {
    let world = World::in_memory().await;
    world.topic("events", TopicSpec::partitions(1)).await;
    world.produce("events", numbered(0..100)).await;
    let mut consumer = world.client.consumer().subscribe(["events"]).build().await.unwrap();
    let reading = consumer.read_to_end().await.unwrap();
    world.produce("events", numbered(100..150)).await;
    let values: Vec<_> = reading.map(|record| record.unwrap().value.unwrap()).collect().await;
    assert_eq!(values, numbered(0..100).collect::<Vec<_>>());
    assert_eq!(consumer.position("events", 0), Some(Offset::new(100)));
    assert_eq!(consumer.total_lag().await.unwrap(), 50);

    assert_eq!(read(&mut consumer, 10).await, numbered(100..110).collect::<Vec<_>>());
    assert_eq!(read_to_end(&mut consumer).await, (110..150).map(|offset| (0, offset)).collect::<Vec<_>>());
    assert_eq!(read_to_end(&mut consumer).await, []);
    world.produce("events", numbered(150..151)).await;
    assert_eq!(read(&mut consumer, 1).await, ["record 150"]);
}

#[tokio::test]
async fn empty_and_paused_partitions_have_nothing_to_wait_for() {
    let world = World::in_memory().await;
    world.topic("events", TopicSpec::partitions(3)).await;
    let mut consumer = world.client.consumer().subscribe(["events"]).build().await.unwrap();
    assert_eq!(read_to_end(&mut consumer).await, []);
    let producer = world.client.producer().build().await.unwrap();
    for partition in [0, 0, 2] {
        producer.send(Record::new("events").value("x").partition(partition)).await.unwrap();
    }
    consumer.pause("events", 0).unwrap();
    assert_eq!(read_to_end(&mut consumer).await, [(2, 0)]);
    consumer.resume("events", 0).unwrap();
    assert_eq!(read_to_end(&mut consumer).await, [(0, 0), (0, 1)]);
}

#[tokio::test]
async fn a_partition_at_its_end_leaves_the_memory_to_the_others() {
    let world = World::in_memory().await;
    world.topic("events", TopicSpec::partitions(2)).await;
    let producer = world.client.producer().batch_records(1).build().await.unwrap();
    let send = async |partition: u32, count: u32| {
        for _ in 0..count {
            drop(producer.enqueue(Record::new("events").value(vec![0; 5_000]).partition(partition)).await.unwrap());
        }
        producer.flush().await.unwrap();
    };
    send(1, 100).await;
    let consumer = world.client.consumer().subscribe(["events"]).prefetch_bytes(20_000);
    let mut consumer = consumer.build().await.unwrap();
    let reading = consumer.read_to_end().await.unwrap();
    send(0, 100).await; // More than the memory holds, and none of it is wanted.
    let expected: Vec<_> = (0..100).map(|offset| Ok((1, offset))).collect();
    assert_eq!(rest(reading).await, expected);
    assert_eq!(read_to_end(&mut consumer).await, (0..100).map(|offset| (0, offset)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_dropped_reading_loses_nothing() {
    let world = World::in_memory().await;
    world.topic("events", TopicSpec::partitions(1)).await;
    world.produce("events", numbered(0..10)).await;
    let mut consumer = world.client.consumer().subscribe(["events"]).build().await.unwrap();
    let mut reading = consumer.read_to_end().await.unwrap();
    for offset in 0..4 {
        assert_eq!(reading.next().await.unwrap().unwrap().offset, Offset::new(offset));
    }
    world.produce("events", numbered(10..12)).await; // `reading` is not at its end and not used again.
    assert_eq!(read(&mut consumer, 8).await, numbered(4..12).collect::<Vec<_>>());
}

#[tokio::test]
async fn it_reads_between_two_times() {
    let world = World::in_memory().await;
    world.topic("events", TopicSpec::partitions(2)).await;
    let producer = world.client.producer().build().await.unwrap();
    for second in 0..20 {
        let record = Record::new("events").value("x").partition(second as u32 % 2);
        producer.send(record.timestamp(Timestamp::from_millis(1_000 * second))).await.unwrap();
    }
    let from = StartFrom::Time(Timestamp::from_millis(5_000));
    let mut consumer = world.client.consumer().subscribe(["events"]).from(from).build().await.unwrap();
    let reading = consumer.read_to_time(Timestamp::from_millis(9_500)).await.unwrap();
    let mut seconds: Vec<_> = reading.map(|record| record.unwrap().timestamp.as_millis() / 1_000).collect().await;
    seconds.sort();
    assert_eq!(seconds, [5, 6, 7, 8, 9]);
    let reading = consumer.read_to_time(Timestamp::from_millis(99_000)).await.unwrap();
    assert_eq!(rest(reading).await.len(), 10, "no record is as late: the end");
}

/// A clock that goes when it is told to, in milliseconds since the start.
#[derive(Default)]
struct Hand(AtomicI64);

impl Clock for Hand {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst).unsigned_abs())
    }
}

#[tokio::test]
async fn a_tail_that_was_compacted_away_is_no_reason_to_wait() {
    const HOUR: i64 = 3_600_000;
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(Hand::default()));
    let mut config = BrokerConfig { retention_check: Duration::from_millis(5), ..BrokerConfig::at(dir.path()) };
    config.disk_reserve_bytes = Some(1 << 20);
    let broker = Broker::builder(config).clock(clock.clone()).start().await.unwrap();
    let client = client(&broker).await;
    let spec = TopicSpec::partitions(1).config("cleanup.policy", "compact").config("delete.retention.ms", "1h");
    client.admin().create_topic("profiles", spec).await.unwrap();
    let producer = client.producer().batch_records(1).build().await.unwrap();
    let put = async |key: &'static str, value: Option<&'static str>| {
        let record = Record::new("profiles").key(key).timestamp(clock.wall());
        producer.send(value.into_iter().fold(record, |record, value| record.value(value))).await.unwrap();
    };
    for (key, value) in [("a", Some("1")), ("b", Some("1")), ("a", None)] {
        put(key, value).await;
    }
    let described = async || client.admin().describe_topic("profiles", true).await.unwrap();
    let bytes = async || described().await.partitions[0].segments[0].log_bytes;
    // The segment rolls and loses the overwritten record; later the tombstone is dropped.
    for _ in 0..2 {
        let before = bytes().await;
        clock.0.fetch_add(HOUR, Ordering::SeqCst);
        while before <= bytes().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let mut consumer = client.consumer().subscribe(["profiles"]).build().await.unwrap();
    assert_eq!(read_to_end(&mut consumer).await, [(0, 1)]);
    assert_eq!(read_to_end(&mut consumer).await, []);
    let reading = consumer.read_to_end().await.unwrap();
    put("c", Some("1")).await; // Behind the end.
    assert_eq!(rest(reading).await, []);
    assert_eq!(consumer.next().await.unwrap().unwrap().offset, Offset::new(3));
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn a_gap_counts_as_read() {
    let world = World::in_memory().await;
    world.topic("events", TopicSpec::partitions(1)).await;
    world.produce("events", numbered(0..10)).await;
    world.client.admin().trim_topic("events", [(0, Offset::new(10))]).await.unwrap();
    let consumer = world.client.consumer().subscribe(["events"]).from(StartFrom::Offset(Offset::new(1)));
    let mut consumer = consumer.on_gap(|_| OnGap::Report).build().await.unwrap();
    let mut reading = consumer.read_to_end().await.unwrap();
    match timeout(LONG, reading.next()).await.unwrap() {
        Some(Err(ConsumeError::Gap(gap))) => assert_eq!(gap.cause, GapCause::Retention),
        other => panic!("{other:?}"),
    }
    assert_eq!(rest(reading).await, []);
}

#[tokio::test]
async fn a_recreated_topic_is_read_to_the_end_of_the_old_records() {
    let world = World::in_memory().await;
    world.topic("events", TopicSpec::partitions(1)).await;
    world.produce("events", numbered(0..10)).await;
    let mut consumer = world.client.consumer().subscribe(["events"]).prefetch_bytes(1).build().await.unwrap();
    let mut reading = consumer.read_to_end().await.unwrap();
    reading.next().await.unwrap().unwrap();
    world.client.admin().delete_topic("events").await.unwrap();
    world.topic("events", TopicSpec::partitions(1)).await;
    world.produce("events", numbered(100..102)).await;
    let items = rest(reading).await;
    let unwanted = items.iter().flatten().filter(|(_, offset)| *offset == 0);
    assert_eq!(unwanted.count(), 0, "records of the new topic come later: {items:?}");
}

/// A broker with a batch for each of `values`, and a reader with little memory.
async fn fake_with(values: &[&'static str]) -> (FakeBroker, Consumer) {
    let fake = FakeBroker::new(|_| Act::Serve);
    let client = fake.client().await;
    let producer = client.producer().build().await.unwrap();
    for value in values {
        producer.send(Record::new(TOPIC).value(*value)).await.unwrap();
    }
    let reading = client.consumer().assign([(TOPIC, 0)]).from(StartFrom::Beginning).prefetch_bytes(1);
    (fake, reading.build().await.unwrap())
}

#[tokio::test]
async fn damage_is_one_error_and_ends_the_reading_of_its_partition() {
    let (fake, mut consumer) = fake_with(&["0", "1", "2"]).await;
    fake.damage(1);
    let damage = Err(Some(ErrorCode::CorruptLog));
    assert_eq!(rest(consumer.read_to_end().await.unwrap()).await, [Ok((0, 0)), damage]);
    assert_eq!(consumer.position(TOPIC, 0), Some(Offset::new(1)));
    assert_eq!(rest(consumer.read_to_end().await.unwrap()).await, [damage], "it is still there");
}

#[tokio::test]
async fn records_that_the_log_has_lost_are_not_waited_for() {
    let (fake, mut consumer) = fake_with(&["0", "1", "2", "3"]).await;
    let mut reading = consumer.read_to_end().await.unwrap();
    reading.next().await.unwrap().unwrap();
    fake.lose_all_but(2);
    let items = rest(reading).await;
    assert!(items.iter().all(Result::is_ok) && items.len() < 3, "{items:?}");
}

#[tokio::test]
async fn an_offline_partition_is_one_error_and_the_others_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let start = async || {
        let mut config = BrokerConfig::at(dir.path());
        config.disk_reserve_bytes = Some(1 << 20);
        let broker = Broker::start(config).await.unwrap();
        let client = client(&broker).await;
        (broker, client)
    };
    let (broker, writing) = start().await;
    writing.admin().create_topic("events", TopicSpec::partitions(2)).await.unwrap();
    let producer = writing.producer().build().await.unwrap();
    for partition in [0, 1, 1] {
        producer.send(Record::new("events").value("x").partition(partition)).await.unwrap();
    }
    broker.stop().await.unwrap();
    std::fs::remove_dir_all(dir.path().join("topics/events/0")).unwrap();
    let (broker, reading) = start().await;
    let mut consumer = reading.consumer().subscribe(["events"]).build().await.unwrap();
    for _ in 0..2 {
        let mut items = rest(consumer.read_to_end().await.unwrap()).await;
        items.retain(|item| *item != Ok((1, 0)) && *item != Ok((1, 1)));
        assert_eq!(items, [Err(Some(ErrorCode::PartitionOffline))]);
    }
    let error = consumer.total_lag().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::PartitionOffline), "{error}");
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn a_partition_that_moves_to_another_member_is_not_waited_for() {
    let world = World::in_memory().await;
    world.topic("events", TopicSpec::partitions(2)).await;
    let group = || world.client.consumer().group("g").subscribe(["events"]);
    let mut first = Member::join(group()).await;
    first.owns(&[0, 1]).await;
    let producer = world.client.producer().build().await.unwrap();
    for partition in [0, 1] {
        producer.send(Record::new("events").value("x").partition(partition)).await.unwrap();
    }
    let reading = first.consumer.read_to_end().await.unwrap();
    let joining = Member::join(group());
    let (_second, items) = tokio::join!(joining, async {
        while reading.consumer().assignment().len() == 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        rest(reading).await
    });
    assert!(items.iter().all(|item| *item == Ok((0, 0))), "{items:?}");
}

#[tokio::test]
async fn a_seek_to_an_end_moves_all_partitions_or_none() {
    let world = World::in_memory().await;
    world.topic("events", TopicSpec::partitions(2)).await;
    world.produce("events", numbered(0..10)).await;
    world.client.admin().trim_topic("events", [(0, Offset::new(3))]).await.unwrap();
    let mut consumer = world.client.consumer().subscribe(["events"]).build().await.unwrap();
    consumer.seek_to_end(consumer.assignment()).await.unwrap();
    assert_eq!(consumer.position("events", 0), Some(Offset::new(10)));
    let error = consumer.seek_to_beginning([0, 7].map(|partition| topic_partition("events", partition))).await;
    assert!(matches!(error, Err(ConsumeError::NotAssigned { .. })), "{error:?}");
    assert_eq!(consumer.position("events", 0), Some(Offset::new(10)));
    consumer.seek_to_beginning(consumer.assignment()).await.unwrap();
    assert_eq!(read_to_end(&mut consumer).await, (3..10).map(|offset| (0, offset)).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_total_lag_is_what_the_brokers_have() {
    let world = World::in_memory().await;
    world.topic("events", TopicSpec::partitions(2)).await;
    let mut consumer = world.client.consumer().subscribe(["events"]).build().await.unwrap();
    assert_eq!(consumer.total_lag().await.unwrap(), 0);
    world.produce("events", numbered(0..10)).await;
    read(&mut consumer, 4).await;
    consumer.pause("events", 0).unwrap();
    let producer = world.client.producer().build().await.unwrap();
    for partition in [0, 1, 1] {
        producer.send(Record::new("events").value("x").partition(partition)).await.unwrap();
    }
    assert_eq!(consumer.total_lag().await.unwrap(), 9, "a paused partition counts");
}

#[tokio::test]
async fn a_stalled_broker_delays_the_end_and_not_the_error_of_the_lag() {
    const LIMIT: Duration = Duration::from_millis(200);
    let (world, stall) = (World::in_memory().await, Stall::new());
    world.topic("events", TopicSpec::partitions(1)).await;
    world.produce("events", numbered(0..3)).await;
    let builder = Client::builder().transport(stall.transport(world.connector())).bootstrap(["stalled"]);
    let client = builder.request_timeout(LIMIT).connect_timeout(LIMIT).connect().await.unwrap();
    let mut consumer = client.consumer().subscribe(["events"]).build().await.unwrap();
    let mut reading = consumer.read_to_end().await.unwrap();
    stall.hold_requests();
    let error = timeout(LIMIT + Duration::from_millis(300), reading.consumer().total_lag()).await.expect("in time");
    assert!(error.unwrap_err().is_retriable());
    let mut read = 0;
    while let Ok(Some(record)) = timeout(LIMIT, reading.next()).await {
        record.unwrap(); // Prefetched before the stall, if any.
        read += 1;
    }
    stall.release();
    assert_eq!(read + rest(reading).await.len(), 3);
}

#[tokio::test]
async fn events_continue_behind_an_end_that_was_not_reached() {
    let world = World::in_memory().await;
    world.topic("events", TopicSpec::partitions(1)).await;
    world.produce("events", numbered(0..2)).await;
    let mut consumer = world.client.consumer().subscribe(["events"]).build().await.unwrap();
    let mut reading = consumer.read_to_end().await.unwrap();
    reading.next().await.unwrap().unwrap();
    world.produce("events", numbered(2..4)).await;
    let mut read = 1;
    while read < 4 {
        match timeout(LONG, consumer.next_event()).await.expect("they come").unwrap().unwrap() {
            ConsumerEvent::Records(records) => read += records.len(),
            other => panic!("{other:?}"),
        }
    }
}
