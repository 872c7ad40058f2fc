//! Fetch sessions: which records are sent, when, and in which order.

mod client;
mod gone_files;
mod model;
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
async fn a_session_sends_each_record_once() {
    let mut world = World::start().await;
    let [first, second] = world.topics().await;
    world.produce(first, "a").await;
    let mut client = SessionClient::open(&world.broker, vec![slot(0, first, 0), slot(1, second, 0)]).await;
    assert_eq!(client.ask(poll()).await, [read(0, 0, &["a"]), read(1, 0, &[])]);
    client.send(poll()).await;
    assert_silent(&mut client).await;
    world.produce(second, "b").await;
    assert_eq!(client.receive().await, (2, vec![read(1, 0, &["b"])]));
    assert_eq!(client.ask(fetch_now()).await, []);
    world.produce(first, "c").await;
    assert_eq!(client.ask(fetch_now()).await, [read(0, 1, &["c"])]);
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
    // The change is answered at once; its slot answers the first request that waits.
    let mut early = [client.receive_lost().await, client.receive_lost().await];
    early.sort_by_key(|(number, _)| *number);
    assert_eq!(early, [(2, vec![read(1, 0, &[])]), (4, vec![])]);
    assert_silent(&mut client).await;
    world.produce(second, "b").await;
    assert_eq!(client.receive().await, (3, vec![read(1, 0, &["b"])]));
}

#[tokio::test]
async fn a_dropped_slot_sends_no_more_records() {
    let mut world = World::start().await;
    let [first, second] = world.topics().await;
    let mut client = SessionClient::open(&world.broker, vec![slot(0, first, 0), slot(1, second, 0)]).await;
    assert_eq!(client.ask(poll()).await.len(), 2);
    assert_eq!(client.ask(FetchSession { drop: vec![FetchSlot(0)], max_bytes: 0, ..poll() }).await, []);
    world.produce(first, "a").await;
    world.produce(second, "b").await;
    assert_eq!(client.ask(poll()).await, [read(1, 0, &["b"])]);
    assert_eq!(client.ask(FetchSession { add: vec![slot(2, first, 0)], ..fetch_now() }).await, [read(2, 0, &["a"])]);
}

#[tokio::test]
async fn a_resume_sends_lost_answers_again() {
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
    let sequence = SessionSequence { number: 7, ..client.sequence() };
    let resume = FetchSession { step: SessionStep::Resume(sequence), ..poll() };
    client.raw.send(&Request::FetchSession(resume), &[]).await;
    assert_eq!(client.receive().await, (7, vec![read(0, 1, &["b", "c"])]));
    client.next = 8;
    assert_eq!(client.ask(fetch_now()).await, []);
}

#[tokio::test]
async fn a_long_poll_ends_at_its_deadline_without_records() {
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
async fn a_request_waits_for_min_bytes_and_keeps_its_records() {
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

#[tokio::test]
async fn a_busy_partition_takes_no_more_than_its_share_while_others_have_records() {
    let mut world = World::start().await;
    let topics: [TopicId; 4] = world.topics().await;
    let large = "x".repeat(20_000);
    for _ in 0..40 {
        world.produce(topics[0], &large).await;
    }
    for topic in &topics[1..] {
        world.produce(*topic, "small").await;
    }
    let slots = topics.iter().enumerate().map(|(number, topic)| slot(number as u32, *topic, 0)).collect();
    let mut client = SessionClient::open(&world.broker, slots).await;
    // Its share of 256 KiB is a quarter: 3 batches of 20 kB.
    let parts = client.ask(FetchSession { max_bytes: 256 << 10, ..poll() }).await;
    assert_eq!(
        parts.iter().map(|(slot, _, read)| (*slot, read.as_ref().unwrap().len())).collect::<Vec<_>>(),
        [(0, 3), (1, 1), (2, 1), (3, 1)]
    );
    world.produce(topics[2], "soon").await;
    let parts = client.ask(FetchSession { max_bytes: 40_000, ..poll() }).await;
    assert_eq!((parts[0].0, parts[0].2.as_ref().unwrap().len()), (0, 1));
    assert_eq!(parts[1], read(2, 1, &["soon"]));
}

#[tokio::test]
async fn a_batch_that_does_not_fit_comes_first_in_the_next_answer() {
    let mut world = World::start().await;
    let [first, second] = world.topics().await;
    world.produce(first, "small").await;
    world.produce(second, &"x".repeat(5_000)).await;
    let mut client = SessionClient::open(&world.broker, vec![slot(0, first, 0), slot(1, second, 0)]).await;
    let small = FetchSession { max_bytes: 1_000, ..poll() };
    assert_eq!(client.ask(small.clone()).await, [read(0, 0, &["small"])]);
    world.produce(first, "later").await;
    let parts = client.ask(small.clone()).await;
    assert_eq!((parts.len(), parts[0].0), (1, 1));
    assert_eq!(client.ask(small).await, [read(0, 1, &["later"])]);
}

#[tokio::test]
async fn records_are_sent_long_before_the_deadline() {
    let mut world = World::start().await;
    let [topic] = world.topics().await;
    let mut client = SessionClient::open(&world.broker, vec![slot(0, topic, 0)]).await;
    assert_eq!(client.ask(poll()).await, [read(0, 0, &[])]);
    client.send(FetchSession { max_wait_ms: u32::MAX, ..poll() }).await;
    world.produce(topic, "a").await;
    let answered = tokio::time::timeout(Duration::from_secs(10), client.receive()).await;
    assert_eq!(answered.expect("in time").1, [read(0, 0, &["a"])]);
}
