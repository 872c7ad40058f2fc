//! After an unknown outcome nothing later is written before the broker has fenced the earlier batches.

mod stalling;
mod support;

use grower_client::{Client, ErrorCode, Outcome, Producer, Record};
use grower_protocol::message::Request;
use stalling::Stall;
use std::time::Duration;
use support::{Act, FakeBroker, TOPIC};
use tokio::time::{sleep, timeout};

const REQUEST_TIMEOUT: Duration = Duration::from_millis(250);
const DELIVERY_TIMEOUT: Duration = Duration::from_millis(750);
const LONG: Duration = Duration::from_secs(20);

async fn stalled(fake: &FakeBroker) -> (Stall, Producer) {
    let stall = Stall::new();
    let builder = Client::builder().transport(stall.transport(fake.connector())).bootstrap(["fake:1"]);
    let builder = builder.request_timeout(REQUEST_TIMEOUT).connect_timeout(REQUEST_TIMEOUT);
    let producer =
        builder.connect().await.unwrap().producer().delivery_timeout(DELIVERY_TIMEOUT).build().await.unwrap();
    producer.send(record("0")).await.unwrap();
    (stall, producer)
}

fn record(value: &str) -> Record {
    Record::new(TOPIC).value(value.to_owned())
}

#[tokio::test]
async fn a_record_in_doubt_is_never_behind_a_later_acknowledged_one() {
    for (hold_answers, pass_new) in [(false, false), (false, true), (true, true)] {
        let fake = FakeBroker::new(|_| Act::Serve);
        let (stall, producer) = stalled(&fake).await;
        if hold_answers {
            stall.hold_answers();
        } else {
            stall.hold_requests();
        }
        let error = producer.send(record("A")).await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown);
        let later = producer.enqueue(record("B")).await.unwrap();
        sleep(DELIVERY_TIMEOUT / 3).await;
        if pass_new {
            stall.pass_new()
        } else {
            stall.release()
        }
        let acked = timeout(LONG, later).await.expect("it ends").unwrap();
        stall.release();
        sleep(REQUEST_TIMEOUT).await; // All that was held has arrived.
        let values = fake.values();
        let at = |value: &str| values.iter().position(|logged| logged == value);
        assert_eq!(at("B").map(|at| at as u64), acked.offset.map(|offset| offset.value()), "{values:?}");
        assert!(at("A") < at("B"), "{values:?}");
        assert!(!pass_new || at("A").is_some() == hold_answers, "{values:?}");
    }
}

#[tokio::test]
async fn after_a_flush_a_record_in_doubt_is_in_the_log_or_never_will_be() {
    let fake = FakeBroker::new(|_| Act::Serve);
    let (stall, producer) = stalled(&fake).await;
    stall.hold_requests();
    assert_eq!(producer.send(record("A")).await.unwrap_err().outcome(), Outcome::Unknown);
    let error = timeout(LONG, producer.flush()).await.expect("its patience ends").unwrap_err();
    assert_eq!(error.first.outcome(), Outcome::Unknown, "the stall lasts: {error}");
    stall.pass_new();
    timeout(LONG, producer.flush()).await.expect("it ends").unwrap();
    assert_eq!(fake.values(), ["0"]);
    stall.release();
    sleep(REQUEST_TIMEOUT).await;
    assert_eq!(fake.values(), ["0"]);
}

#[tokio::test]
async fn a_lost_answer_to_a_fence_changes_nothing() {
    let is_fence = |request: &Request| matches!(request, Request::FenceProducer(_));
    for fault in [Act::Silence, Act::ServeAndCut, Act::Cut, Act::Refuse(ErrorCode::NotReady)] {
        let fake = FakeBroker::failing(is_fence, [fault.clone(), fault.clone()]);
        let (stall, producer) = stalled(&fake).await;
        stall.hold_requests();
        producer.send(record("A")).await.unwrap_err();
        stall.release();
        let fenced = async { while producer.flush().await.is_err() {} };
        timeout(LONG, fenced).await.expect("it is fenced in the end");
        producer.send(record("B")).await.unwrap();
        let values = fake.values();
        assert!(values == ["0", "A", "B"] || values == ["0", "B"], "{fault:?}: {values:?}");
    }
}

#[tokio::test]
async fn a_broker_without_fences_gives_a_new_producer_id() {
    for faults in [None, Some(Act::Refuse(ErrorCode::Unsupported)), Some(Act::Refuse(ErrorCode::FencedProducer))] {
        let is_fence = |request: &Request| matches!(request, Request::FenceProducer(_));
        let fake = FakeBroker::failing(is_fence, faults.clone());
        let fake = if faults.is_none() { fake.without("producer-fences") } else { fake };
        let (stall, producer) = stalled(&fake).await;
        stall.hold_requests();
        producer.send(record("A")).await.unwrap_err();
        stall.pass_new();
        timeout(LONG, producer.send(record("B"))).await.expect("it ends").unwrap();
        assert_eq!(fake.values(), ["0", "B"]);
    }
}

#[tokio::test]
async fn a_dropped_producer_ends_its_fence_and_a_close_waits_for_none() {
    let fake = FakeBroker::new(|_| Act::Serve);
    let (stall, producer) = stalled(&fake).await;
    stall.hold_requests();
    producer.send(record("A")).await.unwrap_err();
    timeout(DELIVERY_TIMEOUT / 2, producer.close()).await.expect("no record is queued").unwrap();
    timeout(DELIVERY_TIMEOUT / 2, producer.flush()).await.expect("nothing is left to wait for").unwrap();
}
