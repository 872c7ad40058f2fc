//! Callers that hand in many records without a wait give way to other tasks, and keep their order.

mod world;

use futures_util::StreamExt;
use grower_client::{ProduceError, Producer, Record, TopicSpec};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use world::World;

/// Returns a producer that knows the topic and has free memory, so that its later calls await nothing.
async fn ready_producer(world: &World) -> Producer {
    world.topic("events", TopicSpec::partitions(1)).await;
    let producer = world.client.producer().build().await.unwrap();
    producer.send(record()).await.unwrap();
    producer
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
    let world = World::in_memory().await;
    let producer = &ready_producer(&world).await;
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
    let world = World::in_memory().await;
    let producer = &ready_producer(&world).await;
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
    let world = World::in_memory().await;
    let producer = &ready_producer(&world).await;
    producer.close().await.unwrap();
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
    let world = World::in_memory().await;
    let producer = ready_producer(&world).await;
    let sends = (0..SENDS).map(|_| producer.send(record()));
    let acks: Vec<_> = futures_util::stream::iter(sends).buffered(SENDS).collect().await;
    let offsets: Vec<_> = acks.into_iter().map(|ack| ack.unwrap().offset.unwrap().value()).collect();
    assert!(offsets.is_sorted(), "{:?}", offsets.windows(2).find(|two| two[1] < two[0]));
}
