//! Revocations: a partition moves once its reader is done with the records that it was handed.
#![expect(clippy::disallowed_methods, reason = "a test measures how long a call takes")]

mod world;

use grower_client::ids::Offset;
use grower_client::{
    Client, CommitError, ConsumeError, Consumer, ConsumerBuilder, ErrorCode, Outcome, Record, TopicSpec,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use world::{LONG, Member, World, poll, topic_partition};

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

async fn produce(world: &World, partition: u32, count: u32) {
    let producer = world.client.producer().batch_records(10).build().await.unwrap();
    for number in 0..count {
        let record = Record::new("events").value(format!("{number}")).partition(partition);
        drop(producer.enqueue(record).await.unwrap());
    }
    producer.flush().await.unwrap();
}

/// Waits until the member learns that partition 1 is revoked.
async fn until_revoked(consumer: &Consumer) {
    let waiting = async {
        while consumer.assignment().iter().any(|assigned| assigned.partition.value() == 1) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.expect("the partition is revoked");
}

async fn committed(world: &World) -> Vec<(u32, u64)> {
    let offsets = world.client.admin().describe_group("g").await.unwrap().offsets;
    offsets.iter().map(|committed| (committed.partition.value(), committed.offset.value())).collect()
}

/// The number of times that each record was worked on, by partition and offset.
type Work = Arc<Mutex<BTreeMap<(u32, u64), u32>>>;

/// Polls, works and commits, until nothing comes any more. Begins with partitions 2 and 3, which the next members get.
async fn work_until_idle(mut consumer: Consumer, work: Work) {
    for partition in [0, 1] {
        let _ = consumer.pause("events", partition); // It may be another member's.
    }
    for polls in 0.. {
        if polls == 4 {
            for partition in [0, 1] {
                let _ = consumer.resume("events", partition);
            }
        }
        let records = consumer.poll(Duration::from_millis(700)).await.unwrap();
        if records.is_empty() {
            return consumer.close().await.unwrap();
        }
        for record in records {
            *work.lock().entry((record.partition.value(), record.offset.value())).or_default() += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        consumer.commit().await.unwrap();
    }
}

#[tokio::test]
async fn members_that_join_during_the_work_cause_no_record_to_be_worked_on_twice() {
    let world = world(4).await;
    for partition in 0..4 {
        produce(&world, partition, 200).await;
    }
    let work = Work::default();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let consumer = member(&world.client).max_poll_records(40).build().await.unwrap();
        workers.spawn(work_until_idle(consumer, work.clone()));
        tokio::time::sleep(Duration::from_millis(100)).await; // Some batches.
    }
    while let Some(ended) = workers.join_next().await {
        ended.unwrap();
    }
    let work = work.lock();
    let twice = work.values().filter(|times| 1 < **times).count();
    assert_eq!((work.len(), twice), (800, 0), "records worked on, and more than once");
}

#[tokio::test]
async fn a_revoked_partition_waits_until_its_records_are_committed_and_the_reader_is_back() {
    let world = world(2).await;
    produce(&world, 1, 10).await;
    let mut first = Member::join(member(&world.client).max_poll_records(4)).await;
    assert_eq!(poll(&mut first.consumer, 4).await.len(), 4);
    first.consumer.commit_offsets([(topic_partition("events", 1), Offset::new(2))]).await.unwrap();
    let mut second = Member::join(member(&world.client)).await;
    until_revoked(&first.consumer).await;
    assert_eq!(first.consumer.poll(Duration::from_millis(300)).await.unwrap(), [], "it hands out nothing more");
    assert_eq!(second.consumer.assignment(), [], "two records are not committed");
    first.consumer.commit().await.unwrap();
    second.owns(&[1]).await;
    assert_eq!(poll(&mut second.consumer, 6).await, (4..10).map(|offset| (1, offset)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_reader_that_never_commits_is_done_when_it_comes_back() {
    let world = world(2).await;
    produce(&world, 1, 4).await;
    let mut first = Member::join(member(&world.client)).await;
    assert_eq!(poll(&mut first.consumer, 4).await.len(), 4);
    let second = Member::join(member(&world.client)).await;
    until_revoked(&first.consumer).await;
    assert_eq!(first.consumer.poll(Duration::ZERO).await.unwrap(), []);
    second.owns(&[1]).await;
}

#[tokio::test]
async fn a_commit_of_explicit_offsets_names_the_partition_that_is_not_assigned_and_commits_the_others() {
    let world = world(2).await;
    produce(&world, 0, 5).await;
    let first = Member::join(member(&world.client)).await;
    let second = Member::join(member(&world.client)).await;
    first.owns(&[0]).await;
    second.owns(&[1]).await;
    let offsets = [(topic_partition("events", 1), Offset::ZERO), (topic_partition("events", 0), Offset::new(3))];
    let error = first.consumer.commit_offsets(offsets).await.unwrap_err();
    insta::assert_snapshot!(error, @"cannot commit: events/1 at 0: not assigned to this consumer: its owner reads uncommitted records again");
    assert_eq!(committed(&world).await, [(0, 3), (1, 0)]);
}

#[tokio::test]
async fn a_revoked_partition_is_read_by_its_new_owner_at_once() {
    let world = world(2).await;
    let first = Member::join(member(&world.client)).await;
    first.owns(&[0, 1]).await;
    let producer = world.client.producer().build().await.unwrap();
    producer.send(Record::new("events").value("x").partition(1)).await.unwrap();
    let mut second = Member::join(member(&world.client)).await;
    first.owns(&[0]).await; // It confirms the revocation now.
    let start = Instant::now();
    assert_eq!(poll(&mut second.consumer, 1).await, [(1, 0)]);
    // Takes milliseconds, or a second if the waiting heartbeat were not answered; the limit allows for a busy machine.
    let elapsed = start.elapsed();
    assert!(elapsed < Duration::from_secs(5), "the partition was not read for {elapsed:?}");
}

#[tokio::test]
async fn a_partition_moves_after_its_records_are_consumed_and_nothing_is_read_twice() {
    let world = world(2).await;
    let producer = world.client.producer().build().await.unwrap();
    for number in 0..10 {
        producer.send(Record::new("events").value(format!("{number}")).partition(1)).await.unwrap();
    }
    let auto = || member(&world.client).auto_commit(Some(AGES)).max_poll_records(1);
    let mut first = Member::join(auto()).await;
    assert_eq!(poll(&mut first.consumer, 4).await.last(), Some(&(1, 3)));
    let mut second = Member::join(auto()).await;
    while first.consumer.assignment().len() == 2 {
        tokio::time::sleep(Duration::from_millis(5)).await; // Until the member learns of the revocation.
    }
    assert_eq!(second.consumer.assignment(), [], "the fourth record is still in the first reader's hands");
    assert_eq!(first.consumer.poll(Duration::ZERO).await.unwrap(), []);
    second.owns(&[1]).await;
    // Prefetched records were dropped, consumed ones committed.
    assert_eq!(poll(&mut second.consumer, 6).await, (4..10).map(|offset| (1, offset)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_reader_that_does_not_come_back_in_time_loses_the_partition_and_its_commit_names_it() {
    let world = world(2).await;
    let producer = world.client.producer().build().await.unwrap();
    for partition in 0..2u32 {
        producer.send(Record::new("events").value("work").partition(partition)).await.unwrap();
    }
    let mut first = Member::join(member(&world.client).rebalance_timeout(Duration::from_millis(50))).await;
    poll(&mut first.consumer, 2).await;
    let mut second = Member::join(member(&world.client)).await;
    assert_eq!(poll(&mut second.consumer, 1).await, [(1, 0)]);
    let error = first.consumer.commit().await.unwrap_err();
    assert_eq!((error.code(), error.outcome()), (Some(ErrorCode::NotAssigned), Outcome::Refused));
    let ConsumeError::Commit(CommitError { partitions, .. }) = error else { panic!("{error}") };
    let failed: Vec<_> =
        partitions.iter().map(|failed| (failed.topic_partition.to_string(), failed.offset.value())).collect();
    assert_eq!(failed, [("events/1".to_owned(), 1)]);
    let committed = async || {
        let offsets = world.client.admin().describe_group("g").await.unwrap().offsets;
        offsets.iter().map(|committed| (committed.partition.value(), committed.offset.value())).collect::<Vec<_>>()
    };
    assert_eq!(committed().await, [(0, 1), (1, 0)], "the rest of the commit was done");
    second.consumer.commit().await.unwrap();
    first.consumer.commit().await.unwrap(); // The failure is reported once.
    assert_eq!(committed().await, [(0, 1), (1, 1)]);
}
