//! State that goes back in time: a restored backup, an older copy of the metadata, a rolled-back data directory.
//! Clients still hold producer ids and leader epochs of the lost time, so none of them is used again.

mod support {
    pub(crate) mod raw;
}

use grower_broker::Broker;
use grower_broker::offline::backups;
use grower_protocol::batch::ProducerStamp;
use grower_protocol::compression::Codec;
use grower_protocol::ids::*;
use grower_protocol::message::*;
use std::fs;
use std::path::Path;
use support::raw::*;
use tokio::io::DuplexStream;

async fn start(dir: &Path) -> (Broker, Raw<DuplexStream>) {
    let broker = Broker::start(config_at(dir)).await.unwrap();
    let client = Raw::open(broker.connect()).await;
    (broker, client)
}

/// A new data directory with one topic, whose broker has stopped.
async fn with_topic(dir: &Path) -> TopicId {
    let (broker, mut client) = start(dir).await;
    let topic = client.create_topic("events", 1, &[]).await;
    broker.stop().await.unwrap();
    topic
}

async fn send(client: &mut Raw<DuplexStream>, topic: TopicId, id: ProducerId, sequence: u32, value: &str) {
    let base_sequence = Some(Sequence::ZERO.wrapping_add(sequence));
    let stamp = ProducerStamp { id, epoch: ProducerEpoch::new(0), base_sequence };
    client.produce(topic, Acks::All, &batch_of(Codec::None, &[value], Some(stamp))).await.unwrap();
}

async fn leader_epoch(client: &mut Raw<DuplexStream>) -> LeaderEpoch {
    leader_epochs(client).await[0]
}

/// One for each partition.
async fn leader_epochs(client: &mut Raw<DuplexStream>) -> Vec<LeaderEpoch> {
    let asked = Metadata { topics: Some(vec![TopicName::new("events").unwrap()]), create_missing: false };
    let Response::Metadata(answer) = client.ask(&Request::Metadata(asked)).await else { panic!("no metadata") };
    answer.topics[0].as_ref().unwrap().partitions.iter().map(|partition| partition.leader_epoch).collect()
}

#[tokio::test]
async fn no_later_producer_gets_the_id_of_one_that_outlives_a_restore() {
    let root = tempfile::tempdir().unwrap();
    let (data, saved, restored) = (root.path().join("data"), root.path().join("backups"), root.path().join("restored"));
    let topic = with_topic(&data).await;
    backups::backup(&data, &saved, false, |_| true).unwrap();
    let (broker, mut client) = start(&data).await;
    let survivor = client.producer_id().await;
    send(&mut client, topic, survivor, 0, "survivor 0").await;
    broker.stop().await.unwrap();

    backups::restore(&saved, &restored, |_| {}).unwrap();
    let (broker, mut client) = start(&restored).await;
    let newcomer = client.producer_id().await;
    assert!(survivor < newcomer, "{survivor} {newcomer}");
    send(&mut client, topic, newcomer, 0, "newcomer 0").await;
    send(&mut client, topic, newcomer, 1, "newcomer 1").await;
    let base_sequence = Some(Sequence::ZERO.wrapping_add(1));
    let stamp = ProducerStamp { id: survivor, epoch: ProducerEpoch::new(0), base_sequence };
    let batch = batch_of(Codec::None, &["survivor 1"], Some(stamp));
    let refused = client.produce(topic, Acks::All, &batch).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::OutOfOrderSequence, "it is no retry, and the batch before it is missing");
    send(&mut client, topic, survivor, 0, "survivor 0").await;
    let mut stored = Vec::new();
    while stored.len() < 3 {
        stored.extend(client.values(topic, stored.len() as u64).await);
    }
    assert_eq!(stored, ["newcomer 0", "newcomer 1", "survivor 0"]);
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn two_restores_of_one_backup_use_different_numbers() {
    let root = tempfile::tempdir().unwrap();
    let (data, saved) = (root.path().join("data"), root.path().join("backups"));
    with_topic(&data).await;
    backups::backup(&data, &saved, false, |_| true).unwrap();
    let (mut last_id, mut known_epoch) = (None, None);
    for place in ["data", "first", "second"] {
        let dir = root.path().join(place);
        if place != "data" {
            backups::restore(&saved, &dir, |_| {}).unwrap();
        }
        let (broker, mut client) = start(&dir).await;
        let id = Some(client.producer_id().await);
        assert!(last_id < id, "{last_id:?} {id:?}");
        let epoch = leader_epoch(&mut client).await;
        // Epochs rise by one with each start of the original, and leap with each restore.
        let least = known_epoch.map(|known: LeaderEpoch| known.value() + 1_000);
        assert!(least.is_none_or(|least| least < epoch.value()), "{known_epoch:?} {epoch:?}");
        (last_id, known_epoch) = (id, known_epoch.or(Some(epoch)));
        broker.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_partition_missing_from_a_backup_starts_under_a_later_epoch() {
    let root = tempfile::tempdir().unwrap();
    let (data, saved, restored) = (root.path().join("data"), root.path().join("backups"), root.path().join("restored"));
    let topic = with_topic(&data).await;
    backups::backup(&data, &saved, false, |_| true).unwrap();
    backups::restore(&saved, &restored, |_| {}).unwrap();
    let mut lost = None;
    for dir in [data, restored] {
        let (broker, mut client) = start(&dir).await;
        let grown = client.ask(&Request::GrowTopic { topic: TopicName::new("events").unwrap(), partitions: 2 }).await;
        assert_eq!(grown, Response::Done, "{topic}");
        let epochs = leader_epochs(&mut client).await;
        assert!(lost < Some(epochs[1]), "{lost:?} {epochs:?}");
        lost = Some(epochs[1]);
        broker.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_rolled_back_directory_allocates_no_producer_id_twice() {
    let root = tempfile::tempdir().unwrap();
    let (data, copied) = (root.path().join("data"), root.path().join("copied"));
    with_topic(&data).await;
    copy_dir(&data, &copied);
    let (broker, mut client) = start(&data).await;
    let survivor = client.producer_id().await;
    broker.stop().await.unwrap();
    let (broker, mut client) = start(&copied).await;
    let newcomer = client.producer_id().await;
    assert!(survivor < newcomer, "{survivor} {newcomer}");
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn older_metadata_uses_numbers_above_those_of_the_logs_and_fences_no_reader() {
    let root = tempfile::tempdir().unwrap();
    let (data, saved) = (root.path().join("data"), root.path().join("saved"));
    let topic = with_topic(&data).await;
    copy_dir(&data.join("metadata"), &saved);
    let (mut last_id, mut last_epoch) = (None, None);
    for value in ["one", "two", "three"] {
        let (broker, mut client) = start(&data).await;
        client.produce(topic, Acks::All, &batch(&[value])).await.unwrap();
        (last_id, last_epoch) = (Some(client.producer_id().await), Some(leader_epoch(&mut client).await));
        broker.stop().await.unwrap();
    }

    fs::remove_dir_all(data.join("metadata")).unwrap();
    copy_dir(&saved, &data.join("metadata"));
    for start_again in [false, true] {
        let (broker, mut client) = start(&data).await;
        let (id, epoch) = (Some(client.producer_id().await), Some(leader_epoch(&mut client).await));
        assert!(last_id < id && last_epoch < epoch, "{last_id:?} {id:?} {last_epoch:?} {epoch:?}");
        client.produce(topic, Acks::All, &batch(&["more"])).await.unwrap();
        let mut fetch = fetch_from(topic, 0);
        fetch.partitions[0].leader_epoch = epoch;
        let (parts, _) = client.fetch(fetch).await;
        assert!(parts[0].is_ok(), "start again {start_again}: {:?}", parts[0]);
        (last_id, last_epoch) = (id, epoch);
        broker.stop().await.unwrap();
    }
}

async fn claim(client: &mut Raw<DuplexStream>, holder: u64) -> ProducerIdentity {
    let (name, holder) = (ProducerName::new("shipper").ok(), ProducerHolder::new(holder));
    match client.ask(&Request::InitProducer(InitProducer { name, holder, current: None })).await {
        Response::InitProducer(identity) => identity,
        other => panic!("{other:?}"),
    }
}

async fn send_as(
    client: &mut Raw<DuplexStream>,
    topic: TopicId,
    producer: ProducerIdentity,
    sequence: u32,
) -> Part<()> {
    let base_sequence = Some(Sequence::ZERO.wrapping_add(sequence));
    let stamp = ProducerStamp { id: producer.id, epoch: producer.epoch, base_sequence };
    client.produce(topic, Acks::All, &batch_of(Codec::None, &["x"], Some(stamp))).await.map(drop)
}

#[tokio::test]
async fn after_a_restore_a_name_is_claimed_again_and_continues_after_the_records_of_the_backup() {
    let root = tempfile::tempdir().unwrap();
    let (data, saved, restored) = (root.path().join("data"), root.path().join("backups"), root.path().join("restored"));
    let topic = with_topic(&data).await;
    let (broker, mut client) = start(&data).await;
    let first = claim(&mut client, 1).await;
    send_as(&mut client, topic, first, 0).await.unwrap();
    send_as(&mut client, topic, first, 1).await.unwrap();
    broker.stop().await.unwrap();
    backups::backup(&data, &saved, false, |_| true).unwrap();
    let (broker, mut client) = start(&data).await;
    let second = claim(&mut client, 2).await;
    send_as(&mut client, topic, second, 2).await.unwrap();
    broker.stop().await.unwrap();

    backups::restore(&saved, &restored, |_| {}).unwrap();
    let (broker, mut client) = start(&restored).await;
    for before in [first, second] {
        let refused = send_as(&mut client, topic, before, 3).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::FencedProducer, "{refused}");
    }
    let third = claim(&mut client, 3).await;
    assert_ne!(third.id, first.id);
    let fence = FenceProducer { producer: third, partitions: vec![(topic, PARTITION)] };
    let Response::FenceProducer(fenced) = client.ask(&Request::FenceProducer(fence)).await else { panic!("no fence") };
    let last = fenced[0].as_ref().unwrap().last.unwrap();
    assert_eq!((last.producer, last.sequence, last.offset), (first, Sequence::ZERO.wrapping_add(1), Offset::new(1)));
    send_as(&mut client, topic, third, 2).await.unwrap();
    broker.stop().await.unwrap();
}
