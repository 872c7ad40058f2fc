//! Members of a group share partitions, with a real broker.

mod world;

use grower_client::ids::Offset;
use grower_client::{Client, ErrorCode, Partitioner, Record, StartFrom, TopicSpec};
use std::time::Duration;
use world::{Gate, LONG, Member, World, numbered, poll, read, topic_partition};

#[tokio::test]
async fn uncommitted_records_are_read_by_the_next_owner() {
    let world = World::start().await;
    world.topic("rainbow", TopicSpec::partitions(3)).await;
    let producer = world.client.producer().partitioner(Partitioner::RoundRobin).batch_records(1).build().await.unwrap();
    for number in 0..18 {
        producer.send(Record::new("rainbow").value(format!("Hello, Kitty {number}!"))).await.unwrap();
    }
    let member = || {
        let timeout = Duration::from_secs(1);
        world.client.consumer().group("g").subscribe(["rainbow"]).max_poll_records(3).session_timeout(timeout)
    };
    let mut first = Member::join(member()).await;
    first.owns(&[0, 1, 2]).await;
    let mut second = Member::join(member()).await;
    first.owns(&[0, 1]).await;
    second.owns(&[2]).await;

    let before = poll(&mut first.consumer, 3).await;
    first.consumer.commit().await.unwrap();
    poll(&mut first.consumer, 3).await; // Read but not committed.
    drop(first); // As if its process was killed.
    second.owns(&[0, 1, 2]).await;
    let mut after = poll(&mut second.consumer, 15).await;
    after.extend(&before);
    after.sort_unstable();
    let all: Vec<(u32, u64)> = (0..3).flat_map(|partition| (0..6).map(move |offset| (partition, offset))).collect();
    assert_eq!(after, all);
}

#[tokio::test]
async fn a_leaving_member_frees_its_partitions_at_once() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(2)).await;
    let member = || world.client.consumer().group("g").subscribe(["events"]).auto_commit(Some(LONG));
    let mut first = Member::join(member()).await;
    let mut second = Member::join(member()).await;
    first.owns(&[0]).await;
    second.owns(&[1]).await;
    world.produce("events", numbered(0..5)).await;
    assert_eq!(poll(&mut first.consumer, 5).await.len(), 5);
    first.consumer.close().await.unwrap();
    assert!(first.consumer.next().await.is_none());
    second.owns(&[0, 1]).await;
    world.produce("events", numbered(5..6)).await;
    assert_eq!(poll(&mut second.consumer, 1).await, [(0, 5)]);
}

#[tokio::test]
async fn a_group_waits_for_topics_and_reads_new_partitions_from_their_beginning() {
    let world = World::start().await;
    let from = StartFrom::End;
    let consumer =
        world.client.consumer().group("g").subscribe(["sandbox"]).from(from).session_timeout(Duration::from_secs(1));
    let mut member = Member::join(consumer).await;
    member.owns(&[]).await;
    world.topic("sandbox", TopicSpec::partitions(1)).await;
    member.owns(&[0]).await;
    let producer = world.client.producer().build().await.unwrap();
    world.client.admin().grow_topic("sandbox", 2).await.unwrap();
    producer.send(Record::new("sandbox").value("b").partition(1)).await.unwrap();
    assert_eq!(poll(&mut member.consumer, 1).await, [(1, 0)]);
}

#[tokio::test]
async fn an_empty_group_can_be_reset() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(1)).await;
    world.produce("events", numbered(0..10)).await;
    let admin = world.client.admin();
    let mut consumer = world.client.consumer().group("g").subscribe(["events"]).build().await.unwrap();
    assert_eq!(poll(&mut consumer, 10).await.len(), 10);
    consumer.commit().await.unwrap();
    let error = admin.reset_group("g", [("events", 0, Offset::ZERO)]).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::GroupNotEmpty));
    consumer.close().await.unwrap();
    admin.reset_group("g", [("events", 0, Offset::new(7))]).await.unwrap();
    let mut consumer = world.client.consumer().group("g").subscribe(["events"]).build().await.unwrap();
    assert_eq!(read(&mut consumer, 3).await, numbered(7..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn all_groups_are_listed_across_pages() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(1)).await;
    let admin = world.client.admin();
    let all: Vec<String> = (0..1_001).map(|number| format!("group-{number:04}")).collect();
    for group in &all {
        admin.reset_group(group, [("events", 0, Offset::ZERO)]).await.unwrap();
    }
    for (most, expected) in [(usize::MAX, &all[..]), (3, &all[..3])] {
        let listed = admin.list_groups(most).await.unwrap();
        assert_eq!(listed.iter().map(|group| group.group.to_string()).collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn a_disconnected_member_stops_reading() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(2)).await;
    let gate = Gate::open();
    let cut_off = gate.client(&world).await;
    let member =
        |client: &Client| client.consumer().group("g").subscribe(["events"]).session_timeout(Duration::from_secs(1));
    let mut first = Member::join(member(&cut_off)).await;
    let second = Member::join(member(&world.client)).await;
    first.owns(&[0]).await;
    second.owns(&[1]).await;
    world.produce("events", numbered(0..10)).await;
    assert_eq!(read(&mut first.consumer, 1).await, ["record 0"]);

    gate.close();
    first.owns(&[]).await;
    assert!(
        first.consumer.poll(Duration::from_millis(1)).await.unwrap().is_empty(),
        "what was fetched is not handed out"
    );
    second.owns(&[0, 1]).await;
    let error = first.consumer.commit_offsets([(topic_partition("events", 0), Offset::new(1))]).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NotAssigned), "{error}");

    gate.reopen();
    second.owns(&[0]).await;
    first.owns(&[1]).await;
}

#[tokio::test]
async fn the_start_of_a_group_is_decided_once_even_if_nothing_is_read() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(1)).await;
    world.produce("events", numbered(0..5)).await;
    let group = || world.client.consumer().group("g").subscribe(["events"]);
    let mut first = group().from(StartFrom::End).build().await.unwrap();
    while world.client.admin().list_committed_offsets("g").await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    first.close().await.unwrap();
    world.produce("events", numbered(5..6)).await;
    for from in [StartFrom::End, StartFrom::Committed, StartFrom::Beginning] {
        let mut next = group().from(from).build().await.unwrap();
        assert_eq!(read(&mut next, 1).await, ["record 5"], "{from:?}");
        next.close().await.unwrap();
    }
    let alone = world.client.consumer().group("g").assign([("events", 0)]).from(StartFrom::End);
    assert_eq!(read(&mut alone.build().await.unwrap(), 1).await, ["record 5"]);
}

#[tokio::test]
async fn a_partition_added_while_its_member_hangs_is_read_from_its_first_record() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(1)).await;
    world.produce("events", numbered(0..5)).await;
    let gate = Gate::open();
    let through_the_gate = gate.client(&world).await;
    let session = Duration::from_secs(1);
    let member = |client: &Client| {
        client.consumer().group("g").subscribe(["events"]).from(StartFrom::End).session_timeout(session)
    };
    let hangs = member(&through_the_gate).build().await.unwrap();
    while world.client.admin().list_committed_offsets("g").await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    gate.close();
    world.client.admin().grow_topic("events", 2).await.unwrap();
    let producer = world.client.producer().build().await.unwrap();
    producer.send(Record::new("events").value("in the new one").partition(1)).await.unwrap();
    let mut next = member(&world.client).build().await.unwrap();
    assert_eq!(read(&mut next, 1).await, ["in the new one"]);
    drop(hangs);
}
