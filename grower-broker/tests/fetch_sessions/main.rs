//! Fetch sessions: what is told, when, and in which order.

mod client;
mod gone_files;
#[path = "../support/raw.rs"]
mod raw;

use client::*;
use grower_broker::Broker;
use grower_protocol::ids::TopicId;
use grower_protocol::message::*;
use raw::*;
use std::time::Duration;
use tokio::io::DuplexStream;

struct World {
    broker: Broker,
    producer: Raw<DuplexStream>,
}

impl World {
    async fn start() -> Self {
        let broker = in_memory().start().await.unwrap();
        let producer = Raw::open(broker.connect()).await;
        Self { broker, producer }
    }

    async fn topics<const N: usize>(&mut self) -> [TopicId; N] {
        let mut topics = Vec::new();
        for number in 0..N {
            topics.push(self.producer.create_topic(&format!("topic-{number}"), 1, &[]).await);
        }
        topics.try_into().unwrap()
    }

    async fn produce(&mut self, topic: TopicId, value: &str) {
        self.producer.produce(topic, Acks::All, &batch(&[value])).await.unwrap();
    }
}

/// Waits until answers that could come have come.
async fn assert_silent(client: &mut SessionClient) {
    let early = tokio::time::timeout(Duration::from_millis(50), client.raw.receive()).await;
    assert!(early.is_err(), "{early:?}");
}

#[tokio::test]
async fn a_session_tells_each_record_once_and_only_what_is_new() {
    let mut world = World::start().await;
    let [first, second] = world.topics().await;
    world.produce(first, "a").await;
    let mut client = SessionClient::open(&world.broker, vec![slot(0, first, 0), slot(1, second, 0)]).await;
    assert_eq!(client.ask(poll()).await, [read(0, 0, &["a"]), read(1, 0, &[])]);
    client.send(poll()).await;
    assert_silent(&mut client).await;
    world.produce(second, "b").await;
    assert_eq!(client.receive().await, (2, vec![read(1, 0, &["b"])]));
    assert_eq!(client.ask(look()).await, []);
    world.produce(first, "c").await;
    assert_eq!(client.ask(look()).await, [read(0, 1, &["c"])]);
}

#[tokio::test]
async fn requests_that_wait_are_answered_in_their_order_but_changes_at_once() {
    let mut world = World::start().await;
    let [first, second] = world.topics().await;
    let mut client = SessionClient::open(&world.broker, vec![slot(0, first, 0)]).await;
    assert_eq!(client.ask(poll()).await, [read(0, 0, &[])]);
    client.send(poll()).await;
    client.send(poll()).await;
    client.send(add(vec![slot(1, second, 0)])).await;
    // The change is answered at once; its slot is news for the first request that waits.
    let mut early = [client.receive_lost().await, client.receive_lost().await];
    early.sort_by_key(|(number, _)| *number);
    assert_eq!(early, [(2, vec![read(1, 0, &[])]), (4, vec![])]);
    assert_silent(&mut client).await;
    world.produce(second, "b").await;
    assert_eq!(client.receive().await, (3, vec![read(1, 0, &["b"])]));
}

#[tokio::test]
async fn a_dropped_slot_tells_nothing_more() {
    let mut world = World::start().await;
    let [first, second] = world.topics().await;
    let mut client = SessionClient::open(&world.broker, vec![slot(0, first, 0), slot(1, second, 0)]).await;
    assert_eq!(client.ask(poll()).await.len(), 2);
    assert_eq!(client.ask(FetchSession { drop: vec![FetchSlot(0)], max_bytes: 0, ..poll() }).await, []);
    world.produce(first, "a").await;
    world.produce(second, "b").await;
    assert_eq!(client.ask(poll()).await, [read(1, 0, &["b"])]);
    assert_eq!(client.ask(FetchSession { add: vec![slot(2, first, 0)], ..look() }).await, [read(2, 0, &["a"])]);
}

#[tokio::test]
async fn answers_that_were_lost_are_told_again_after_a_resume() {
    let mut world = World::start().await;
    let [first, second] = world.topics().await;
    world.produce(first, "a").await;
    let mut client = SessionClient::open(&world.broker, vec![slot(0, first, 0), slot(1, second, 0)]).await;
    assert_eq!(client.ask(poll()).await.len(), 2);
    world.produce(first, "b").await;
    client.send(poll()).await;
    assert_eq!(client.receive_lost().await, (2, vec![read(0, 1, &["b"])]));
    client.raw = Raw::open(world.broker.connect()).await;
    world.produce(first, "c").await;
    let place = SessionPlace { number: 7, ..client.place() };
    let resume = FetchSession { step: SessionStep::Resume(place), ..poll() };
    client.raw.send(&Request::FetchSession(resume), &[]).await;
    assert_eq!(client.receive().await, (7, vec![read(0, 1, &["b", "c"])]));
    client.next = 8;
    assert_eq!(client.ask(look()).await, []);
}

#[tokio::test]
async fn a_long_poll_ends_at_its_deadline_without_news() {
    let mut world = World::start().await;
    let [topic] = world.topics().await;
    let mut client = SessionClient::open(&world.broker, vec![slot(0, topic, 0)]).await;
    assert_eq!(client.ask(poll()).await.len(), 1);
    let begun = std::time::Instant::now();
    assert_eq!(client.ask(FetchSession { max_wait_ms: 100, ..poll() }).await, []);
    let took = begun.elapsed();
    assert!((100..5_000).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test]
async fn a_deleted_topic_ends_its_slot_while_the_request_waits() {
    let mut world = World::start().await;
    let [topic] = world.topics().await;
    let mut client = SessionClient::open(&world.broker, vec![slot(0, topic, 0)]).await;
    assert_eq!(client.ask(poll()).await.len(), 1);
    client.send(poll()).await;
    let name = grower_protocol::ids::TopicName::new("topic-0").unwrap();
    assert_eq!(world.producer.ask(&Request::DeleteTopic(name)).await, Response::Done);
    assert_eq!(client.receive().await, (2, vec![(0, 0, Err(ErrorCode::UnknownTopicId))]));
}

#[tokio::test]
async fn a_request_waits_for_its_least_bytes_and_keeps_what_it_has() {
    let mut world = World::start().await;
    let [first, second] = world.topics().await;
    let mut client = SessionClient::open(&world.broker, vec![slot(0, first, 0), slot(1, second, 0)]).await;
    assert_eq!(client.ask(poll()).await.len(), 2);
    client.send(FetchSession { min_bytes: 150, ..poll() }).await;
    world.produce(second, "b").await;
    world.produce(first, "a").await;
    world.produce(second, "c").await;
    assert_eq!(client.receive().await, (2, vec![read(1, 0, &["b"]), read(0, 0, &["a"]), read(1, 1, &["c"])]));
}
