//! A flush and a close report each failure that no caller saw, once.

mod world;

use futures_util::FutureExt;
use grower_client::{ErrorCode, ProduceError, Producer, Record, TopicSpec};
use std::error::Error;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use world::{LONG, World};

async fn start() -> (World, Producer) {
    let world = World::in_memory().await;
    world.topic("t", TopicSpec::partitions(1).config("max.message.bytes", "1KiB")).await;
    let producer = world.client.producer().build().await.unwrap();
    producer.send(small()).await.unwrap();
    (world, producer)
}

fn small() -> Record {
    Record::new("t").value("v")
}

/// A record that the broker refuses.
fn large() -> Record {
    Record::new("t").value(vec![b'x'; 4_096])
}

#[tokio::test]
async fn failures_of_dropped_deliveries_are_counted_until_the_next_flush() {
    let (_world, producer) = start().await;
    for pause in [Duration::ZERO, Duration::from_millis(50)] {
        for record in [large(), small(), large(), large()] {
            drop(producer.enqueue(record).await.unwrap());
        }
        sleep(pause).await; // The failures come during the flush or before it.
        let error = producer.flush().await.unwrap_err();
        assert_eq!((error.failed, error.first.code()), (3, Some(ErrorCode::TooLarge)));
        assert!(error.to_string().starts_with("3 records failed, the first one: t/0: the batch has "), "{error}");
        assert!(error.source().is_some_and(|source| source.to_string() == error.first.to_string()));
        producer.flush().await.unwrap();
    }
}

#[tokio::test]
async fn failures_that_a_caller_saw_do_not_fail_a_later_flush() {
    let (_world, producer) = start().await;
    producer.send(large()).await.unwrap_err();
    producer.send_all([large(), small()]).await.unwrap_err();
    producer.flush().await.unwrap();
}

#[tokio::test]
async fn dropped_and_cancelled_calls_count_each_failed_record() {
    let (_world, producer) = start().await;
    drop(producer.enqueue_all([large(), small(), large()]).await);
    drop(producer.enqueue_all([Record::new("t").partition(7), Record::new("t").partition(7)]).await);
    assert!(producer.send(large()).now_or_never().is_none(), "it waits for the ack");
    assert_eq!(producer.flush().await.unwrap_err().failed, 5);
    producer.flush().await.unwrap();
}

#[tokio::test]
async fn every_close_has_the_result_of_the_first() {
    let (_world, producer) = start().await;
    drop(producer.enqueue(large()).await.unwrap());
    let clone = producer.clone();
    let (one, other) = tokio::join!(producer.close(), clone.close());
    for closed in [one, other, producer.close().await] {
        assert_eq!(closed.unwrap_err().failed, 1);
    }
    assert!(matches!(producer.send(small()).await, Err(ProduceError::Closed)));
    let (_world, producer) = start().await;
    producer.close().await.unwrap();
    producer.clone().close().await.unwrap();
}

#[tokio::test]
async fn a_close_that_is_dropped_may_be_repeated() {
    let (_world, producer) = start().await;
    drop(producer.enqueue(large()).await.unwrap());
    assert!(producer.close().now_or_never().is_none(), "it waits for the record");
    assert_eq!(timeout(LONG, producer.close()).await.expect("it ends").unwrap_err().failed, 1);
}
