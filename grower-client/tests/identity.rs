//! A named producer: one holder at a time, and sequences that continue over holders.

mod rig;
mod stalling;
mod support;
mod world;

use grower_client::ids::PartitionId;
use grower_client::{Acks, Client, ErrorCode, Outcome, ProduceError, Producer};
use grower_protocol::message::Request;
use rig::{REQUEST_TIMEOUT, Rig, record};
use std::sync::{Arc, Mutex};
use support::{Act, FakeBroker, TOPIC};
use tokio::time::{sleep, timeout};
use world::LONG;

const PARTITION: PartitionId = PartitionId::new(0);

async fn holder(client: &Client) -> Producer {
    client.producer().identity("shipper").delivery_timeout(3 * REQUEST_TIMEOUT).build().await.unwrap()
}

/// The number of rows that earlier holders have written.
async fn rows_written(producer: &Producer) -> u32 {
    let last = producer.last_written(TOPIC, PARTITION).await.unwrap();
    last.map_or(0, |last| last.sequence.to_wire().cast_unsigned() + 1)
}

#[tokio::test]
async fn a_successor_resumes_exactly_where_a_stalled_predecessor_stopped() {
    let cases =
        Rig::both().await.into_iter().zip([true, true]).chain(Rig::both().await.into_iter().zip([false, false]));
    for (rig, lands_before) in cases {
        let stall = &rig.stall;
        let old = holder(&rig.stalled).await;
        for row in 0..3 {
            old.send(record(row)).await.unwrap();
        }
        stall.hold_requests();
        let zombie = old.enqueue(record(3)).await.unwrap();
        sleep(REQUEST_TIMEOUT / 2).await; // It waits in the stalled connection.
        if lands_before {
            stall.release();
            sleep(REQUEST_TIMEOUT / 2).await;
        }
        let new = holder(&rig.client).await;
        let next_row = rows_written(&new).await;
        assert_eq!(next_row, if lands_before { 4 } else { 3 });
        for row in next_row..6 {
            new.send(record(row)).await.unwrap();
        }
        stall.release();
        match timeout(LONG, zombie).await.expect("it ends") {
            Ok(_) => assert!(lands_before),
            Err(error) => assert!(!lands_before && matches!(error, ProduceError::Fenced { .. }), "{error}"),
        }
        let error = timeout(LONG, old.send(record("too late"))).await.expect("it ends").unwrap_err();
        assert!(matches!(error, ProduceError::Fenced { .. }), "{error}");
        assert_eq!((error.outcome(), error.code()), (Outcome::Refused, Some(ErrorCode::FencedProducer)));
        assert_eq!(rig.values().await, ["0", "1", "2", "3", "4", "5"]);
        assert_eq!(rows_written(&new).await, next_row, "it tells of earlier holders");
    }
}

#[tokio::test]
async fn two_holders_that_claim_in_turn_get_a_clear_answer_and_double_nothing() {
    for rig in Rig::both().await {
        claim_in_turn(rig).await;
    }
}

async fn claim_in_turn(rig: Rig) {
    let client = &rig.client;
    let mut written = Vec::new();
    let mut producer = holder(client).await;
    for round in 0..10 {
        producer.send(record(format!("a{round}"))).await.unwrap();
        let in_flight = producer.enqueue(record(format!("b{round}"))).await.unwrap();
        let next = holder(client).await;
        next.send(record(format!("c{round}"))).await.unwrap();
        written.push(format!("a{round}"));
        match timeout(LONG, in_flight).await.expect("it ends") {
            Ok(_) => written.push(format!("b{round}")),
            Err(error) => assert!(matches!(error, ProduceError::Fenced { .. }), "{error}"),
        }
        written.push(format!("c{round}"));
        let late = timeout(LONG, producer.send_all((0..300).map(|_| record("late")))).await.expect("it ends");
        assert!(late.unwrap_err().failures().all(|(_, error)| matches!(error, ProduceError::Fenced { .. })));
        timeout(LONG, producer.flush()).await.expect("nothing hangs").unwrap();
        producer = next;
    }
    assert_eq!(rig.values().await, written);
}

#[tokio::test]
async fn a_claim_whose_answer_is_lost_does_not_fence_its_own_producer() {
    let is_claim = |request: &Request| matches!(request, Request::InitProducer(_));
    let fake = FakeBroker::failing(is_claim, [Act::ServeAndCut, Act::ServeAndCut]);
    let producer = holder(&fake.client().await).await;
    for row in 0..3 {
        producer.send(record(row)).await.unwrap();
    }
    assert_eq!(fake.values(), ["0", "1", "2"]);
}

#[tokio::test]
async fn a_claim_that_was_never_answered_does_not_fence_the_next_producer() {
    let holders = Arc::new(Mutex::new(Vec::new()));
    let seen = holders.clone();
    let fake = FakeBroker::new(move |request| match request {
        Request::InitProducer(init) => {
            let mut holders = seen.lock().unwrap();
            holders.push(init.holder);
            if holders.len() == 1 { Act::Silence } else { Act::Serve }
        }
        _ => Act::Serve,
    });
    let rig = Rig::fake(&fake).await;
    let build = || rig.stalled.producer().identity("shipper").build();
    assert!(build().await.is_err());
    build().await.unwrap().send(record(0)).await.unwrap();
    build().await.unwrap().send(record(1)).await.unwrap();
    let holders = holders.lock().unwrap();
    assert_eq!((holders[0], holders.len()), (holders[1], 3), "a late copy of the first claim is a repetition");
    assert_ne!(holders[1], holders[2], "an answered claim is not repeated");
}

#[tokio::test]
async fn a_named_producer_survives_its_own_doubt() {
    let is_renewal = |request: &Request| matches!(request, Request::InitProducer(init) if init.current.is_some());
    for fault in [Act::Serve, Act::Silence, Act::ServeAndCut, Act::Cut, Act::Refuse(ErrorCode::NotReady)] {
        println!("{fault:?}");
        let fake = FakeBroker::failing(is_renewal, [fault.clone(), fault]);
        doubt(Rig::fake(&fake).await).await;
    }
    doubt(Rig::real().await).await;
}

async fn doubt(rig: Rig) {
    let producer = holder(&rig.stalled).await;
    producer.send(record(0)).await.unwrap();
    rig.stall.hold_requests();
    assert_eq!(producer.send(record("A")).await.unwrap_err().outcome(), Outcome::Unknown);
    rig.stall.pass_new();
    let definite = async { while producer.flush().await.is_err() {} };
    timeout(LONG, definite).await.expect("it is fenced in the end");
    producer.send(record(1)).await.unwrap();
    rig.stall.release();
    sleep(REQUEST_TIMEOUT / 2).await;
    assert_eq!(rig.values().await, ["0", "1"]);
}

#[tokio::test]
async fn a_fence_acknowledges_records_that_are_in_the_log_behind_one_that_timed_out() {
    for (rig, name) in Rig::both().await.into_iter().chain(Rig::both().await).zip([None, None, Some("n"), Some("n")]) {
        let builder = rig.stalled.producer().batch_records(1);
        let builder = if let Some(name) = name { builder.identity(name) } else { builder };
        let producer = builder.build().await.unwrap();
        producer.send(record(0)).await.unwrap();
        rig.stall.hold_answers();
        let first = producer.enqueue_within(record(1), 2 * REQUEST_TIMEOUT).await.unwrap();
        let second = producer.enqueue_within(record(2), LONG).await.unwrap();
        assert_eq!(first.await.unwrap_err().outcome(), Outcome::Unknown);
        rig.stall.pass_new();
        let third = producer.enqueue(record(3)).await.unwrap();
        assert_eq!(timeout(LONG, second).await.expect("it ends").unwrap().offset.unwrap().value(), 2);
        assert_eq!(timeout(LONG, third).await.expect("it ends").unwrap().offset.unwrap().value(), 3);
        assert_eq!(rig.values().await, ["0", "1", "2", "3"]);
    }
}

#[tokio::test]
async fn a_name_that_another_process_had_meanwhile_is_lost() {
    let fake = FakeBroker::new(|_| Act::Serve);
    let producer = holder(&fake.client().await).await;
    producer.send(record(0)).await.unwrap();
    fake.return_names();
    let error = timeout(LONG, producer.send(record(1))).await.expect("it ends").unwrap_err();
    assert!(matches!(error, ProduceError::Fenced { .. }), "{error}");
    assert_eq!(fake.values(), ["0"]);
}

#[tokio::test]
async fn records_in_flight_at_the_loss_of_the_name_have_exact_outcomes() {
    for rig in Rig::both().await {
        lose_the_name(rig).await;
    }
}

async fn lose_the_name(rig: Rig) {
    let (old, stall) = (holder(&rig.stalled).await, &rig.stall);
    old.send(record(0)).await.unwrap();
    stall.hold_answers();
    let in_log = old.enqueue(record(1)).await.unwrap();
    sleep(REQUEST_TIMEOUT / 2).await;
    let behind = old.enqueue(record(2)).await.unwrap();
    let new = holder(&rig.client).await;
    assert_eq!(rows_written(&new).await, 2);
    sleep(REQUEST_TIMEOUT).await; // The connection is given up.
    stall.release();
    let outcome = |result: Result<_, ProduceError>| result.map(drop).map_err(|error| error.outcome());
    let first = outcome(timeout(LONG, in_log).await.expect("it ends"));
    assert!(matches!(first, Ok(()) | Err(Outcome::Unknown)), "it is in the log: {first:?}");
    outcome(timeout(LONG, behind).await.expect("it ends")).expect_err("it was never written");
    assert_eq!(rig.values().await, ["0", "1"]);
}

#[tokio::test]
async fn an_identity_without_acks_or_with_a_bad_name_is_refused_at_once() {
    let client = FakeBroker::new(|_| Act::Serve).client().await;
    let without_acks = client.producer().identity("shipper").acks(Acks::None).build().await.map(drop).unwrap_err();
    insta::assert_snapshot!(without_acks, @"cannot start a producer: with acks none a producer has no identity");
    for name in ["", "a\nb", &"x".repeat(64 << 10)] {
        let error = client.producer().identity(name).build().await.map(drop).unwrap_err();
        assert!(matches!(error, ProduceError::Name(_)), "{error}");
    }
}

#[tokio::test]
async fn a_producer_without_an_identity_has_no_predecessor() {
    let fake = FakeBroker::new(|_| Act::Serve);
    let producer = fake.client().await.producer().build().await.unwrap();
    producer.send(record(0)).await.unwrap();
    assert_eq!(producer.last_written(TOPIC, PARTITION).await.unwrap(), None);
}

#[tokio::test]
async fn a_broker_without_named_producers_is_a_typed_error() {
    for feature in ["named-producers", "producer-fences"] {
        let fake = FakeBroker::new(|_| Act::Serve).without(feature);
        let error = fake.client().await.producer().identity("shipper").build().await.map(drop).unwrap_err();
        assert!(error.to_string().contains(feature), "{error}");
    }
}
