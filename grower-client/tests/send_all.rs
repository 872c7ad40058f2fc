//! Records sent together have the guarantees of records sent one by one.
#![expect(clippy::disallowed_methods, reason = "a test measures how long a call takes")]

mod support;
mod world;

use futures_util::{FutureExt, poll};
use grower_client::ids::Offset;
use grower_client::{
    Ack, ErrorCode, OffsetSpec, Outcome, Partitioner, ProduceError, Producer, ProducerBuilder, Record, RecordAcks,
    SendAllError, StartFrom, TopicSpec,
};
use grower_protocol::message::Request;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::{Act, FakeBroker, TOPIC};
use tokio::time::timeout;
use world::{LONG, World};

fn is_produce(request: &Request) -> bool {
    matches!(request, Request::Produce(_))
}

fn numbered(count: usize) -> impl Iterator<Item = Record> {
    (0..count).map(|number| Record::new(TOPIC).value(number.to_string()))
}

/// The outcome of each record, by its index in the input.
fn outcomes(result: Result<RecordAcks, SendAllError>) -> Vec<Result<Ack, ProduceError>> {
    let (acks, failed) = match result {
        Ok(acks) => (acks, Vec::new()),
        Err(error) => (error.acks().clone(), error.failures().map(|(at, error)| (at, error.clone())).collect()),
    };
    let acked = acks.ranges().iter().flat_map(|range| range.records.clone().zip(range.iter()));
    let mut by_index: BTreeMap<usize, _> = acked.map(|(at, ack)| (at, Ok(ack))).collect();
    for (at, error) in failed {
        assert!(by_index.insert(at, Err(error)).is_none(), "record {at} has two outcomes");
    }
    assert!(by_index.keys().copied().eq(0..by_index.len()), "a record has no outcome");
    by_index.into_values().collect()
}

/// A small record of a random topic.
#[derive(Clone, Debug)]
struct Sketch {
    topic: usize,
    partition: Option<u32>,
    key: Option<u8>,
    length: usize,
    timestamp: Option<i64>,
}

impl Sketch {
    fn record(&self, topics: &[String; 2], number: usize) -> Record {
        let mut record =
            Record::new(topics[self.topic].as_str()).value(format!("{number}:{}", "x".repeat(self.length)));
        if let Some(partition) = self.partition {
            record = record.partition(partition);
        }
        if let Some(key) = self.key {
            record = record.key(vec![key]);
        }
        if let Some(timestamp) = self.timestamp {
            record = record.timestamp(grower_client::ids::Timestamp::from_millis(timestamp));
        }
        if self.length.is_multiple_of(3) { record.header("length", self.length.to_string()) } else { record }
    }
}

fn sketch() -> impl Strategy<Value = Sketch> {
    let partition = prop::option::weighted(0.3, 0u32..4); // Partition 3 does not exist.
    let (key, timestamp) = (prop::option::of(0u8..8), prop::option::weighted(0.2, 0i64..3));
    (0usize..2, partition, key, 0usize..200, timestamp).prop_map(|(topic, partition, key, length, timestamp)| Sketch {
        topic,
        partition,
        key,
        length,
        timestamp,
    })
}

/// Reads every record of both topics: topic, partition, key, value, headers.
async fn log(world: &World, topics: &[String; 2]) -> Vec<(usize, u32, Vec<String>)> {
    let mut all = Vec::new();
    for (which, topic) in topics.iter().enumerate() {
        for partition in 0..3 {
            let admin = world.client.admin();
            let end = admin.list_offsets([(topic.as_str(), partition, OffsetSpec::End)]);
            let end = end.await.unwrap().remove(0).unwrap().offset.unwrap();
            let reading = world.client.consumer().assign([(topic.as_str(), partition)]).from(StartFrom::Beginning);
            let mut consumer = reading.build().await.unwrap();
            let mut records = Vec::new();
            while records.len() < end.value() as usize {
                let record = timeout(LONG, consumer.next()).await.unwrap().unwrap().unwrap();
                records.push(format!("{:?} {:?} {:?}", record.key, record.value, record.headers));
            }
            all.push((which, partition, records));
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn records_sent_together_leave_the_log_of_single_sends(
        sketches in prop::collection::vec(sketch(), 0..400),
        round_robin: bool,
        memory in prop::sample::select(vec![1_000usize, 20_000, 64 << 20]),
        batch_records in prop::sample::select(vec![2u32, 17, 100_000]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::in_memory().await;
            let topics = ["one", "all"].map(|kind| ["a", "b"].map(|name| format!("{name}-{kind}")));
            for topic in topics.as_flattened() {
                world.topic(topic, TopicSpec::partitions(3)).await;
            }
            let partitioner = if round_robin { Partitioner::RoundRobin } else { Partitioner::Key };
            let builder = || {
                let builder = world.client.producer().partitioner(partitioner).memory(memory);
                builder.batch_records(batch_records).linger(Duration::from_millis(1))
            };
            let (single, together) = (builder().build().await.unwrap(), builder().build().await.unwrap());
            let record = |kind: usize| {
                let topics = &topics[kind];
                sketches.iter().enumerate().map(|(number, sketch)| sketch.record(topics, number))
            };
            let mut deliveries = Vec::new();
            for record in record(0) {
                deliveries.push(single.enqueue(record).await);
            }
            let mut expected = Vec::new();
            for delivery in deliveries {
                expected.push(match delivery {
                    Ok(delivery) => Some(delivery.await.unwrap()),
                    Err(ProduceError::UnknownPartition { .. }) => None,
                    Err(error) => panic!("{error}"),
                });
            }
            let outcomes = outcomes(timeout(LONG, together.send_all(record(1))).await.expect("it ends"));
            assert_eq!(outcomes.len(), sketches.len());
            for (outcome, expected) in outcomes.iter().zip(&expected) {
                match (outcome, expected) {
                    (Ok(ack), Some(expected)) => {
                        assert_eq!((ack.partition, ack.offset), (expected.partition, expected.offset));
                    }
                    (Err(ProduceError::UnknownPartition { .. }), None) => {}
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(log(&world, &topics[1]).await, log(&world, &topics[0]).await);
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })] // Each waits for retries.

    #[test]
    fn faults_neither_reorder_nor_repeat_records_sent_together(
        faults in prop::collection::vec(fault(), 0..6),
        counts in prop::collection::vec(0usize..300, 1..6),
        batch_records in 1u32..60,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fake = FakeBroker::failing(is_produce, [Act::Serve].into_iter().chain(faults.clone()));
            let client = fake.client_with_patience(Duration::from_millis(60)).await.unwrap();
            let producer = client.producer().batch_records(batch_records).build().await.unwrap();
            producer.send(Record::new(TOPIC).value("first")).await.unwrap();
            let mut waiting = Vec::new();
            for (call, count) in counts.iter().enumerate() {
                let records = (0..*count).map(|number| Record::new(TOPIC).value(format!("{call}/{number}")));
                waiting.push(producer.enqueue_all(records).await);
            }
            let (mut acked, mut in_doubt) = (vec!["first".to_owned()], Vec::new());
            for (call, deliveries) in waiting.into_iter().enumerate() {
                let outcomes = outcomes(deliveries.await);
                assert_eq!(outcomes.len(), counts[call]);
                for (number, outcome) in outcomes.into_iter().enumerate() {
                    let value = format!("{call}/{number}");
                    match outcome {
                        Ok(ack) => {
                            assert_eq!(fake.values()[ack.offset.unwrap().value() as usize], value);
                            acked.push(value);
                        }
                        Err(error) if error.outcome() == Outcome::Unknown => in_doubt.push(value),
                        Err(_) => {}
                    }
                }
            }
            let sure: Vec<String> = fake.values().into_iter().filter(|value| !in_doubt.contains(value)).collect();
            assert_eq!(sure, acked, "exactly the acknowledged records are there, once and in order");
        });
    }
}

/// A refusal of a whole batch: the producer does not look for single records that are the cause.
const REFUSAL: ErrorCode = ErrorCode::NotAllowed;

fn fault() -> impl Strategy<Value = Act> {
    prop::sample::select(vec![
        Act::Serve,
        Act::Serve,
        Act::Silence,
        Act::ServeAndCut,
        Act::Cut,
        Act::AnswerLate,
        Act::Refuse(ErrorCode::NotLeader),
        Act::Refuse(REFUSAL),
    ])
}

#[tokio::test]
async fn an_error_names_exactly_the_failed_records() {
    let fake = FakeBroker::failing(is_produce, [Act::Serve, Act::Refuse(REFUSAL)]);
    let producer = fake.client().await.producer().batch_records(3).build().await.unwrap();
    let error = producer.send_all(numbered(10)).await.unwrap_err();
    assert_eq!(error.failures().map(|(index, _)| index).collect::<Vec<_>>(), [3, 4, 5]);
    assert!(error.failures().all(|(_, error)| error.outcome() == Outcome::Refused));
    insta::assert_snapshot!(error, @"3 of 10 records failed, first record 3");
    assert_eq!(error.acks().len(), 7);
    let again: Vec<Record> = error.failures().filter_map(|(index, _)| numbered(10).nth(index)).collect();
    let acks = producer.send_all(again).await.unwrap();
    assert_eq!(acks.offsets().into_values().collect::<Vec<_>>(), [[Offset::new(7)..Offset::new(10)]]);
    assert_eq!(fake.values(), ["0", "1", "2", "6", "7", "8", "9", "3", "4", "5"]);
}

#[tokio::test]
async fn no_records_need_no_ack() {
    let fake = FakeBroker::new(|_| Act::Serve);
    let producer = fake.client().await.producer().build().await.unwrap();
    assert!(producer.send_all([]).await.unwrap().is_empty());
    assert!(producer.enqueue_all([]).await.next().await.is_none());
}

/// Sends a record of this size in the middle of 400 others.
async fn with_one_of(producer: &Producer, bytes: usize) -> SendAllError {
    let large = Record::new(TOPIC).value(vec![b'x'; bytes]);
    let records = numbered(200).chain([large]).chain(numbered(200));
    timeout(LONG, producer.send_all(records)).await.expect("it ends").unwrap_err()
}

#[tokio::test]
async fn a_record_too_large_for_its_topic_fails_alone() {
    let world = World::in_memory().await;
    world.topic(TOPIC, TopicSpec::partitions(1).config("max.message.bytes", "2KiB")).await;
    let producer = world.client.producer().build().await.unwrap();
    let error = with_one_of(&producer, 4_000).await;
    assert_eq!(
        error.failures().map(|(index, error)| (index, error.code())).collect::<Vec<_>>(),
        [(200, Some(ErrorCode::TooLarge))]
    );
    assert!(error.acks().iter().map(|ack| ack.offset.unwrap().value()).eq(0..400));
}

#[tokio::test]
async fn a_record_too_large_for_the_memory_fails_alone() {
    let fake = FakeBroker::new(|_| Act::Serve);
    let producer = fake.client().await.producer().memory(5_000).build().await.unwrap();
    let error = with_one_of(&producer, 5_000).await;
    let failed: Vec<_> = error.failures().collect();
    assert!(matches!(failed[..], [(200, ProduceError::TooLarge { memory: 5_000, .. })]), "{failed:?}");
    assert_eq!(fake.values().len(), 400);
}

#[tokio::test]
async fn records_of_missing_topics_and_partitions_fail_after_one_lookup() {
    let lookups = Arc::new(AtomicUsize::new(0));
    let counted = lookups.clone();
    let fake = FakeBroker::new(move |request| {
        counted.fetch_add(usize::from(matches!(request, Request::Metadata(_))), Ordering::Relaxed);
        Act::Serve
    });
    let producer = fake.client().await.producer().build().await.unwrap();
    let before = lookups.load(Ordering::Relaxed);
    let topics = (0..100).map(|number| Record::new([TOPIC, "missing"][number % 2]).value(number.to_string()));
    let partitions = (0..100).map(|number| Record::new(TOPIC).partition(9 * (number % 2)).value(number.to_string()));
    let error = producer.send_all(topics.chain(partitions)).await.unwrap_err();
    assert!(error.failures().map(|(index, _)| index).eq((0..100).map(|at| at * 2 + 1)));
    let (of_topics, of_partitions): (Vec<_>, Vec<_>) = error.failures().partition(|(index, _)| *index < 100);
    assert!(of_topics.iter().all(|(_, error)| error.code() == Some(ErrorCode::UnknownTopic)));
    assert!(of_partitions.iter().all(|(_, error)| matches!(error, ProduceError::UnknownPartition { .. })));
    let lookups = lookups.load(Ordering::Relaxed) - before;
    assert!(lookups <= 5, "{lookups} lookups of two topics and a partition");
    assert_eq!(fake.values().len(), 100);
}

/// Room for about five records of 900 bytes.
fn narrow(builder: ProducerBuilder) -> ProducerBuilder {
    builder.memory(5_000)
}

fn large(count: usize) -> impl Iterator<Item = Record> {
    (0..count).map(|number| Record::new(TOPIC).value(format!("{number:0900}")))
}

#[tokio::test]
async fn records_wait_for_memory_in_their_order() {
    let fake = FakeBroker::new(|_| Act::Serve);
    let builder = narrow(fake.client().await.producer()).linger(Duration::from_secs(3600)); // Ends at a full memory.
    let producer = builder.build().await.unwrap();
    let deliveries = timeout(LONG, producer.enqueue_all(large(400))).await.expect("memory becomes free");
    producer.end_lingers();
    assert_eq!(timeout(LONG, deliveries).await.expect("all are sent").unwrap().len(), 400);
    assert!(fake.values().iter().map(|value| value.parse::<usize>().unwrap()).eq(0..400));
}

#[tokio::test]
async fn records_without_memory_fail_together_after_the_delivery_timeout() {
    let fake = FakeBroker::new(|request| if is_produce(request) { Act::Silence } else { Act::Serve });
    let client = fake.client_with_patience(LONG).await.unwrap();
    let producer = narrow(client.producer()).delivery_timeout(Duration::from_millis(300)).build().await.unwrap();
    let began = Instant::now();
    let outcomes = outcomes(producer.send_all(large(1_000)).await);
    let waited = began.elapsed();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(ProduceError::TimedOut { .. }))));
    let in_doubt = outcomes.iter().filter(|outcome| outcome.as_ref().is_err_and(|e| e.outcome() == Outcome::Unknown));
    assert!(in_doubt.count() <= 10, "only those that found room were sent");
    assert!(waited < Duration::from_secs(5), "they waited one after the other: {waited:?}");
}

#[tokio::test]
async fn dropping_the_call_sends_the_records_queued_so_far_and_no_other() {
    let fake = FakeBroker::new(|_| Act::Serve);
    let producer = narrow(fake.client().await.producer()).build().await.unwrap();
    producer.send(Record::new(TOPIC).value("first")).await.unwrap();
    {
        let mut sending = pin!(producer.send_all(large(100)));
        assert!(poll!(&mut sending).is_pending(), "there is room for a few");
    }
    producer.flush().await.unwrap();
    let there = fake.values().len() - 1;
    assert!((1..10).contains(&there), "{there} records were queued");
    assert!(fake.values()[1..].iter().map(|value| value.parse::<usize>().unwrap()).eq(0..there));
    let refill = timeout(LONG, producer.send_all(large(5))).await.expect("all memory is free").unwrap();
    assert_eq!(refill.len(), 5);
}

#[tokio::test]
async fn a_flush_reports_failures_of_dropped_deliveries() {
    let world = World::in_memory().await;
    world.topic(TOPIC, TopicSpec::partitions(1).config("max.message.bytes", "2KiB")).await;
    let producer = world.client.producer().build().await.unwrap();
    drop(producer.enqueue_all([Record::new(TOPIC).value(vec![b'x'; 4_000]), Record::new(TOPIC)]).await);
    assert_eq!(producer.flush().await.unwrap_err().first.code(), Some(ErrorCode::TooLarge));
    producer.flush().await.unwrap();
    drop(producer.enqueue_all([Record::new(TOPIC).partition(7)]).await);
    let error = producer.flush().await.unwrap_err();
    assert!(matches!(error.first, ProduceError::UnknownPartition { .. }), "{error}");
    producer.flush().await.unwrap();
}

#[tokio::test]
async fn ranges_arrive_one_by_one_in_the_order_of_the_input() {
    let fake = FakeBroker::failing(is_produce, [Act::Serve, Act::Refuse(REFUSAL)]);
    let producer = fake.client().await.producer().batch_records(3).build().await.unwrap();
    let mut deliveries = producer.enqueue_all(numbered(8)).await;
    let ranges = [
        deliveries.next().await.unwrap().unwrap().records,
        deliveries.next().await.unwrap().unwrap_err().records,
        deliveries.next().await.unwrap().unwrap().records,
    ];
    assert_eq!(ranges, [0..3, 3..6, 6..8]);
    assert!(deliveries.next().await.is_none());
}

#[tokio::test]
async fn a_closed_producer_queues_no_record() {
    let fake = FakeBroker::new(|_| Act::Serve);
    let producer = fake.client().await.producer().build().await.unwrap();
    producer.close().await.unwrap();
    let error = producer.send_all(numbered(300)).now_or_never().expect("no wait").unwrap_err();
    assert!(error.failures().all(|(_, error)| matches!(error, ProduceError::Closed)));
    assert_eq!((error.failures().count(), error.acks().len(), fake.values().len()), (300, 0, 0));
}
