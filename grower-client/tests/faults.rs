//! Faults of brokers and networks, and the client's reaction.

mod support;

use grower_client::ids::Offset;
use grower_client::{
    ConnectError, ConnectionError, ConsumeError, Delivery, ErrorCode, OnDamage, Outcome, ProduceError, Producer,
    Record, RequestError,
};
use grower_protocol::message::{Request, Response};
use grower_protocol::wire::{Correlation, Preface};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use support::{Act, FakeBroker, TOPIC, encode};

fn is_produce(request: &Request) -> bool {
    matches!(request, Request::Produce(_))
}

#[tokio::test]
async fn a_request_is_not_sent_to_a_broker_that_lacks_it() {
    let cuts_new = |request: &Request| if *request == Request::DescribeGroupMemory { Act::Cut } else { Act::Serve };
    let fake = FakeBroker::new(cuts_new).without("group-memory");
    let error = fake.client().await.admin().describe_group_memory().await.unwrap_err();
    assert_eq!(error.to_string(), "the broker at fake:1 (0) does not support \"group-memory\": upgrade the broker");
    assert!(!error.is_retriable());
}

fn is_list(request: &Request) -> bool {
    matches!(request, Request::ListGroups { .. })
}

/// Queues `count` records, three per batch, after a first one that makes the producer known.
async fn enqueue(producer: &Producer, count: u64) -> Vec<Delivery> {
    producer.send(Record::new(TOPIC).value("0")).await.unwrap();
    let mut deliveries = Vec::new();
    for number in 1..=count {
        deliveries.push(producer.enqueue(Record::new(TOPIC).value(number.to_string())).await.unwrap());
    }
    deliveries
}

/// Checks that each record was acknowledged at its offset and is in the log once.
async fn check(fake: &FakeBroker, deliveries: Vec<Delivery>) {
    let count = deliveries.len() as u64;
    for (delivery, number) in deliveries.into_iter().zip(1..) {
        assert_eq!(delivery.await.unwrap().offset, Some(Offset::new(number)));
    }
    assert_eq!(fake.values(), (0..=count).map(|number| number.to_string()).collect::<Vec<_>>());
}

/// Produces despite faults; the first batch passes.
async fn survives(faults: impl IntoIterator<Item = Act>) {
    let fake = FakeBroker::failing(is_produce, [Act::Serve].into_iter().chain(faults));
    let producer = fake.client().await.producer().batch_records(3).build().await.unwrap();
    let deliveries = enqueue(&producer, 40).await;
    check(&fake, deliveries).await;
}

#[tokio::test]
async fn a_cut_between_append_and_answer_writes_nothing_twice() {
    survives([Act::ServeAndCut, Act::Serve, Act::ServeAndCut, Act::Cut]).await;
}

#[tokio::test]
async fn a_lost_answer_writes_nothing_twice() {
    survives([Act::Serve, Act::Silence]).await;
}

#[tokio::test]
async fn answers_out_of_order_find_their_requests() {
    survives([Act::AnswerLate, Act::Serve, Act::AnswerLate]).await;
}

#[tokio::test]
async fn a_retriable_refusal_reorders_nothing() {
    let code = Act::Refuse;
    survives([
        code(ErrorCode::NotLeader),
        Act::Serve,
        Act::Serve,
        code(ErrorCode::DiskFull),
        code(ErrorCode::NotReady),
    ])
    .await;
}

#[tokio::test]
async fn an_unreadable_answer_costs_only_its_connection() {
    let huge = u32::MAX.to_be_bytes().to_vec();
    let unasked = encode(Correlation(4_000_000), &Response::Done, &[]);
    survives([Act::Bytes(vec![0xff; 40]), Act::Serve, Act::Bytes(huge), Act::Bytes(unasked)]).await;
}

#[tokio::test]
async fn a_definite_refusal_fails_only_its_own_records() {
    let fake = FakeBroker::failing(is_produce, [Act::Serve, Act::Serve, Act::Refuse(ErrorCode::NotAllowed)]);
    let producer = fake.client().await.producer().batch_records(3).build().await.unwrap();
    let mut failed = Vec::new();
    for (delivery, number) in enqueue(&producer, 30).await.into_iter().zip(1u64..) {
        if let Err(error) = delivery.await {
            assert_eq!((error.code(), error.outcome()), (Some(ErrorCode::NotAllowed), Outcome::Refused));
            failed.push(number.to_string());
        }
    }
    assert_eq!(failed.len(), 3);
    let rest = (0..=30).map(|number| number.to_string()).filter(|value| !failed.contains(value));
    assert_eq!(fake.values(), rest.collect::<Vec<_>>());
}

/// Sends `count` records from each of `producers` producers of one client, one at a time; each record must be in the
/// log once.
async fn one_at_a_time(fake: &FakeBroker, producers: usize, count: usize) {
    let client = fake.client().await;
    let mut sending = tokio::task::JoinSet::new();
    for who in 0..producers {
        let producer = client.producer().build().await.unwrap();
        sending.spawn(async move {
            for number in 0..count {
                producer.send(Record::new(TOPIC).value(format!("{who}/{number}"))).await.unwrap();
            }
        });
    }
    sending.join_all().await;
    let values = fake.values();
    assert_eq!(values.len(), producers * count);
    for who in 0..producers {
        let sent = (0..count).map(|number| format!("{who}/{number}"));
        let prefix = format!("{who}/");
        assert!(sent.eq(values.iter().filter(|value| value.starts_with(&prefix)).cloned()), "{values:?}");
    }
}

#[tokio::test]
async fn losing_the_shared_connection_loses_no_record() {
    let refused = Act::Refuse(ErrorCode::NotLeader);
    let faults = [Act::ServeAndCut, Act::Cut, refused, Act::Silence, Act::Bytes(vec![0xff; 40]), Act::ServeAndCut];
    let spaced = faults.into_iter().flat_map(|fault| std::iter::repeat_n(Act::Serve, 30).chain([fault]));
    one_at_a_time(&FakeBroker::failing(is_produce, spaced), 20, 20).await;
}

/// Runs on one thread, which runs the task woken last first: the first request must not leave before the others are
/// queued. Otherwise there are as many writes as records.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn records_acknowledged_together_are_sent_together() {
    let fake = FakeBroker::new(|_| Act::Serve);
    one_at_a_time(&fake, 50, 40).await;
    assert!(fake.writes() < 1_000, "{} writes for 2,000 records", fake.writes());
}

/// An idle connection checks no deadlines; the next request must start the checks again.
#[tokio::test]
async fn an_answer_lost_after_an_idle_period_times_out() {
    let produced = AtomicU32::new(0);
    let fake =
        FakeBroker::new(move |request| match is_produce(request) && produced.fetch_add(1, Ordering::Relaxed) == 1 {
            true => Act::Silence,
            false => Act::Serve,
        });
    let producer = fake.client().await.producer().build().await.unwrap();
    producer.send(Record::new(TOPIC).value("0")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    let sent = producer.send(Record::new(TOPIC).value("1"));
    tokio::time::timeout(Duration::from_secs(20), sent).await.expect("the connection is given up").unwrap();
    assert_eq!(fake.values(), ["0", "1"]);
}

#[tokio::test]
async fn a_single_too_large_record_does_not_shrink_later_batches() {
    let is_too_large = |request: &Request| matches!(request, Request::Produce(p) if 20_000 < p.partitions[0].length);
    let fake = FakeBroker::new(
        move |request| if is_too_large(request) { Act::Refuse(ErrorCode::TooLarge) } else { Act::Serve },
    );
    let producer = fake.client().await.producer().linger(Duration::from_secs(60)).build().await.unwrap();
    let enqueue = async |lengths: &[usize]| {
        for length in lengths {
            drop(producer.enqueue(Record::new(TOPIC).value("x".repeat(*length))).await.unwrap());
        }
        producer.flush().await
    };
    assert_eq!(enqueue(&[9, 9, 9, 20_500, 9]).await.unwrap_err().first.code(), Some(ErrorCode::TooLarge));
    assert_eq!(fake.values().len(), 4);
    enqueue(&[500; 30]).await.unwrap();
    assert_eq!(fake.batch_sizes().last(), Some(&30));
}

#[tokio::test]
async fn a_single_record_of_a_forgotten_producer_is_written_at_once() {
    let fake = FakeBroker::failing(is_produce, [Act::Serve, Act::Refuse(ErrorCode::OutOfOrderSequence)]);
    let producer = fake.client().await.producer().metadata_max_age(Duration::from_secs(3600)).build().await.unwrap();
    producer.send(Record::new(TOPIC).value("0")).await.unwrap();
    let sending = producer.send(Record::new(TOPIC).value("1"));
    tokio::time::timeout(Duration::from_secs(10), sending).await.expect("nothing else wakes it").unwrap();
    assert_eq!(fake.values(), ["0", "1"]);
}

#[tokio::test]
async fn a_record_without_any_answer_may_have_been_written() {
    let fake = FakeBroker::new(|request| if is_produce(request) { Act::Silence } else { Act::Serve });
    let builder = fake.client().await.producer().delivery_timeout(Duration::from_millis(500));
    let error = builder.build().await.unwrap().send(Record::new(TOPIC).value("0")).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert!(matches!(error, ProduceError::TimedOut { in_doubt: true, .. }), "{error}");
    assert_eq!(fake.values(), ["0"]);
}

#[tokio::test]
async fn a_record_refused_until_its_timeout_was_not_written() {
    let fake =
        FakeBroker::new(|request| if is_produce(request) { Act::Refuse(ErrorCode::DiskFull) } else { Act::Serve });
    let builder = fake.client().await.producer().delivery_timeout(Duration::from_millis(200));
    let error = builder.build().await.unwrap().send(Record::new(TOPIC).value("0")).await.unwrap_err();
    assert_eq!((error.code(), error.outcome()), (Some(ErrorCode::DiskFull), Outcome::Refused));
    insta::assert_snapshot!(error, @"events/0: not acknowledged within 200ms (as scripted); it was not written");
}

#[tokio::test]
async fn dropping_a_producer_ends_all_waits() {
    let fake = FakeBroker::new(|request| if is_produce(request) { Act::Silence } else { Act::Serve });
    let producer = fake.client().await.producer().build().await.unwrap();
    let delivery = producer.enqueue(Record::new(TOPIC).value("0")).await.unwrap();
    drop(producer);
    assert!(matches!(delivery.await, Err(ProduceError::Dropped)));
}

#[tokio::test]
async fn a_slow_answer_delays_no_other() {
    let fake = FakeBroker::failing(is_list, [Act::AnswerLate]);
    let admin = fake.client().await.admin();
    let (groups, metadata) = tokio::join!(admin.list_groups(9), admin.metadata());
    assert!(groups.unwrap().is_empty() && metadata.is_ok());
}

#[tokio::test]
async fn an_error_names_the_address_and_the_cause() {
    let fake = FakeBroker::failing(|request| matches!(request, Request::CreateTopics { .. }), [Act::Cut]);
    let admin = fake.client().await.admin();
    let error = admin.create_topic("t", grower_client::TopicSpec::default()).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown);
    insta::assert_snapshot!(error, @"fake:1 closed the connection; the request may have been carried out");
    let damaged = FakeBroker::failing(is_list, std::iter::repeat_n(Act::Bytes(vec![0xff; 9]), 99));
    let error = damaged.client().await.admin().list_groups(9).await.unwrap_err();
    let grower_client::AdminError::Request(RequestError::Lost(cause)) = error else { panic!("{error}") };
    assert!(matches!(cause, ConnectionError::Frame { .. }), "{cause}");
    insta::assert_snapshot!(cause, @"fake:1 sent an unreadable frame: a frame of 4294967295 bytes is over the limit of 134217728 (frame.bytes.max)");
}

#[tokio::test]
async fn a_broker_without_a_common_version_is_a_typed_error() {
    let speaking = async |preface| {
        let fake = FakeBroker::new(|_| Act::Serve).speaking(preface);
        fake.try_client().await.map(drop).unwrap_err()
    };
    let error = speaking(Preface { highest: 9, lowest: 8 }).await;
    assert!(matches!(error, ConnectError::NoCommonVersion { upgrade_client: true, .. }), "{error}");
    assert!(!error.is_retriable());
    let error = speaking(Preface { highest: 0, lowest: 0 }).await;
    assert!(matches!(error, ConnectError::NoCommonVersion { upgrade_client: false, .. }), "{error}");
}

#[tokio::test]
async fn damage_is_reported_with_its_offsets_and_can_be_skipped() {
    let fake = FakeBroker::new(|_| Act::Serve);
    let client = fake.client().await;
    let producer = client.producer().batch_records(3).build().await.unwrap();
    for delivery in enqueue(&producer, 9).await {
        delivery.await.unwrap();
    }
    fake.damage(2);
    let damaged = damaged_range(&fake);
    let sound = |value: &String| !damaged.contains(&value.parse().unwrap());

    let reading = client.consumer().assign([(TOPIC, 0)]);
    let mut consumer = reading.clone().build().await.unwrap();
    for number in 0..damaged.start {
        assert_eq!(consumer.next().await.unwrap().unwrap().offset.value(), number);
    }
    let error = consumer.next().await.unwrap().unwrap_err();
    let ConsumeError::Damaged { offsets, .. } = &error else { panic!("{error}") };
    assert_eq!(offsets.start.value()..offsets.end.value(), damaged);

    let mut consumer = reading.on_damage(OnDamage::Skip).build().await.unwrap();
    for value in fake.values().iter().filter(|value| sound(value)) {
        assert_eq!(consumer.next().await.unwrap().unwrap().offset.value().to_string(), *value);
    }
}

/// Returns the offsets of the third batch.
fn damaged_range(fake: &FakeBroker) -> std::ops::Range<u64> {
    let sizes = fake.batch_sizes();
    let start: u64 = sizes[..2].iter().sum();
    start..start + sizes[2]
}

#[tokio::test]
async fn a_reader_misses_and_repeats_nothing_despite_faults() {
    let refused = Act::Refuse;
    let faults = [
        Act::Serve,
        Act::Cut,
        Act::ServeAndCut,
        Act::Silence,
        Act::Bytes(vec![0xff; 40]),
        refused(ErrorCode::NotLeader),
        refused(ErrorCode::FencedLeaderEpoch),
    ];
    let fake = FakeBroker::failing(|request| matches!(request, Request::FetchSession(_)), faults);
    let client = fake.client().await;
    let reading = client.consumer().assign([(TOPIC, 0)]).fetch_max_wait(Duration::from_millis(50));
    let mut consumer = reading.build().await.unwrap();
    let producer = client.producer().build().await.unwrap();
    for number in 0..40u64 {
        producer.send(Record::new(TOPIC).value(number.to_string())).await.unwrap();
        assert_eq!(consumer.next().await.unwrap().unwrap().offset, Offset::new(number));
    }
}

#[tokio::test]
async fn a_dropped_consumer_closes_its_connections_despite_unanswered_requests() {
    let fetches = std::sync::Arc::new(AtomicU32::new(0));
    let counted = fetches.clone();
    let fake = FakeBroker::new(move |request| match request {
        Request::FetchSession(_) => {
            counted.fetch_add(1, Ordering::Relaxed);
            Act::Silence
        }
        _ => Act::Serve,
    });
    let producer = fake.client().await.producer().build().await.unwrap();
    producer.send(Record::new(TOPIC).value("0")).await.unwrap();
    drop(producer);
    let client = fake.client_with_patience(Duration::from_secs(3600)).await.unwrap();
    let consumer = client.consumer().subscribe([TOPIC]).build().await.unwrap();
    let until = async |reached: &dyn Fn() -> bool| {
        while !reached() {
            tokio::task::yield_now().await;
        }
    };
    let story = async {
        until(&|| 0 < fetches.load(Ordering::Relaxed)).await;
        until(&|| fake.connections() == 2).await; // Those of the client and the consumer.
        drop(consumer);
        until(&|| fake.connections() == 1).await;
    };
    tokio::time::timeout(Duration::from_secs(20), story).await.expect("the unanswered fetch keeps no connection open");
}
