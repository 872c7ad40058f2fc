//! Records that are appended only where a partition ends as expected.

mod rig;
mod stalling;
mod support;
mod world;

use futures_util::future::join_all;
use grower_client::ids::Offset;
use grower_client::{Acks, AppendAtError, AppendedAt, ErrorCode, Outcome, Producer, Record, TopicSpec};
use grower_protocol::message::Request;
use rig::{REQUEST_TIMEOUT, Rig, record};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use support::{Act, FakeBroker, TOPIC};
use tokio::time::{sleep, timeout};
use world::{LONG, World};

async fn append(producer: &Producer, end: u64, values: &[&str]) -> Result<AppendedAt, AppendAtError> {
    let records = values.iter().map(record);
    timeout(LONG, producer.append_at(TOPIC, 0, Offset::new(end), records)).await.expect("it ends")
}

/// The actual end of the partition.
fn actual(result: Result<AppendedAt, AppendAtError>) -> u64 {
    let error = result.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Refused);
    let AppendAtError::UnexpectedEnd { actual, .. } = error else { panic!("{error}") };
    actual.value()
}

#[tokio::test]
async fn records_are_appended_at_the_expected_end_or_nowhere() {
    for rig in Rig::both().await {
        let producer = rig.client.producer().batch_records(2).build().await.unwrap();
        let appended = append(&producer, 0, &["a", "b", "c"]).await.unwrap();
        assert_eq!(appended.offsets, Offset::new(0)..Offset::new(3));
        assert_eq!(actual(append(&producer, 2, &["x"]).await), 3);
        assert_eq!(actual(append(&producer, 9, &["x"]).await), 3, "an end in the future");
        let before: Vec<_> = join_all((0..3).map(|n| producer.enqueue(record(n)))).await;
        append(&producer, 6, &["d"]).await.unwrap();
        assert!(join_all(before.into_iter().map(Result::unwrap)).await.iter().all(Result::is_ok));
        producer.send(record("e")).await.unwrap();
        assert_eq!(rig.values().await, ["a", "b", "c", "0", "1", "2", "d", "e"]);
    }
}

#[tokio::test]
async fn one_of_many_appends_at_the_same_end_succeeds() {
    let rig = Rig::real().await;
    let producers = join_all((0..8).map(|_| rig.client.producer().build())).await;
    for round in 0..20 {
        let racers = producers.iter().map(|producer| append(producer.as_ref().unwrap(), round, &["won"]));
        let results = join_all(racers).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "round {round}");
        results.into_iter().filter(Result::is_err).for_each(|lost| assert_eq!(actual(lost), round + 1));
    }
}

#[tokio::test]
async fn a_retry_of_an_append_whose_answer_was_lost_succeeds() {
    let is_produce = |request: &Request| matches!(request, Request::Produce(_));
    for fault in [Act::ServeAndCut, Act::Silence, Act::Cut] {
        let rig = Rig::fake(&FakeBroker::failing(is_produce, [Act::Serve, fault.clone(), fault])).await;
        let producer = rig.client.producer().build().await.unwrap();
        append(&producer, 0, &["a"]).await.unwrap();
        assert_eq!(append(&producer, 1, &["b", "c"]).await.unwrap().offsets.start, Offset::new(1));
        assert_eq!(rig.values().await, ["a", "b", "c"]);
    }
    let rig = Rig::real().await;
    let producer = rig.stalled.producer().build().await.unwrap();
    append(&producer, 0, &["a"]).await.unwrap();
    rig.stall.hold_answers();
    let (appended, ()) = tokio::join!(append(&producer, 1, &["b", "c"]), async {
        sleep(REQUEST_TIMEOUT / 2).await;
        rig.stall.pass_new();
    });
    assert_eq!(appended.unwrap().offsets, Offset::new(1)..Offset::new(3));
    assert_eq!(rig.values().await, ["a", "b", "c"]);
}

#[tokio::test]
async fn an_append_in_doubt_is_definite_once_another_record_took_its_place() {
    for rig in Rig::both().await {
        let producer = rig.stalled.producer().build().await.unwrap();
        append(&producer, 0, &["a"]).await.unwrap();
        rig.stall.hold_requests();
        let (lost, ()) = tokio::join!(append(&producer, 1, &["late"]), async {
            sleep(REQUEST_TIMEOUT * 3 / 2).await; // It is in doubt.
            append(&rig.client.producer().build().await.unwrap(), 1, &["b"]).await.unwrap();
            rig.stall.pass_new();
        });
        assert_eq!(actual(lost), 2);
        rig.stall.release();
        append(&producer, 2, &["c"]).await.unwrap();
        assert_eq!(rig.values().await, ["a", "b", "c"]);
    }
}

#[tokio::test]
async fn an_append_that_the_broker_has_written_and_forgotten_is_not_refused() {
    let fake = FakeBroker::new(|_| Act::Serve);
    let rig = Rig::fake(&fake).await;
    let producer = rig.stalled.producer().build().await.unwrap();
    append(&producer, 0, &["a"]).await.unwrap();
    rig.stall.hold_answers();
    let (appended, ()) = tokio::join!(append(&producer, 1, &["b"]), async {
        sleep(REQUEST_TIMEOUT / 2).await;
        fake.forget_producers();
        rig.stall.pass_new();
    });
    assert_eq!(appended.unwrap_err().outcome(), Outcome::Unknown);
    append(&producer, 2, &["c"]).await.unwrap();
    assert_eq!(rig.values().await, ["a", "b", "c"]);
}

#[tokio::test]
async fn an_append_that_a_fence_found_in_the_log_is_not_refused() {
    let known: Arc<OnceLock<FakeBroker>> = Arc::default();
    let (of_script, fenced) = (known.clone(), AtomicBool::new(false));
    let fake = FakeBroker::new(move |request| {
        match request {
            Request::FenceProducer(_) => fenced.store(true, Ordering::Relaxed),
            Request::Produce(_) if fenced.load(Ordering::Relaxed) => of_script.get().unwrap().forget_producers(),
            _ => {}
        }
        Act::Serve
    });
    assert!(known.set(fake.clone()).is_ok());
    let rig = Rig::fake(&fake).await;
    let producer = rig.stalled.producer().build().await.unwrap();
    append(&producer, 0, &["a"]).await.unwrap();
    rig.stall.hold_answers();
    let first = producer.enqueue_within(record("b"), 2 * REQUEST_TIMEOUT).await.unwrap();
    let (appended, ()) = tokio::join!(append(&producer, 2, &["c"]), async {
        assert_eq!(first.await.unwrap_err().outcome(), Outcome::Unknown);
        rig.stall.pass_new();
    });
    assert_eq!(appended.unwrap_err().outcome(), Outcome::Unknown);
    assert_eq!(rig.values().await, ["a", "b", "c"]);
}

#[tokio::test]
async fn an_append_of_unknown_outcome_is_definite_after_a_flush() {
    for rig in Rig::both().await {
        let producer = rig.stalled.producer().delivery_timeout(2 * REQUEST_TIMEOUT).build().await.unwrap();
        append(&producer, 0, &["a"]).await.unwrap();
        rig.stall.hold_requests();
        assert_eq!(append(&producer, 1, &["late"]).await.unwrap_err().outcome(), Outcome::Unknown);
        rig.stall.pass_new();
        let definite = async { while producer.flush().await.is_err() {} };
        timeout(LONG, definite).await.expect("it is fenced in the end");
        assert_eq!(rig.values().await, ["a"]);
        rig.stall.release();
        sleep(REQUEST_TIMEOUT / 2).await;
        append(&producer, 1, &["b"]).await.unwrap();
        assert_eq!(rig.values().await, ["a", "b"]);
    }
}

#[tokio::test]
async fn an_append_is_whole_or_not_at_all() {
    let world = World::in_memory().await;
    let spec = TopicSpec::partitions(1).config("max.message.bytes", "2KiB").config("cleanup.policy", "compact");
    world.topic(TOPIC, spec).await;
    let producer = world.client.producer().build().await.unwrap();
    let keyed = |length: usize| Record::new(TOPIC).key("k").value(vec![b'x'; length]);
    let error = producer.append_at(TOPIC, 0, Offset::ZERO, [keyed(1_500), keyed(1_500)]).await.unwrap_err();
    assert!(matches!(&error, AppendAtError::Produce(cause) if cause.code() == Some(ErrorCode::TooLarge)), "{error}");
    let error = producer.append_at(TOPIC, 0, Offset::ZERO, [keyed(1), record("no key")]).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Refused, "{error}");
    let appended = producer.append_at(TOPIC, 0, Offset::ZERO, [keyed(1), keyed(2)]).await.unwrap();
    assert_eq!(appended.offsets, Offset::new(0)..Offset::new(2));
}

#[tokio::test]
async fn an_append_that_makes_no_sense_is_refused_at_once() {
    let rig = Rig::real().await;
    let producer = rig.client.producer().build().await.unwrap();
    assert!(matches!(append(&producer, 0, &[]).await, Err(AppendAtError::NoRecords)));
    for other in [Record::new("other"), Record::new(TOPIC).partition(1)] {
        let error = producer.append_at(TOPIC, 0, Offset::ZERO, [record("a"), other]).await.unwrap_err();
        assert!(matches!(error, AppendAtError::OtherPartition { index: 1 }), "{error}");
    }
    let error = producer.append_at(TOPIC, 7, Offset::ZERO, [record("a")]).await.unwrap_err();
    assert_eq!(error.to_string(), "topic events has 1 partition, counted from 0, and no partition 7");
    let hasty = rig.client.producer().acks(Acks::None).build().await.unwrap();
    assert!(matches!(append(&hasty, 0, &["a"]).await, Err(AppendAtError::NoAcks)));
    assert!(rig.values().await.is_empty());
    producer.close().await.unwrap();
    let AppendAtError::Produce(error) = append(&producer, 0, &["a"]).await.unwrap_err() else { panic!("closed") };
    assert_eq!(error.to_string(), "the producer is closed");
}
