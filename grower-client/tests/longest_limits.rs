//! Time limits that are too long for the clock mean "without a limit".

mod world;

use grower_client::{Client, Record, TopicSpec, transport};
use std::time::Duration;
use tokio::time::timeout;
use world::{LONG, World};

const FOREVER: Duration = Duration::MAX;

#[tokio::test]
async fn the_longest_time_limits_are_accepted() {
    let world = World::in_memory().await;
    world.topic("t", TopicSpec::partitions(1)).await;
    let transport = transport::in_process(world.connector());
    let builder = Client::builder().transport(transport).bootstrap(["x"]).request_timeout(FOREVER);
    let client = builder.wait_for_broker(FOREVER).connect().await.unwrap();
    let work = async {
        let producer = client.producer().delivery_timeout(FOREVER).build().await.unwrap();
        producer.send(Record::new("t").value("v")).await.unwrap();
        producer.send_within(Record::new("t").value("v"), FOREVER).await.unwrap();
        let consumer = client.consumer().group("g").subscribe(["t"]).session_timeout(FOREVER).fetch_max_wait(FOREVER);
        let consumer = consumer.rebalance_timeout(FOREVER).max_poll_interval(FOREVER).auto_commit(Some(FOREVER));
        let mut consumer = consumer.build().await.unwrap();
        assert!(!consumer.poll(FOREVER).await.unwrap().is_empty());
        consumer.close_within(FOREVER).await.unwrap();
    };
    timeout(LONG, work).await.expect("it ends");
}

#[tokio::test]
async fn the_longest_linger_ends_with_a_flush() {
    let world = World::in_memory().await;
    world.topic("t", TopicSpec::partitions(1)).await;
    let producer = world.client.producer().linger(FOREVER).build().await.unwrap();
    let delivery = producer.enqueue(Record::new("t").value("v")).await.unwrap();
    producer.flush().await.unwrap();
    delivery.await.unwrap();
}
