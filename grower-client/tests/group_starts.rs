//! The start of a group in a partition: it is decided once, and a commit stores it although nothing was read.

mod world;

use grower_client::ids::{Offset, Timestamp};
use grower_client::{ConsumerBuilder, Record, StartFrom, TopicSpec};
use std::time::Duration;
use world::{Member, World, numbered, read, topic_partition};

fn from_end(world: &World) -> ConsumerBuilder {
    let session = Duration::from_secs(1);
    world.client.consumer().group("g").subscribe(["events"]).from(StartFrom::End).session_timeout(session)
}

async fn world_with(records: u32) -> World {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(1)).await;
    world.produce("events", numbered(0..records)).await;
    world
}

#[tokio::test]
async fn a_group_that_commits_at_once_and_goes_away_gets_the_records_that_come_meanwhile() {
    let world = world_with(3).await;
    for round in 3..6 {
        let mut consumer = from_end(&world).build().await.unwrap();
        consumer.commit().await.unwrap(); // Before anything was read, or the start is even known.
        consumer.close().await.unwrap();
        world.produce("events", numbered(round..round + 1)).await;
        let mut next = from_end(&world).build().await.unwrap();
        assert_eq!(read(&mut next, 1).await, [format!("record {round}")]);
        next.commit().await.unwrap();
        next.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_group_that_commits_a_grown_partition_unread_gets_what_comes_meanwhile() {
    let world = world_with(3).await;
    let mut member = Member::join(from_end(&world)).await;
    member.owns(&[0]).await;
    world.client.admin().grow_topic("events", 2).await.unwrap();
    member.owns(&[0, 1]).await;
    member.consumer.commit().await.unwrap();
    member.consumer.close().await.unwrap();
    let producer = world.client.producer().build().await.unwrap();
    producer.send(Record::new("events").value("in the new one").partition(1)).await.unwrap();
    let mut next = from_end(&world).build().await.unwrap();
    assert_eq!(read(&mut next, 1).await, ["in the new one"]);
}

#[tokio::test]
async fn a_commit_after_a_seek_stores_the_position_although_nothing_was_read() {
    let world = world_with(5).await;
    let mut member = Member::join(from_end(&world)).await;
    member.owns(&[0]).await;
    member.consumer.seek("events", 0, Offset::new(2)).unwrap();
    member.consumer.commit().await.unwrap();
    member.consumer.close().await.unwrap();
    let mut next = from_end(&world).build().await.unwrap();
    assert_eq!(read(&mut next, 3).await, numbered(2..5).collect::<Vec<_>>());
    next.seek_to_time(Timestamp::from_millis(0)).await.unwrap();
    next.commit().await.unwrap();
    next.close().await.unwrap();
    let mut last = from_end(&world).build().await.unwrap();
    assert_eq!(read(&mut last, 5).await, numbered(0..5).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_group_without_members_stores_its_start_in_assigned_partitions() {
    let world = world_with(3).await;
    let assigned = || world.client.consumer().group("g").assign([("events", 0)]).from(StartFrom::End);
    assigned().build().await.unwrap().commit().await.unwrap();
    world.produce("events", numbered(3..4)).await;
    assert_eq!(read(&mut assigned().build().await.unwrap(), 1).await, ["record 3"]);
}

#[tokio::test]
async fn a_commit_stores_the_start_again_after_another_offset_was_committed_by_hand() {
    let world = world_with(3).await;
    let mut consumer = from_end(&world).build().await.unwrap();
    consumer.commit().await.unwrap();
    let committed = async || world.client.admin().list_committed_offsets("g").await.unwrap();
    assert_eq!(committed().await.len(), 1);
    let offsets = [(topic_partition("events", 0), Offset::new(1))];
    consumer.commit_offsets(offsets).await.unwrap();
    consumer.commit().await.unwrap();
    assert_eq!(committed().await[0].offset, Offset::new(3));
    consumer.close().await.unwrap();
}
