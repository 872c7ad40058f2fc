//! Callers that hand in many records without a wait give way to other tasks, and keep their order.

use futures_util::StreamExt;
use grower_broker::{Broker, BrokerConfig, MemLogs};
use grower_client::{Client, ProduceError, Producer, Record, TopicSpec, transport};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A producer and its broker in this process, with topic `events`.
struct Fixture {
    producer: Producer,
    _client: Client,
    _broker: Broker,
    _dir: tempfile::TempDir,
}

/// The topic is known and memory is free afterwards, so later calls await nothing.
async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let mut config = BrokerConfig::at(dir.path());
    (config.disk_reserve_bytes, config.listen, config.http) = (Some(1 << 20), None, None);
    let broker = Broker::builder(config).logs(Arc::new(MemLogs)).start().await.unwrap();
    let builder = Client::builder().transport(transport::in_process(broker.connector())).bootstrap(["in process"]);
    let client = builder.connect().await.unwrap();
    client.admin().create_topic("events", TopicSpec::partitions(1)).await.unwrap();
    let producer = client.producer().build().await.unwrap();
    producer.send(record()).await.unwrap();
    Fixture { producer, _client: client, _broker: broker, _dir: dir }
}

fn record() -> Record {
    Record::new("events").value(vec![b'x'; 1 << 10])
}

/// Runs `work`, which counts; returns the count at which another task of the thread ran.
async fn count_before_others<W: Future<Output = ()>>(work: impl FnOnce(Arc<AtomicUsize>) -> W) -> usize {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = count.clone();
    let other = tokio::spawn(async move { seen.load(Ordering::Relaxed) });
    work(count).await;
    other.await.unwrap()
}

#[tokio::test] // On one thread: another task runs only if this one yields.
async fn a_caller_that_queues_many_records_gives_way_to_other_tasks() {
    let fixture = fixture().await;
    let producer = &fixture.producer;
    let before = count_before_others(|count| async move {
        for _ in 0..1 << 10 {
            drop(producer.enqueue(record()).await.unwrap());
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let before = before.await;
    assert!(before < 300, "the other task ran after {before} KiB");
}

#[tokio::test]
async fn a_caller_that_queues_many_small_inputs_gives_way_to_other_tasks() {
    let fixture = fixture().await;
    let producer = &fixture.producer;
    let before = count_before_others(|count| async move {
        for _ in 0..100 {
            drop(producer.enqueue_all((0..100).map(|_| record())).await);
            count.fetch_add(100, Ordering::Relaxed);
        }
    });
    let before = before.await;
    assert!(before < 600, "the other task ran after {before} KiB");
}

#[tokio::test]
async fn an_input_that_fails_gives_way_to_other_tasks_and_is_one_range() {
    const RECORDS: usize = 20_000;
    let fixture = fixture().await;
    fixture.producer.close().await.unwrap();
    let producer = &fixture.producer;
    let before = count_before_others(|count| async move {
        let records = (0..RECORDS).map(|_| {
            count.fetch_add(1, Ordering::Relaxed);
            record()
        });
        let error = producer.enqueue_all(records).await.await.unwrap_err();
        let [range] = error.failed() else { panic!("{} ranges", error.failed().len()) };
        assert_eq!(range.records, 0..RECORDS);
        assert!(matches!(range.error, ProduceError::Closed), "{}", range.error);
    });
    let before = before.await;
    assert!(before < 600, "the other task ran after {before} records");
}

#[tokio::test]
async fn concurrent_sends_are_written_in_the_order_of_their_first_polls() {
    const SENDS: usize = 1_000;
    let fixture = fixture().await;
    let sends = (0..SENDS).map(|_| fixture.producer.send(record()));
    let acks: Vec<_> = futures_util::stream::iter(sends).buffered(SENDS).collect().await;
    let offsets: Vec<_> = acks.into_iter().map(|ack| ack.unwrap().offset.unwrap().value()).collect();
    assert!(offsets.is_sorted(), "{:?}", offsets.windows(2).find(|two| two[1] < two[0]));
}
