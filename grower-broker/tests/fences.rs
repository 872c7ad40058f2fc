//! After a fence each batch of an earlier epoch of the producer is in the log or never will be.

mod support {
    pub mod raw;
}

use grower_broker::Broker;
use grower_protocol::batch::ProducerStamp;
use grower_protocol::compression::Codec;
use grower_protocol::ids::{
    LastWritten, Offset, PartitionId, ProducerEpoch, ProducerId, ProducerIdentity, Sequence, TopicId,
};
use grower_protocol::message::*;
use support::raw::*;
use tokio::io::DuplexStream;

async fn connect(broker: &Broker) -> Raw<DuplexStream> {
    Raw::open(broker.connect()).await
}

fn identity(id: ProducerId, epoch: u16) -> ProducerIdentity {
    ProducerIdentity { id, epoch: ProducerEpoch::new(epoch) }
}

async fn fence(
    client: &mut Raw<DuplexStream>,
    producer: ProducerIdentity,
    partitions: Vec<(TopicId, PartitionId)>,
) -> Vec<Part<ProducerFence>> {
    match client.ask(&Request::FenceProducer(FenceProducer { producer, partitions })).await {
        Response::FenceProducer(parts) => parts,
        other => panic!("{other:?}"),
    }
}

async fn send(
    client: &mut Raw<DuplexStream>,
    topic: TopicId,
    producer: ProducerIdentity,
    sequence: i32,
) -> Part<Produced> {
    let stamp = ProducerStamp { id: producer.id, epoch: producer.epoch, base_sequence: Sequence::from_wire(sequence) };
    let value = format!("{}.{sequence}", producer.epoch);
    client.produce(topic, Acks::All, &batch_of(Codec::None, &[&value], Some(stamp))).await
}

#[tokio::test]
async fn a_fence_tells_the_last_record_and_refuses_earlier_epochs_on_every_connection() {
    let broker = in_memory().start().await.unwrap();
    let (mut client, mut other) = (connect(&broker).await, connect(&broker).await);
    let topic = client.create_topic("events", 1, &[]).await;
    let id = client.producer_id().await;
    send(&mut client, topic, identity(id, 0), 0).await.unwrap();
    send(&mut client, topic, identity(id, 0), 1).await.unwrap();

    let fenced = fence(&mut client, identity(id, 1), vec![(topic, PARTITION)]).await;
    let sequence = Sequence::from_wire(1).unwrap();
    let last = LastWritten { producer: identity(id, 0), sequence, offset: Offset::new(1) };
    assert_eq!(fenced, [Ok(ProducerFence { last: Some(last) })]);

    let late = send(&mut other, topic, identity(id, 0), 2).await.unwrap_err();
    assert_eq!(late.code, ErrorCode::FencedProducer, "{late}");
    let retry = send(&mut other, topic, identity(id, 0), 1).await.unwrap();
    assert_eq!((retry.base_offset, retry.durability), (Offset::new(1), Durability::Fsynced));
    assert_eq!(send(&mut other, topic, identity(id, 1), 2).await.unwrap().base_offset, Offset::new(2));
    assert_eq!(client.values(topic, 0).await, ["0.0", "0.1", "1.2"]);
}

#[tokio::test]
async fn each_partition_of_a_fence_succeeds_or_fails_alone() {
    let broker = in_memory().start().await.unwrap();
    let mut client = connect(&broker).await;
    let (topic, ahead) = (client.create_topic("a", 2, &[]).await, client.create_topic("b", 1, &[]).await);
    let id = client.producer_id().await;
    fence(&mut client, identity(id, 5), vec![(ahead, PARTITION)]).await[0].clone().unwrap();

    let targets = [(topic, 1), (topic, 2), (TopicId::from_random([9; 16]), 0), (ahead, 0), (topic, 0), (topic, 0)];
    let targets = targets.map(|(topic, partition)| (topic, PartitionId::new(partition)));
    let parts = fence(&mut client, identity(id, 4), targets.to_vec()).await;
    let codes = parts.iter().map(|part| part.as_ref().err().map(|failure| failure.code)).collect::<Vec<_>>();
    let (no_partition, no_topic) = (ErrorCode::UnknownPartition, ErrorCode::UnknownTopicId);
    let expected = [None, Some(no_partition), Some(no_topic), Some(ErrorCode::FencedProducer), None, None];
    assert_eq!(codes, expected, "{parts:?}");
}

#[tokio::test]
async fn a_fence_is_refused_where_a_batch_would_be() {
    let broker = in_memory().start().await.unwrap();
    let mut client = connect(&broker).await;
    let topic = client.create_topic("events", 1, &[]).await;
    let never = ProducerId::new(1 << 40);
    let failure = fence(&mut client, identity(never, 1), vec![(topic, PARTITION)]).await[0].clone().unwrap_err();
    assert_eq!(failure.code, ErrorCode::FencedProducer);
    assert!(failure.detail.contains("never allocated"), "{failure}");

    let id = client.producer_id().await;
    let request = FenceProducer { producer: identity(id, u16::MAX), partitions: vec![(topic, PARTITION)] };
    let Response::Failed(failure) = client.ask(&Request::FenceProducer(request)).await else {
        panic!("no batch can have such an epoch")
    };
    assert_eq!(failure.code, ErrorCode::InvalidRequest);
    send(&mut client, topic, identity(id, 0), 0).await.unwrap();
}

#[tokio::test]
async fn a_fence_survives_a_clean_restart_no_worse_than_its_connections() {
    let dir = tempfile::tempdir().unwrap();
    let start = async || Broker::builder(config_at(dir.path())).start().await.unwrap();
    let broker = start().await;
    let mut client = connect(&broker).await;
    let topic = client.create_topic("events", 1, &[]).await;
    let id = client.producer_id().await;
    send(&mut client, topic, identity(id, 0), 0).await.unwrap();
    let before = fence(&mut client, identity(id, 1), vec![(topic, PARTITION)]).await;
    broker.stop().await.unwrap();

    let broker = start().await;
    let mut client = connect(&broker).await;
    assert_eq!(fence(&mut client, identity(id, 1), vec![(topic, PARTITION)]).await, before);
    assert_eq!(send(&mut client, topic, identity(id, 0), 0).await.unwrap().base_offset, Offset::ZERO);
    assert_eq!(send(&mut client, topic, identity(id, 1), 1).await.unwrap().base_offset, Offset::new(1));
    assert_eq!(client.values(topic, 0).await, ["0.0", "1.1"]);
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn a_fence_of_all_partitions_that_a_cluster_may_have_is_answered_and_one_of_more_is_refused() {
    let broker = in_memory().start().await.unwrap();
    let mut client = connect(&broker).await;
    let topic = client.create_topic("events", 3, &[]).await;
    let id = client.producer_id().await;
    let partitions = |count: u32| (0..count).map(|n| (topic, PartitionId::new(n % 4))).collect::<Vec<_>>();
    let parts = fence(&mut client, identity(id, 1), partitions(100_000)).await;
    let fenced = parts.iter().filter(|part| part.is_ok()).count();
    assert_eq!((parts.len(), fenced), (100_000, 75_000));
    let request = FenceProducer { producer: identity(id, 2), partitions: partitions(100_001) };
    let Response::Failed(failure) = client.ask(&Request::FenceProducer(request)).await else { panic!("it is refused") };
    assert_eq!(failure.code, ErrorCode::InvalidRequest);
    send(&mut client, topic, identity(id, 1), 0).await.unwrap();
}
