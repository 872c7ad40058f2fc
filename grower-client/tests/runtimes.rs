//! A client that outlives a runtime, and callbacks that panic: errors at once, and never silence.

mod world;

use grower_client::ids::Offset;
use grower_client::{Client, ConsumeError, Consumer, OnGap, Outcome, ProduceError, Record, TopicSpec};
use grower_client::{Producer, StartFrom};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use world::{LONG, World};

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A client, a producer, a consumer and a member, each used once, on a runtime that has ended.
struct Survivors {
    client: Client,
    producer: Producer,
    consumer: Consumer,
    member: Consumer,
}

/// A broker on a runtime that stays.
fn broker() -> (Runtime, World) {
    let runtime = runtime();
    let world = runtime.block_on(async {
        let world = World::in_memory().await;
        world.topic("events", TopicSpec::partitions(1)).await;
        world
    });
    (runtime, world)
}

/// Uses a client of the broker on a runtime of its own, which then ends.
fn survive(stays: &Runtime, world: &World) -> Survivors {
    let ends = runtime();
    let survivors = ends.block_on(async {
        let (handle, connect) = (stays.handle().clone(), world.connector());
        let connect = move || {
            let _stays = handle.enter(); // The broker's end of a connection stays.
            connect()
        };
        let builder = Client::builder().transport(grower_client::transport::in_process(connect));
        let client = builder.bootstrap(["in process"]).connect().await.unwrap();
        let producer = client.producer().build().await.unwrap();
        producer.send(Record::new("events").value("0")).await.unwrap();
        let consumer = client.consumer().subscribe(["events"]).from(StartFrom::Beginning);
        let (mut consumer, mut member) =
            (consumer.clone().build().await.unwrap(), consumer.group("g").build().await.unwrap());
        consumer.next().await.unwrap().unwrap();
        member.next().await.unwrap().unwrap();
        Survivors { client, producer, consumer, member }
    });
    drop(ends);
    survivors
}

async fn at_once<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(2), work).await.expect("an answer at once")
}

#[test]
fn a_client_works_on_another_runtime_and_its_old_producers_and_consumers_say_that_theirs_has_ended() {
    let (stays, world) = broker();
    let Survivors { client, producer, mut consumer, mut member } = survive(&stays, &world);
    runtime().block_on(async {
        let error = at_once(producer.send(Record::new("events").value("1"))).await.unwrap_err();
        assert!(matches!(error, ProduceError::RuntimeEnded) && error.outcome() == Outcome::Refused, "{error}");
        let failed = at_once(producer.send_all([Record::new("events").value("1")])).await.unwrap_err();
        assert!(matches!(failed.failed()[0].error, ProduceError::RuntimeEnded), "{failed}");
        at_once(producer.flush()).await.unwrap();
        for old in [&mut consumer, &mut member] {
            for _ in 0..2 {
                let error = at_once(old.next()).await.unwrap().unwrap_err();
                assert!(matches!(error, ConsumeError::RuntimeEnded), "{error}");
            }
            let error = at_once(old.poll(LONG)).await.unwrap_err();
            assert!(matches!(error, ConsumeError::RuntimeEnded), "{error}");
        }
        at_once(member.close()).await.unwrap();
        at_once(client.admin().describe_topic("events", false)).await.unwrap();
        let producer = at_once(client.producer().build()).await.unwrap();
        let ack = at_once(producer.send(Record::new("events").value("1"))).await.unwrap();
        assert_eq!(ack.offset.unwrap().value(), 1);
        at_once(producer.close()).await.unwrap();
    });
    drop((client, producer, consumer, member)); // Outside of any runtime.
    stays.block_on(async { drop(world) });
}

#[test]
fn records_in_flight_fail_when_the_runtime_of_their_producer_ends() {
    let (stays, world) = broker();
    let ends = runtime();
    let deliveries = ends.block_on(async {
        let client = &world.client;
        let producer = client.producer().linger(LONG).build().await.unwrap();
        let mut deliveries = Vec::new();
        for _ in 0..10 {
            deliveries.push(producer.enqueue(Record::new("events").value("x")).await.unwrap());
        }
        (producer, deliveries)
    });
    drop(ends);
    runtime().block_on(async {
        for delivery in deliveries.1 {
            let error = at_once(delivery).await.unwrap_err();
            assert!(matches!(error, ProduceError::Dropped), "{error}");
        }
    });
    stays.block_on(async { drop(world) });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_rebalance_callback_is_an_error_for_the_reader() {
    let world = World::in_memory().await;
    let panics = |_| panic!("as scripted");
    let mut member =
        world.client.consumer().group("g").subscribe(["events"]).on_rebalance(panics).build().await.unwrap();
    world.topic("events", TopicSpec::partitions(1)).await;
    let error = timeout(LONG, member.next()).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, ConsumeError::Panicked), "{error}");
}

#[tokio::test]
async fn a_panic_in_a_gap_rule_reaches_the_reader_and_reading_continues() {
    use futures_util::FutureExt;
    let world = World::in_memory().await;
    world.topic("events", TopicSpec::partitions(1)).await;
    world.produce("events", world::numbered(0..3)).await;
    let rules = Arc::new(AtomicUsize::new(0));
    let counted = rules.clone();
    let consumer = world.client.consumer().subscribe(["events"]).from(StartFrom::Beginning).on_gap(move |gap| {
        assert_ne!(counted.fetch_add(1, Ordering::Relaxed), 0, "as scripted: {:?}", gap.cause);
        OnGap::Continue
    });
    world.client.admin().trim_topic("events", [(0, Offset::new(2))]).await.unwrap();
    let mut consumer = consumer.build().await.unwrap();
    consumer.seek("events", 0, Offset::ZERO).unwrap();
    let panicked = AssertUnwindSafe(timeout(LONG, consumer.next())).catch_unwind().await;
    assert!(panicked.is_err(), "the rule panics in the reader's own call");
    let record = timeout(LONG, consumer.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((record.offset.value(), rules.load(Ordering::Relaxed)), (2, 1));
}
