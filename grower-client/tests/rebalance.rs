//! Rebalances: members join, leave, get stuck and return under their instance names.
#![expect(clippy::disallowed_methods, reason = "a test ends a member after a while")]

mod world;

use grower_client::ids::Offset;
use grower_client::{Client, Consumer, ConsumerBuilder, ErrorCode, GroupState, Record, TopicSpec};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use world::{Gate, LONG, Member, World, numbered, poll, read};

/// A session timeout that no test waits for.
const AGES: Duration = Duration::from_secs(600);

fn member(client: &Client) -> ConsumerBuilder {
    client.consumer().group("g").subscribe(["events"]).session_timeout(AGES)
}

async fn world(partitions: u32) -> World {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(partitions)).await;
    world
}

async fn state(world: &World) -> GroupState {
    world.client.admin().describe_group("g").await.unwrap().state
}

#[tokio::test]
async fn a_member_keeps_reading_its_partitions_during_a_rebalance() {
    let world = world(3).await;
    let gate = Gate::open();
    let through_the_gate = gate.client(&world).await;
    let mut first = Member::join(member(&world.client)).await;
    let second = Member::join(member(&through_the_gate)).await;
    first.owns(&[0, 1]).await;
    second.owns(&[2]).await;
    gate.close(); // Partition 2 stays with its owner until its session ends in ten minutes.
    let third = Member::join(member(&world.client)).await;
    first.owns(&[0]).await;
    for round in 0..3 {
        world.produce("events", numbered(round * 10..round * 10 + 10)).await;
        assert_eq!(poll(&mut first.consumer, 10).await.len(), 10);
        first.consumer.commit().await.unwrap();
    }
    assert_eq!(state(&world).await, GroupState::Reconciling);
    assert_eq!(third.consumer.assignment(), []);
    gate.reopen();
    second.owns(&[1]).await;
    third.owns(&[2]).await;
}

#[tokio::test]
async fn a_stuck_reader_leaves_the_group_until_it_polls_again() {
    let world = world(2).await;
    world.produce("events", numbered(0..10)).await;
    let session = Duration::from_secs(1);
    let stuck = member(&world.client).session_timeout(session).max_poll_interval(Duration::from_millis(300));
    let mut first = Member::join(stuck).await;
    assert_eq!(read(&mut first.consumer, 1).await, ["record 0"]);
    first.owns(&[]).await;
    let mut second = Member::join(member(&world.client).session_timeout(session)).await;
    second.owns(&[0, 1]).await;
    assert_eq!(read(&mut second.consumer, 10).await.len(), 10, "nothing was committed");
    assert_eq!(world.client.admin().describe_group("g").await.unwrap().members.len(), 1);
    let rejoined = async {
        while first.consumer.assignment().len() + second.consumer.assignment().len() != 2
            || first.consumer.assignment().is_empty()
        {
            drop(first.consumer.poll(Duration::from_millis(20)).await.unwrap());
        }
    };
    tokio::time::timeout(LONG, rejoined).await.unwrap();
}

#[tokio::test]
async fn waiting_for_records_does_not_leave_the_group() {
    let world = world(1).await;
    let waiting = member(&world.client).session_timeout(Duration::from_secs(1));
    let mut first = Member::join(waiting.max_poll_interval(Duration::from_secs(2))).await;
    drop(first.consumer.poll(Duration::from_secs(4)).await.unwrap());
    first.owns(&[0]).await;
}

/// Joins under an instance name; the counter counts its rebalances.
async fn named(client: &Client, name: &str) -> (Member, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let builder = member(client).instance(name).max_poll_interval(AGES);
    let count_it = move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
    };
    let member = Member::join_with(builder, count_it).await;
    (member, count)
}

#[tokio::test]
async fn a_returning_instance_gets_its_partitions_back_without_a_rebalance() {
    let world = world(3).await;
    let (mut first, _) = named(&world.client, "first").await;
    let (second, noticed) = named(&world.client, "second").await;
    first.owns(&[0, 1]).await;
    second.owns(&[2]).await;
    let before = noticed.load(Ordering::SeqCst);
    for _ in 0..3 {
        first.consumer.close().await.unwrap();
        first = named(&world.client, "first").await.0;
        first.owns(&[0, 1]).await;
    }
    drop(first); // As if its process was killed.
    let (first, _) = named(&world.client, "first").await;
    first.owns(&[0, 1]).await; // After the lease of the name, not after the session.
    assert_eq!(noticed.load(Ordering::SeqCst), before);
    second.owns(&[2]).await;
}

#[tokio::test]
async fn the_newer_of_two_instances_reads_and_the_older_is_fenced() {
    let world = world(1).await;
    world.produce("events", numbered(0..5)).await;
    let (mut first, _) = named(&world.client, "name").await;
    assert_eq!(read(&mut first.consumer, 1).await, ["record 0"]);
    let (mut second, _) = named(&world.client, "name").await;
    second.owns(&[0]).await;
    for _ in 0..2 {
        let error = first.consumer.next().await.unwrap().unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::FencedInstance), "{error}");
    }
    assert_eq!(first.consumer.assignment(), []);
    let error =
        first.consumer.commit_offsets([(world::topic_partition("events", 0), Offset::new(1))]).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NotAssigned), "{error}");
    assert_eq!(read(&mut second.consumer, 5).await.len(), 5);
    first.consumer.close().await.unwrap();
    second.owns(&[0]).await;
}

#[tokio::test]
async fn a_disconnected_instance_pauses_and_resumes_at_its_position() {
    let world = world(1).await;
    world.produce("events", numbered(0..2_000)).await;
    let gate = Gate::open();
    let (mut first, rebalances) = named(&gate.client(&world).await, "name").await;
    let mut all = read(&mut first.consumer, 1).await;
    gate.close();
    let until_it_pauses = async {
        let a_while = Duration::from_millis(100);
        while let Ok(Some(record)) = tokio::time::timeout(a_while, first.consumer.next()).await {
            all.push(String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, until_it_pauses).await.unwrap();
    assert!(all.len() < 2_000, "all of it was fetched ahead, and not handed out");
    first.owns(&[0]).await;
    gate.reopen();
    all.extend(read(&mut first.consumer, 2_000 - all.len()).await);
    assert_eq!(all, numbered(0..2_000).collect::<Vec<_>>());
    assert_eq!(rebalances.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn all_records_are_read_during_constant_joins_and_leaves() {
    let world = world(4).await;
    let producer = world.client.producer().build().await.unwrap();
    for number in 0..400u32 {
        drop(producer.enqueue(Record::new("events").value(format!("{number}")).partition(number % 4)).await.unwrap());
    }
    producer.flush().await.unwrap();
    let steady = || member(&world.client).auto_commit(Some(Duration::from_millis(50))).max_poll_records(5);
    let (mut first, mut second) = (Member::join(steady()).await, Member::join(steady()).await);
    let client = world.client.clone();
    let read = parking_lot::Mutex::new(std::collections::BTreeSet::new());
    let read_some = async |consumer: &mut Consumer| {
        let records = consumer.poll(Duration::from_millis(20)).await.unwrap();
        read.lock().extend(records.into_iter().map(|record| (record.partition.value(), record.offset.value())));
    };
    let storm = async {
        loop {
            let mut passing = member(&client).build().await.unwrap();
            let leaves_at = tokio::time::Instant::now() + Duration::from_millis(50);
            while tokio::time::Instant::now() < leaves_at {
                read_some(&mut passing).await; // Only this member can read its partitions meanwhile.
            }
            passing.close().await.unwrap();
        }
    };
    let reading = async {
        while read.lock().len() < 400 {
            read_some(&mut first.consumer).await;
            read_some(&mut second.consumer).await;
        }
    };
    tokio::select! {
        () = storm => {}
        read = tokio::time::timeout(3 * LONG, reading) => read.expect("everything is read during the joins and leaves"),
    }
}

#[tokio::test]
async fn a_quiet_member_keeps_its_session_if_the_broker_holds_heartbeats_longer_than_the_request_timeout() {
    let world = world(1).await;
    let transport = grower_client::transport::in_process(world.connector());
    let builder = Client::builder().transport(transport).bootstrap(["broker"]);
    let client = builder.request_timeout(Duration::from_millis(100)).connect().await.unwrap();
    let losses = Arc::new(AtomicUsize::new(0));
    let counted = losses.clone();
    let member = member(&client).session_timeout(Duration::from_secs(1)); // The broker holds a heartbeat for 200 ms.
    let member = member.on_rebalance(move |event| {
        counted.fetch_add(event.revoked.len(), Ordering::Relaxed);
    });
    let consumer = member.build().await.unwrap();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(losses.load(Ordering::Relaxed), 0, "the session never ended");
    drop(consumer);
}
