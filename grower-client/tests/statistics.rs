//! The statistics of a producer and a consumer.

mod away;
mod support;

use away::{Absence, Presence};
use grower_client::{Client, ErrorCode, Record, StartFrom};
use grower_protocol::message::Request;
use std::time::Duration;
use support::{Act, FakeBroker, TOPIC};
use tokio::time::{sleep, timeout};

const LONG: Duration = Duration::from_secs(20);

fn is_produce(request: &Request) -> bool {
    matches!(request, Request::Produce(_))
}

fn record(length: usize) -> Record {
    Record::new(TOPIC).value(vec![b'x'; length])
}

#[tokio::test]
async fn a_producer_counts_its_records_batches_and_retries() {
    let faults = [ErrorCode::NotReady, ErrorCode::NotReady, ErrorCode::InvalidTimestamp].map(Act::Refuse);
    let fake = FakeBroker::failing(is_produce, faults);
    let producer = fake.client().await.producer().memory(1 << 20).build().await.unwrap();
    producer.send(record(1_000)).await.unwrap_err();
    for _ in 0..3 {
        producer.send(record(1_000)).await.unwrap();
    }
    let statistics = producer.statistics();
    assert_eq!((statistics.acknowledged_records, statistics.failed_records), (3, 1));
    assert_eq!((statistics.sent_batches, statistics.sent_records, statistics.retries), (4, 4, 2));
    assert_eq!((statistics.mean_batch_records(), statistics.mean_batch_bytes() / 100), (1, 10));
    assert_eq!((statistics.queued_records, statistics.in_flight_records, statistics.oldest_unsettled), (0, 0, None));
    assert_eq!((statistics.memory_used, statistics.memory_limit), (0, 1 << 20));
}

#[tokio::test]
async fn a_producer_counts_what_it_holds_and_for_how_long() {
    let silences = std::iter::once(Act::Serve).chain(std::iter::repeat_n(Act::Silence, 100));
    let fake = FakeBroker::failing(is_produce, silences);
    let producer = fake.client_with_patience(LONG).await.unwrap().producer().batch_records(2).max_in_flight(1);
    let producer = producer.build().await.unwrap();
    producer.send(record(0)).await.unwrap();
    let mut deliveries = Vec::new();
    for _ in 0..7 {
        deliveries.push(producer.enqueue(record(100)).await.unwrap());
    }
    sleep(Duration::from_millis(100)).await;
    let statistics = producer.statistics();
    assert_eq!(statistics.in_flight_records + statistics.queued_records, 7);
    assert!((1..=2).contains(&statistics.in_flight_records), "{statistics:?}");
    assert!(100 * statistics.queued_records <= statistics.queued_bytes, "{statistics:?}");
    assert!(700 <= statistics.memory_used, "{statistics:?}");
    let age = statistics.oldest_unsettled.unwrap();
    assert!(Duration::from_millis(50) <= age && age < LONG, "{age:?}");
    drop(producer);
    for delivery in deliveries {
        timeout(LONG, delivery).await.unwrap().unwrap_err();
    }
}

#[tokio::test]
async fn a_consumer_counts_its_records_and_tells_how_old_its_knowledge_is() {
    let (absence, fake) = (Absence::new(), FakeBroker::new(|_| Act::Serve));
    let transport = absence.transport(fake.connector());
    let client = Client::builder().transport(transport).bootstrap(["fake:1"]).connect().await.unwrap();
    let producer = client.producer().build().await.unwrap();
    for _ in 0..5 {
        producer.send(record(100)).await.unwrap();
    }
    let consumer = client.consumer().subscribe([TOPIC]).from(StartFrom::Beginning);
    let mut consumer = consumer.fetch_max_wait(Duration::from_millis(20)).build().await.unwrap();
    for _ in 0..3 {
        timeout(LONG, consumer.next()).await.unwrap().unwrap().unwrap();
    }
    let statistics = consumer.statistics();
    assert_eq!((statistics.records, statistics.bytes, statistics.partitions), (3, 300, 1));
    assert!(0 < statistics.fetches && statistics.known_lag == 2, "{statistics:?}");
    assert!(0 < statistics.buffered_bytes, "two records are prefetched: {statistics:?}");
    while !timeout(LONG, consumer.poll(Duration::from_millis(50))).await.unwrap().unwrap().is_empty() {}
    sleep(Duration::from_millis(300)).await;
    let idle = consumer.statistics();
    assert_eq!((idle.records, idle.known_lag, idle.buffered_bytes), (5, 0, 0));
    assert!(idle.oldest_high_watermark.unwrap() < Duration::from_millis(250), "an idle partition is known: {idle:?}");
    absence.set(Presence::Away);
    sleep(Duration::from_millis(300)).await;
    let away = consumer.statistics().oldest_high_watermark.unwrap();
    assert!(Duration::from_millis(250) <= away, "{away:?}");
}
