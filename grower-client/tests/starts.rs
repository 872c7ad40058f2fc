//! Where consumers start: near the end, and where a program's own positions are.

mod world;

use grower_client::ids::Offset;
use grower_client::{ConsumeError, Consumer, ConsumerBuilder, Record, StartFrom, TopicSpec};
use tokio::time::timeout;
use world::{LONG, World, numbered, topic_partition};

async fn rest(builder: ConsumerBuilder) -> Vec<(u32, u64)> {
    let mut consumer = builder.build().await.unwrap();
    let mut reading = consumer.read_to_end().await.unwrap();
    let mut read = Vec::new();
    while let Some(record) = timeout(LONG, reading.next()).await.expect("it ends") {
        let record = record.unwrap();
        read.push((record.partition.value(), record.offset.value()));
    }
    read.sort();
    read
}

/// Two partitions with ten and three records; the first one begins at offset 4.
async fn two_partitions() -> World {
    let world = World::in_memory().await;
    world.topic("events", TopicSpec::partitions(2)).await;
    let producer = world.client.producer().build().await.unwrap();
    for (partition, records) in [(0, 10), (1, 3)] {
        producer.send_all((0..records).map(|_| Record::new("events").value("x").partition(partition))).await.unwrap();
    }
    world.client.admin().trim_topic("events", [(0, Offset::new(4))]).await.unwrap();
    world
}

#[tokio::test]
async fn the_last_offsets_of_each_partition_come_first() {
    let world = two_partitions().await;
    let last = |offsets| rest(world.client.consumer().subscribe(["events"]).from(StartFrom::Last(offsets)));
    assert_eq!(last(2).await, [(0, 8), (0, 9), (1, 1), (1, 2)]);
    assert_eq!(last(0).await, []);
    let all = [(0, 4), (0, 5), (0, 6), (0, 7), (0, 8), (0, 9), (1, 0), (1, 1), (1, 2)];
    assert_eq!(last(7).await, all, "a start before the log is its beginning");
    assert_eq!(last(u64::MAX).await, all);
}

#[tokio::test]
async fn a_group_decides_once_to_start_before_the_end() {
    let world = two_partitions().await;
    let group = |offsets| world.client.consumer().group("g").subscribe(["events"]).from(StartFrom::Last(offsets));
    let mut first = group(1).build().await.unwrap();
    let positions = |consumer: &Consumer| [0, 1].map(|partition| consumer.position("events", partition));
    let known = async |consumer: &Consumer| {
        while positions(consumer).contains(&None) {
            tokio::task::yield_now().await;
        }
        positions(consumer).map(|position| position.unwrap().value())
    };
    assert_eq!(known(&first).await, [9, 2]);
    first.close().await.unwrap();
    world.produce("events", numbered(0..5)).await;
    let second = group(3).build().await.unwrap();
    assert_eq!(known(&second).await, [9, 2], "what came meanwhile is not skipped");
}

#[tokio::test]
async fn partitions_start_where_the_program_says() {
    let world = two_partitions().await;
    let starts = |starts: &[(u32, u64)]| {
        starts.iter().map(|(of, at)| (topic_partition("events", *of), Offset::new(*at))).collect::<Vec<_>>()
    };
    let reading = || world.client.consumer().subscribe(["events"]).from(StartFrom::End);
    assert_eq!(rest(reading().start_at(starts(&[(1, 1)]))).await, [(1, 1), (1, 2)]);
    let assigned = || world.client.consumer().assign([("events", 0), ("events", 1)]).from(StartFrom::Last(1));
    assert_eq!(rest(assigned().start_at(starts(&[(0, 8)]))).await, [(0, 8), (0, 9), (1, 2)]);
    assert_eq!(rest(assigned().start_at(starts(&[(0, 5), (1, 3)])).start_at(starts(&[(0, 9)]))).await, [(0, 9)]);
}

#[tokio::test]
async fn a_start_of_a_partition_that_is_not_read_is_an_error() {
    let world = two_partitions().await;
    let start = |partition| [(topic_partition("events", partition), Offset::ZERO)];
    for builder in [world.client.consumer().subscribe(["events"]), world.client.consumer().assign([("events", 0)])] {
        let error = builder.start_at(start(7)).build().await.map(drop).unwrap_err();
        assert_eq!(error.to_string(), "events/7 is not assigned to this consumer");
    }
    let member = world.client.consumer().group("g").subscribe(["events"]).start_at(start(0));
    let error = member.build().await.map(drop).unwrap_err();
    assert!(matches!(error, ConsumeError::Settings(_)), "{error}");
}

#[tokio::test]
async fn a_start_of_the_program_takes_precedence_over_a_commit() {
    let world = two_partitions().await;
    let reading = || world.client.consumer().group("g").assign([("events", 0), ("events", 1)]);
    let committing = reading().build().await.unwrap();
    let commits = [(0, 9), (1, 3)].map(|(of, at)| (topic_partition("events", of), Offset::new(at)));
    committing.commit_offsets(commits).await.unwrap();
    let start = [(topic_partition("events", 0), Offset::new(8))];
    assert_eq!(rest(reading().start_at(start)).await, [(0, 8), (0, 9)]);
}

#[tokio::test]
async fn a_start_of_the_program_leaves_the_group_s_start_in_other_partitions() {
    let world = two_partitions().await;
    for (group, from) in [("ends", StartFrom::End), ("far", StartFrom::Offset(Offset::new(9)))] {
        let reading = || world.client.consumer().group(group).from(from);
        let start = [(topic_partition("events", 1), Offset::new(2))];
        let first = reading().assign([("events", 1)]).start_at(start).build().await.unwrap();
        first.commit().await.unwrap();
        let second = reading().assign([("events", 0), ("events", 1)]).build().await.unwrap();
        let positions = [0, 1].map(|partition| second.position("events", partition).unwrap().value());
        assert_eq!(positions, [if from == StartFrom::End { 10 } else { 9 }, 2]);
    }
}
