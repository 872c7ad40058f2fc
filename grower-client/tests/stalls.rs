//! A broker that stalls: what the producer promises for longer stalls than each of its timeouts.

mod stalling;
mod world;

use grower_client::{Client, ClientBuilder, Outcome, Record, StartFrom, TopicSpec};
use stalling::Stall;
use std::time::Duration;
use world::{LONG, World};

const TIMEOUT: Duration = Duration::from_millis(100);
const DEADLINE: Duration = Duration::from_millis(400);

/// A broker with a topic of one partition, and a client that reaches it through a stall.
async fn stalled_world() -> (World, Stall, Client) {
    let (world, stall) = (World::in_memory().await, Stall::new());
    world.topic("events", TopicSpec::partitions(1)).await;
    let client = builder(&world, &stall).connect().await.unwrap();
    (world, stall, client)
}

fn builder(world: &World, stall: &Stall) -> ClientBuilder {
    let builder = Client::builder().transport(stall.transport(world.connector())).bootstrap(["through the stall"]);
    builder.request_timeout(TIMEOUT).connect_timeout(TIMEOUT)
}

/// The values of the log up to its end.
async fn log(world: &World) -> Vec<String> {
    let mut consumer = world.client.consumer().subscribe(["events"]).from(StartFrom::Beginning).build().await.unwrap();
    let mut values = Vec::new();
    loop {
        let records = consumer.poll(Duration::from_millis(100)).await.unwrap();
        if records.is_empty() {
            return values;
        }
        values.extend(records.into_iter().map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
    }
}

fn record(value: impl ToString) -> Record {
    Record::new("events").key("k").value(value.to_string())
}

#[tokio::test]
async fn a_stall_between_timeout_and_deadline_costs_no_record_and_doubles_none() {
    for (requests, pass_new) in [(true, false), (true, true), (false, false), (false, true)] {
        let (world, stall, client) = stalled_world().await;
        let producer = client.producer().batch_records(3).delivery_timeout(LONG).build().await.unwrap();
        producer.send(record(0)).await.unwrap();
        if requests {
            stall.hold_requests()
        } else {
            stall.hold_answers()
        }
        let mut deliveries = Vec::new();
        for number in 1..=20 {
            deliveries.push(producer.enqueue(record(number)).await.unwrap());
        }
        tokio::time::sleep(3 * TIMEOUT).await;
        if pass_new {
            stall.pass_new();
        } else {
            stall.release();
        }
        for (delivery, number) in deliveries.into_iter().zip(1..) {
            assert_eq!(delivery.await.unwrap().offset.unwrap().value(), number);
        }
        stall.release(); // The requests that waited in the old connections arrive now.
        producer.flush().await.unwrap();
        assert_eq!(log(&world).await, (0..=20).map(|number| number.to_string()).collect::<Vec<_>>());
    }
}

/// The record in doubt arrives when the stall ends, on a connection that the producer has given up.
#[tokio::test]
async fn an_unknown_record_never_lands_behind_a_later_acknowledged_one() {
    for pass_new in [true, false] {
        let (world, stall, client) = stalled_world().await;
        let producer = client.producer().delivery_timeout(DEADLINE).build().await.unwrap();
        producer.send(record("0")).await.unwrap();
        stall.hold_requests();
        assert_eq!(producer.send(record("A")).await.unwrap_err().outcome(), Outcome::Unknown);
        let behind = producer.enqueue(record("B")).await.unwrap();
        if pass_new {
            stall.pass_new();
        } else {
            stall.release();
        }
        let behind = behind.await;
        stall.release();
        let later = producer.send(record("C")).await;
        tokio::time::sleep(TIMEOUT).await;
        let log = log(&world).await;
        let expected = ["0", "A", "B", "C"].iter().filter(|value| log.contains(&value.to_string())).collect::<Vec<_>>();
        assert!(log.iter().eq(expected), "B {behind:?}, C {later:?}: {log:?}");
        assert!(log.contains(&"C".to_owned()) && later.is_ok(), "{later:?}: {log:?}");
    }
}
