//! The records behind one that failed: written by default, or stopped with it.

mod rig;
mod stalling;
mod support;
mod world;

use grower_client::ids::Offset;
use grower_client::{
    AppendAtError, Delivery, ErrorCode, OnFailure, Outcome, ProduceError, Producer, Record, TopicSpec,
};
use grower_protocol::message::Request;
use rig::{REQUEST_TIMEOUT, Rig, record};
use support::{Act, FakeBroker, TOPIC};
use tokio::time::{sleep, timeout};
use world::{LONG, World};

async fn enqueue(producer: &Producer, records: impl IntoIterator<Item = Record>) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for record in records {
        deliveries.push(producer.enqueue(record).await.unwrap());
    }
    deliveries
}

/// Checks that a record was stopped, and returns the failure that stopped it.
async fn stopped(delivery: Delivery) -> ProduceError {
    let error = timeout(LONG, delivery).await.expect("it ends").unwrap_err();
    assert_eq!(error.outcome(), Outcome::Refused);
    let ProduceError::Stopped { first, .. } = &error else { panic!("{error}") };
    (**first).clone()
}

/// Records of which the second is too large for its topic.
fn records() -> [Record; 4] {
    [record(0), Record::new(TOPIC).value(vec![b'x'; 4_000]), record(2), record(3)]
}

#[tokio::test]
async fn by_default_the_records_behind_a_failed_one_are_written() {
    let world = World::in_memory().await;
    world.topic(TOPIC, TopicSpec::partitions(1).config("max.message.bytes", "2KiB")).await;
    let producer = world.client.producer().batch_records(1).build().await.unwrap();
    let acked: Vec<_> = futures_util::future::join_all(enqueue(&producer, records()).await).await;
    assert_eq!(acked.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true, true]);
}

#[tokio::test]
async fn no_record_overtakes_a_failed_one_until_its_partition_is_resumed() {
    let world = World::in_memory().await;
    world.topic(TOPIC, TopicSpec::partitions(1).config("max.message.bytes", "2KiB")).await;
    let builder = world.client.producer().on_failure(OnFailure::StopPartition).memory(8_000);
    let producer = builder.batch_records(1).build().await.unwrap();
    let mut deliveries = enqueue(&producer, records()).await.into_iter();
    assert_eq!(deliveries.next().unwrap().await.unwrap().offset, Some(Offset::ZERO));
    assert_eq!(deliveries.next().unwrap().await.unwrap_err().code(), Some(ErrorCode::TooLarge));
    for delivery in deliveries {
        assert_eq!(stopped(delivery).await.code(), Some(ErrorCode::TooLarge));
    }
    for _ in 0..10 {
        stopped(producer.enqueue(Record::new(TOPIC).value(vec![b'x'; 1_500])).await.unwrap()).await; // It holds no memory.
    }
    let later = producer.send_all((0..5).map(record)).await.unwrap_err();
    assert!(later.failures().all(|(_, error)| matches!(error, ProduceError::Stopped { .. })));
    insta::assert_snapshot!(later.failures().next().unwrap().1, @"events/0: stopped until the partition is resumed, because another record failed; it was not written");
    assert_eq!(producer.resume_partition(TOPIC, 0).unwrap().code(), Some(ErrorCode::TooLarge));
    assert!(producer.resume_partition(TOPIC, 0).is_none());
    assert_eq!(producer.send(record("again")).await.unwrap().offset, Some(Offset::new(1)));
}

#[tokio::test]
async fn a_record_that_is_not_queued_stops_those_behind_it_and_none_before_it() {
    let world = World::in_memory().await;
    world.topic(TOPIC, TopicSpec::partitions(1)).await;
    let builder = world.client.producer().on_failure(OnFailure::StopPartition).memory(8_000);
    let producer = builder.linger(LONG).build().await.unwrap();
    let row = |number: usize| if number == 2 { Record::new(TOPIC).value(vec![b'x'; 9_000]) } else { record(number) };
    let error = producer.send_all((0..5).map(row)).await.unwrap_err();
    let failed: Vec<_> = error.failures().map(|(index, _)| index).collect();
    assert_eq!(failed, [2, 3, 4]);
    assert!(matches!(error.failures().next().unwrap().1, ProduceError::TooLarge { .. }));
    stopped(producer.enqueue(record(5)).await.unwrap()).await;
    assert!(matches!(producer.resume_partition(TOPIC, 0), Some(ProduceError::TooLarge { .. })));
    let ack = async { tokio::join!(producer.send(record(2)), async { producer.end_lingers() }).0 };
    assert_eq!(ack.await.unwrap().offset, Some(Offset::new(2)));
}

#[tokio::test]
async fn a_timeout_stops_the_records_behind_it_too() {
    let refuses = |request: &Request| {
        if matches!(request, Request::Produce(_)) { Act::Refuse(ErrorCode::DiskFull) } else { Act::Serve }
    };
    let fake = FakeBroker::new(refuses);
    let builder = fake.client().await.producer().on_failure(OnFailure::StopPartition);
    let producer = builder.build().await.unwrap();
    let first = producer.enqueue_within(record(0), REQUEST_TIMEOUT).await.unwrap();
    let behind = enqueue(&producer, [record(1), record(2)]).await;
    assert_eq!(first.await.unwrap_err().outcome(), Outcome::Refused);
    for delivery in behind {
        assert!(matches!(stopped(delivery).await, ProduceError::TimedOut { .. }));
    }
    assert!(fake.values().is_empty());
}

#[tokio::test]
async fn records_behind_an_unknown_outcome_are_stopped_and_sent_in_order_after_a_look() {
    for rig in Rig::both().await {
        let builder = rig.stalled.producer().on_failure(OnFailure::StopPartition).batch_records(1);
        let producer = builder.delivery_timeout(2 * REQUEST_TIMEOUT).build().await.unwrap();
        producer.send(record(0)).await.unwrap();
        rig.stall.hold_requests();
        let first = producer.enqueue(record(1)).await.unwrap();
        assert_eq!(first.await.unwrap_err().outcome(), Outcome::Unknown);
        stopped(producer.enqueue(record(2)).await.unwrap()).await;
        rig.stall.release();
        let definite = async { while producer.flush().await.is_err() {} };
        timeout(LONG, definite).await.expect("it is fenced in the end");
        let next = rig.values().await.len();
        assert!(producer.resume_partition(TOPIC, 0).is_some());
        for number in next..4 {
            producer.send(record(number)).await.unwrap();
        }
        sleep(REQUEST_TIMEOUT / 2).await;
        assert_eq!(rig.values().await, ["0", "1", "2", "3"]);
    }
}

#[tokio::test]
async fn an_append_that_finds_another_end_stops_nothing() {
    let rig = Rig::real().await;
    let producer = rig.client.producer().on_failure(OnFailure::StopPartition).build().await.unwrap();
    let error = producer.append_at(TOPIC, 0, Offset::new(7), [record(0)]).await.unwrap_err();
    assert!(matches!(error, AppendAtError::UnexpectedEnd { .. }), "{error}");
    producer.send(record(0)).await.unwrap();
}
