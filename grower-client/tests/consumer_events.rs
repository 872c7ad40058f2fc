//! Events of a consumer, with a real broker: partitions that come, are revoked, and are lost.

mod world;

use grower_client::ids::Offset;
use grower_client::{Client, Consumer, ConsumerBuilder, ConsumerEvent, ErrorCode, Record, Revoking, TopicSpec};
use std::time::Duration;
use world::{Gate, LONG, Member, World, poll, topic_partition};

/// A session timeout that no test waits for.
const AGES: Duration = Duration::from_secs(600);

fn member(client: &Client) -> ConsumerBuilder {
    client.consumer().group("g").subscribe(["events"]).session_timeout(AGES)
}

/// Starts a broker with a topic; each partition has ten records.
async fn world(partitions: u32) -> World {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(partitions)).await;
    for partition in 0..partitions {
        produce(&world, partition, 10).await;
    }
    world
}

async fn produce(world: &World, partition: u32, count: u32) {
    let producer = world.client.producer().build().await.unwrap();
    for number in 0..count {
        drop(producer.enqueue(Record::new("events").value(format!("{number}")).partition(partition)).await.unwrap());
    }
    producer.flush().await.unwrap();
}

async fn next(consumer: &mut Consumer) -> ConsumerEvent {
    tokio::time::timeout(LONG, consumer.next_event()).await.expect("an event comes").unwrap().unwrap()
}

/// Returns the partitions of the next event, each with its position and committed offset.
async fn assigned(consumer: &mut Consumer) -> Vec<(u32, u64, Option<u64>)> {
    let ConsumerEvent::Assigned(assigned) = next(consumer).await else { panic!("another event") };
    let numbers = assigned.iter().map(|assigned| {
        let committed = assigned.committed.map(Offset::value);
        (assigned.topic_partition.partition.value(), assigned.position.value(), committed)
    });
    numbers.collect()
}

/// Reads `count` records; returns their partitions and offsets.
async fn records(consumer: &mut Consumer, count: usize) -> Vec<(u32, u64)> {
    let mut read = Vec::new();
    while read.len() < count {
        let ConsumerEvent::Records(records) = next(consumer).await else { panic!("another event") };
        read.extend(records.iter().map(|record| (record.partition.value(), record.offset.value())));
    }
    read
}

async fn revoking(consumer: &mut Consumer) -> Revoking {
    let ConsumerEvent::Revoking(revoking) = next(consumer).await else { panic!("another event") };
    assert_eq!(revoking.partitions(), [topic_partition("events", 1)]);
    revoking
}

#[tokio::test]
async fn a_consumer_without_a_group_begins_where_its_own_state_ends() {
    let world = world(2).await;
    let builder = world.client.consumer().subscribe(["events"]).metadata_max_age(Duration::from_millis(20));
    let mut consumer = builder.build().await.unwrap();
    assert_eq!(assigned(&mut consumer).await, [(0, 0, None), (1, 0, None)]);
    consumer.seek("events", 0, Offset::new(8)).unwrap();
    consumer.seek("events", 1, Offset::new(9)).unwrap();
    let mut read = records(&mut consumer, 3).await;
    read.sort_unstable();
    assert_eq!(read, [(0, 8), (0, 9), (1, 9)]);
    world.client.admin().grow_topic("events", 3).await.unwrap();
    produce(&world, 2, 1).await;
    assert_eq!(assigned(&mut consumer).await, [(2, 0, None)]);
    assert_eq!(records(&mut consumer, 1).await, [(2, 0)]);
}

#[tokio::test]
async fn a_partition_moves_at_once_when_the_reader_says_that_it_is_done() {
    let world = world(2).await;
    let mut first = member(&world.client).build().await.unwrap();
    assert_eq!(assigned(&mut first).await, [(0, 0, Some(0)), (1, 0, Some(0))]);
    records(&mut first, 20).await;
    let mut second = member(&world.client).build().await.unwrap();
    let revoking = revoking(&mut first).await;
    revoking.done([(topic_partition("events", 1), Offset::new(7))]).await.unwrap();
    assert_eq!(assigned(&mut second).await, [(1, 7, Some(7))]);
    assert_eq!(records(&mut second, 3).await, [(1, 7), (1, 8), (1, 9)]);
    first.commit().await.unwrap(); // The partition that moved is not its concern any more.
}

#[tokio::test]
async fn a_dropped_revocation_moves_the_partition_after_the_commit_of_its_records() {
    let world = world(2).await;
    let mut first = member(&world.client).build().await.unwrap();
    assigned(&mut first).await;
    records(&mut first, 20).await;
    first.commit_offsets([(topic_partition("events", 0), Offset::new(1))]).await.unwrap();
    let mut second = member(&world.client).build().await.unwrap();
    drop(revoking(&mut first).await);
    let waiting = tokio::time::timeout(Duration::from_millis(300), second.next_event()).await;
    assert!(waiting.is_err(), "ten records are not committed: {waiting:?}");
    first.commit().await.unwrap();
    assert_eq!(assigned(&mut second).await, [(1, 10, Some(10))]);
}

#[tokio::test]
async fn records_that_a_reader_without_commits_had_are_read_again() {
    let world = world(2).await;
    let mut first = member(&world.client).build().await.unwrap();
    assigned(&mut first).await;
    records(&mut first, 20).await;
    let mut second = member(&world.client).build().await.unwrap();
    drop(revoking(&mut first).await);
    assert_eq!(assigned(&mut second).await, [(1, 0, Some(0))]);
    assert_eq!(records(&mut second, 10).await.len(), 10);
}

#[tokio::test]
async fn a_dropped_revocation_commits_automatically_what_was_consumed() {
    let world = world(2).await;
    let mut first = member(&world.client).auto_commit(Some(AGES)).build().await.unwrap();
    assigned(&mut first).await;
    records(&mut first, 20).await;
    let mut second = member(&world.client).build().await.unwrap();
    drop(revoking(&mut first).await);
    assert_eq!(assigned(&mut second).await, [(1, 10, Some(10))]);
}

#[tokio::test]
async fn a_partition_is_lost_if_the_reader_keeps_the_revocation_for_too_long() {
    let world = world(2).await;
    let builder = member(&world.client).rebalance_timeout(Duration::from_millis(50));
    let mut first = builder.build().await.unwrap();
    assigned(&mut first).await;
    records(&mut first, 20).await;
    let mut second = member(&world.client).build().await.unwrap();
    let revoking = revoking(&mut first).await;
    let ConsumerEvent::Lost(lost) = next(&mut first).await else { panic!("another event") };
    assert_eq!(lost, [topic_partition("events", 1)]);
    assert_eq!(assigned(&mut second).await, [(1, 0, Some(0))]);
    let error = revoking.done([(topic_partition("events", 1), Offset::new(10))]).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NotAssigned), "{error}");
    first.commit().await.unwrap(); // It was reported, and partition 0 is committed.
}

#[tokio::test]
async fn a_cut_off_member_learns_that_it_lost_its_partitions_and_gets_them_again() {
    let world = world(1).await;
    let gate = Gate::open();
    let builder = member(&gate.client(&world).await).session_timeout(Duration::from_secs(1));
    let mut consumer = builder.build().await.unwrap();
    assigned(&mut consumer).await;
    records(&mut consumer, 10).await;
    gate.close();
    let ConsumerEvent::Lost(lost) = next(&mut consumer).await else { panic!("another event") };
    assert_eq!(lost, [topic_partition("events", 0)]);
    gate.reopen();
    assert_eq!(assigned(&mut consumer).await, [(0, 0, Some(0))]);
    assert_eq!(records(&mut consumer, 10).await.len(), 10);
}

#[tokio::test]
async fn a_late_commit_of_a_reader_of_records_is_refused_once_after_its_partition_came_back() {
    let world = world(1).await;
    let gate = Gate::open();
    let mut first = member(&gate.client(&world).await).session_timeout(Duration::from_secs(1)).build().await.unwrap();
    world::poll(&mut first, 10).await;
    gate.close();
    let mut second = member(&world.client).build().await.unwrap();
    world::poll(&mut second, 10).await;
    second.commit_offsets([(topic_partition("events", 0), Offset::new(9))]).await.unwrap();
    second.close().await.unwrap();
    gate.reopen();
    let back = async {
        while first.position("events", 0) != Some(Offset::new(9)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, back).await.expect("it comes back");
    let late = async || first.commit_offsets([(topic_partition("events", 0), Offset::new(5))]).await;
    let error = late().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NotAssigned), "{error}");
    late().await.unwrap(); // It was reported.
}

#[tokio::test]
async fn an_old_revocation_commits_nothing_for_a_partition_that_came_back() {
    let world = world(2).await;
    let builder = member(&world.client).rebalance_timeout(Duration::from_millis(50));
    let mut first = builder.build().await.unwrap();
    assigned(&mut first).await;
    records(&mut first, 20).await;
    let mut second = member(&world.client).build().await.unwrap();
    let revoking = revoking(&mut first).await;
    assert!(matches!(next(&mut first).await, ConsumerEvent::Lost(_)));
    assigned(&mut second).await;
    second.close().await.unwrap();
    assert_eq!(assigned(&mut first).await, [(1, 0, Some(0))]);
    let error = revoking.done([(topic_partition("events", 1), Offset::new(10))]).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NotAssigned), "{error}");
    assert_eq!(records(&mut first, 10).await.len(), 10);
}

#[tokio::test]
async fn a_reader_that_never_reads_its_events_keeps_its_session_until_max_poll_interval() {
    let world = world(1).await;
    let session = Duration::from_secs(1);
    let builder = member(&world.client).session_timeout(session).max_poll_interval(2 * session);
    let mut idle = builder.build().await.unwrap();
    let members = async || world.client.admin().describe_group("g").await.unwrap().members.len();
    tokio::time::sleep(session * 3 / 2).await;
    assert_eq!((members().await, idle.assignment().len()), (1, 1), "heartbeats need no reader");
    let left = async {
        while 0 < members().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, left).await.expect("it leaves, so that others can read");
    assert_eq!(assigned(&mut idle).await, [(0, 0, Some(0))], "it is back");
    assert_eq!(records(&mut idle, 10).await.len(), 10);
}

#[tokio::test]
async fn events_outlive_their_consumer_and_its_partitions_move_on() {
    let world = world(2).await;
    let mut first = member(&world.client).session_timeout(Duration::from_secs(1)).build().await.unwrap();
    assigned(&mut first).await;
    records(&mut first, 20).await;
    let second = Member::join(member(&world.client)).await;
    let revoking = revoking(&mut first).await;
    drop(first); // As in an early return from a loop over events.
    let done = revoking.done([(topic_partition("events", 1), Offset::new(10))]);
    tokio::time::timeout(LONG, done).await.expect("it ends").unwrap();
    second.owns(&[0, 1]).await;
    assert_eq!(second.consumer.position("events", 1), Some(Offset::new(10)));
}

#[tokio::test]
async fn an_event_is_not_lost_by_a_caller_that_stops_waiting() {
    let world = world(2).await;
    let mut consumer = member(&world.client).build().await.unwrap();
    let mut events = Vec::new();
    let mut read = 0;
    while read < 20 {
        if let Ok(event) = tokio::time::timeout(Duration::ZERO, consumer.next_event()).await {
            match event.unwrap().unwrap() {
                ConsumerEvent::Records(records) => read += records.len(),
                event => events.push(event),
            }
        }
        tokio::task::yield_now().await;
    }
    assert!(matches!(&events[..], [ConsumerEvent::Assigned(assigned)] if assigned.len() == 2), "{events:?}");
    consumer.close().await.unwrap();
    assert!(consumer.next_event().await.is_none());
}

#[tokio::test]
async fn a_late_commit_does_not_take_a_partition_back_that_was_lost_and_came_again() {
    let world = world(1).await;
    let gate = Gate::open();
    let mut first = member(&gate.client(&world).await).session_timeout(Duration::from_secs(1)).build().await.unwrap();
    assigned(&mut first).await;
    records(&mut first, 5).await;
    gate.close();
    let mut second = member(&world.client).build().await.unwrap();
    assert_eq!(poll(&mut second, 10).await.len(), 10);
    second.commit().await.unwrap();
    second.close().await.unwrap();
    gate.reopen();
    while first.position("events", 0) != Some(Offset::new(10)) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    first.commit_offsets([(topic_partition("events", 0), Offset::new(5))]).await.unwrap_err();
    let stored = world.client.admin().describe_group("g").await.unwrap().offsets;
    assert_eq!(stored[0].offset, Offset::new(10));
}
