//! Each record has a deadline of its own, from the call to the ack, whatever it waits for.
#![expect(clippy::disallowed_methods, reason = "a test measures how long a call takes")]

mod stalling;
mod support;

use futures_util::future::join_all;
use grower_client::{Ack, Client, Outcome, ProduceError, Producer, Record};
use stalling::Stall;
use std::time::Duration;
use support::{Act, FakeBroker, TOPIC};
use tokio::time::{Instant, sleep, sleep_until};

/// The most that a deadline may be late.
const LATE_MAX: Duration = Duration::from_millis(300);
const LIMIT: Duration = Duration::from_secs(10);

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A client whose broker can be stopped.
async fn client(fake: &FakeBroker, request_timeout: Duration) -> (Stall, Client) {
    let stall = Stall::new();
    let builder = Client::builder().transport(stall.transport(fake.connector())).bootstrap(["fake:1"]);
    let client = builder.request_timeout(request_timeout).connect_timeout(request_timeout).connect().await.unwrap();
    (stall, client)
}

/// A producer that has sent a record, and with a broker that has stopped since.
async fn stopped(fake: &FakeBroker) -> (Stall, Producer) {
    let (stall, client) = client(fake, seconds(2.0)).await;
    let producer = client.producer().delivery_timeout(LIMIT).build().await.unwrap();
    producer.send(record("known")).await.unwrap();
    stall.hold_requests();
    (stall, producer)
}

fn record(value: impl Into<String>) -> Record {
    Record::new(TOPIC).value(value.into())
}

/// Waits for an outcome; returns how long after `start` it came.
async fn timed<T>(start: Instant, sending: impl Future<Output = T>) -> (T, Duration) {
    let outcome = sending.await;
    (outcome, start.elapsed())
}

#[track_caller]
fn check_in_time(took: Duration, limit: Duration) {
    assert!(limit <= took && took <= limit + LATE_MAX, "{took:?} in place of {limit:?}");
}

fn outcome(result: &Result<Ack, ProduceError>) -> Option<Outcome> {
    result.as_ref().err().map(ProduceError::outcome)
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_only_the_records_whose_time_is_over_fail() {
    let fake = FakeBroker::new(|_| Act::Serve);
    let (stall, producer) = stopped(&fake).await;
    let start = Instant::now();
    let send = |number: u32| {
        let producer = producer.clone();
        async move {
            let handed_in = start + seconds(0.4) * number;
            sleep_until(handed_in).await;
            timed(handed_in, producer.send(record(number.to_string()))).await
        }
    };
    let outage = async {
        sleep_until(start + seconds(14.1)).await;
        stall.release();
    };
    let (outcomes, ()) = tokio::join!(join_all((0..30).map(send)), outage);
    for (number, (result, took)) in outcomes.iter().enumerate() {
        if number <= 10 {
            check_in_time(*took, LIMIT);
            let expected = if number == 0 { Outcome::Unknown } else { Outcome::Refused };
            assert_eq!(outcome(result), Some(expected), "{number}: {result:?}");
        } else {
            result.as_ref().unwrap_or_else(|error| panic!("{number}, {took:?}: {error}"));
        }
    }
    producer.flush().await.unwrap();
    let written = fake.values();
    let acked: Vec<String> = (11..30).map(|number: u32| number.to_string()).collect();
    assert!(written.ends_with(&acked), "{written:?}");
    assert!(written.iter().all(|value| value == "known" || value == "0" || acked.contains(value)), "{written:?}");
}

#[tokio::test(start_paused = true)]
async fn a_shorter_limit_is_kept_behind_records_with_a_longer_one() {
    let fake = FakeBroker::new(|_| Act::Serve);
    let (stall, producer) = stopped(&fake).await;
    let in_flight = producer.enqueue(record("in flight")).await.unwrap();
    let long = producer.enqueue(record("long")).await.unwrap();
    let start = Instant::now();
    let limits = [seconds(0.02), seconds(1.0), seconds(3.0)];
    let send = |limit| timed(start, producer.send_within(record("short"), limit));
    for ((result, took), limit) in join_all(limits.map(send)).await.iter().zip(limits) {
        check_in_time(*took, limit);
        assert_eq!(outcome(result), Some(Outcome::Refused), "{result:?}");
    }
    stall.release();
    in_flight.await.unwrap();
    long.await.unwrap();
    assert_eq!(fake.values(), ["known", "in flight", "long"]);
}

#[tokio::test(start_paused = true)]
async fn a_record_in_flight_expires_alone_and_its_batch_continues() {
    let fake = FakeBroker::new(|_| Act::Serve);
    let (stall, client) = client(&fake, seconds(2.0)).await;
    let producer = client.producer().linger(seconds(0.01)).delivery_timeout(LIMIT).build().await.unwrap();
    producer.send(record("known")).await.unwrap();
    stall.hold_requests();
    let start = Instant::now();
    let (short, long) = tokio::join!(timed(start, producer.send_within(record("short"), seconds(1.0))), async {
        let long = producer.enqueue(record("long")).await.unwrap();
        sleep(seconds(1.5)).await;
        stall.release();
        long.await
    });
    check_in_time(short.1, seconds(1.0));
    assert_eq!(outcome(&short.0), Some(Outcome::Unknown));
    assert_eq!(long.unwrap().offset.map(|offset| offset.value()), Some(2), "both are in one batch");
    assert_eq!(fake.values(), ["known", "short", "long"]);
}

#[tokio::test(start_paused = true)]
async fn the_first_record_of_a_topic_has_the_same_deadline() {
    let fake = FakeBroker::new(|_| Act::Serve);
    for (limit, outage) in [(3.0, 60.0), (120.0, 40.0)].map(|(limit, outage)| (seconds(limit), seconds(outage))) {
        let (stall, client) = client(&fake, seconds(30.0)).await;
        let producer = client.producer().delivery_timeout(limit).build().await.unwrap();
        stall.hold_requests();
        let start = Instant::now();
        let sending =
            async { tokio::join!(timed(start, producer.send(record("a"))), producer.send_all([record("b")])) };
        let (((one, took), all), ()) = tokio::join!(sending, async {
            sleep(outage).await;
            stall.release();
        });
        if limit < outage {
            check_in_time(took, limit);
            assert_eq!(outcome(&one), Some(Outcome::Refused), "{one:?}");
            assert_eq!(all.unwrap_err().failed()[0].error.outcome(), Outcome::Refused);
        } else {
            one.unwrap();
            all.unwrap();
            assert!(took < outage + seconds(3.0), "{took:?}");
        }
    }
    assert_eq!(fake.values().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_memory_ends_at_the_deadline_of_its_record() {
    let fake = FakeBroker::new(|_| Act::Serve);
    let (stall, client) = client(&fake, seconds(30.0)).await;
    let producer = client.producer().memory(5_000).delivery_timeout(LIMIT).build().await.unwrap();
    let large = || Record::new(TOPIC).value(vec![b'x'; 4_000]);
    producer.send(large()).await.unwrap();
    stall.hold_requests();
    let fills = producer.enqueue(large()).await.unwrap();
    let start = Instant::now();
    let (result, took) = timed(start, producer.send_within(large(), seconds(2.0))).await;
    check_in_time(took, seconds(2.0));
    assert_eq!(outcome(&result), Some(Outcome::Refused));
    // The first record expires at 10 s, but nothing may follow it before a fence.
    let (result, took) = timed(start, producer.send_within(large(), seconds(9.0))).await;
    check_in_time(took, seconds(11.0));
    assert_eq!(outcome(&result), Some(Outcome::Refused), "{result:?}");
    fills.await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_close_ends_within_the_latest_deadline_of_the_queued_records() {
    let fake = FakeBroker::new(|_| Act::Serve);
    let (_stall, producer) = stopped(&fake).await;
    let start = Instant::now();
    let brief = producer.enqueue_within(record("brief"), seconds(1.0)).await.unwrap();
    let longer = producer.enqueue_within(record("longer"), seconds(4.0)).await.unwrap();
    let (closed, took) = timed(start, producer.close()).await;
    check_in_time(took, seconds(4.0));
    assert_eq!(closed.unwrap_err().failed, 2);
    assert_eq!(
        (brief.await.unwrap_err().outcome(), longer.await.unwrap_err().outcome()),
        (Outcome::Unknown, Outcome::Unknown)
    );
}

#[tokio::test(start_paused = true)]
async fn withdrawn_records_release_their_memory() {
    let fake = FakeBroker::new(|_| Act::Serve);
    let (stall, client) = client(&fake, seconds(2.0)).await;
    let producer = client.producer().memory(100_000).delivery_timeout(seconds(60.0)).build().await.unwrap();
    producer.send(record("known")).await.unwrap();
    stall.hold_requests();
    let kept = producer.enqueue(record("kept")).await.unwrap();
    for _ in 0..20 {
        let filling =
            (0..6).map(|_| producer.enqueue_within(Record::new(TOPIC).value(vec![b'x'; 10_000]), seconds(1.0)));
        for delivery in join_all(filling).await {
            assert_eq!(delivery.unwrap().await.unwrap_err().outcome(), Outcome::Refused);
        }
    }
    stall.release();
    kept.await.unwrap();
    assert_eq!(fake.values(), ["known", "kept"]);
}
