//! Fetches of offsets, epochs, partitions and limits that make no sense.

use super::raw::*;
use super::{assert_serving, started, topic_of};
use grower_broker::{Broker, BrokerConfig};
use grower_protocol::ids::{LeaderEpoch, PartitionId, TopicId, TopicName};
use grower_protocol::message::*;
use grower_storage::disk::MemDisk;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::DuplexStream;

#[tokio::test] // Hostile input 34.
async fn offsets_outside_the_log_are_refused_with_its_bounds() {
    let broker = started().await;
    let (mut client, topic) = topic_of(&broker).await;
    client.produce(topic, Acks::All, &batch(&["one"])).await.unwrap();
    for offset in [2, i64::MAX as u64] {
        let (parts, _) = client.fetch(fetch_from(topic, offset)).await;
        let refused = parts[0].clone().unwrap_err();
        assert_eq!(refused.code, ErrorCode::OffsetOutOfRange);
        assert!(refused.detail.contains("outside 0..1"), "{refused}");
    }
}

#[tokio::test] // Hostile input 35.
async fn extreme_fetch_limits_are_served_within_the_brokers_own() {
    let broker = started().await;
    let (mut client, topic) = topic_of(&broker).await;
    client.produce(topic, Acks::All, &batch(&["one"])).await.unwrap();
    for max_bytes in [0, u32::MAX] {
        let mut fetch = Fetch { max_bytes, ..fetch_from(topic, 0) };
        fetch.partitions[0].max_bytes = max_bytes;
        assert_eq!(values(client.fetch(fetch).await.1), ["one"]);
    }
    let nothing = Fetch { max_wait_ms: u32::MAX, partitions: Vec::new(), ..fetch_from(topic, 0) };
    assert!(client.fetch(nothing).await.0.is_empty(), "a fetch of nothing waits for nothing");
}

#[tokio::test] // Hostile input 35.
async fn a_flood_of_fetches_that_wait_for_ever_leaves_the_broker_serving() {
    let broker = started().await;
    let (mut client, topic) = topic_of(&broker).await;
    for _ in 0..50 {
        let mut waiting = Raw::open(broker.connect()).await;
        let fetch = Fetch { max_wait_ms: u32::MAX, min_bytes: u32::MAX, ..fetch_from(topic, 0) };
        for _ in 0..200 {
            waiting.send(&Request::Fetch(fetch.clone()), &[]).await;
        }
    }
    client.produce(topic, Acks::All, &batch(&["served"])).await.unwrap();
    assert_serving(&broker).await;
    tokio::time::timeout(Duration::from_secs(20), broker.stop())
        .await
        .expect("waiting fetches do not hold up a stop")
        .unwrap();
}

#[tokio::test] // Hostile input 36.
async fn leader_epochs_that_are_not_the_current_one_are_told_apart() {
    let disk = Arc::new(MemDisk::default());
    let started = || Broker::builder(BrokerConfig::at("/grower")).disk(disk.clone()).start();
    let broker = started().await.unwrap();
    let (mut client, topic) = topic_of(&broker).await;
    client.produce(topic, Acks::All, &batch(&["one"])).await.unwrap();
    let before = epoch_of(&mut client).await;
    broker.stop().await.unwrap();

    let broker = started().await.unwrap();
    let mut client = Raw::open(broker.connect()).await;
    let current = epoch_of(&mut client).await;
    assert!(before < current, "a start begins a new epoch");
    for (epoch, told) in [
        (before, Err(ErrorCode::FencedLeaderEpoch)),
        (current, Ok(())),
        (LeaderEpoch::new(900), Err(ErrorCode::UnknownLeaderEpoch)),
    ] {
        let mut fetch = fetch_from(topic, 0);
        fetch.partitions[0].leader_epoch = Some(epoch);
        let (parts, _) = client.fetch(fetch).await;
        assert_eq!(parts[0].clone().map(|_| ()).map_err(|refused| refused.code), told, "epoch {epoch}");
    }
}

/// The partition of `topic_of`.
async fn epoch_of(client: &mut Raw<DuplexStream>) -> LeaderEpoch {
    let topics = Some(vec![TopicName::new("events").unwrap()]);
    let described = client.ask(&Request::DescribeTopics { topics, segments: false }).await;
    let Response::DescribeTopics(topics) = described else { panic!("{described:?}") };
    topics[0].clone().unwrap().partitions[0].leader_epoch
}

#[tokio::test]
async fn unknown_topics_and_partitions_are_told_apart() {
    let broker = started().await;
    let (mut client, topic) = topic_of(&broker).await;
    let mut fetch = fetch_from(topic, 0);
    fetch.partitions[0].partition = PartitionId::new(u32::MAX);
    let (parts, _) = client.fetch(fetch).await;
    assert_eq!(parts[0].clone().unwrap_err().code, ErrorCode::UnknownPartition);
    let (parts, _) = client.fetch(fetch_from(TopicId::from_bytes([7; 16]), 0)).await;
    assert_eq!(parts[0].clone().unwrap_err().code, ErrorCode::UnknownTopicId);
}
