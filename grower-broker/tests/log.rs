//! Produce, fetch and lookups, byte by byte over an in-process connection.

mod support {
    pub mod raw;
}

use grower_broker::Broker;
use grower_protocol::batch::ProducerStamp;
use grower_protocol::compression::Codec;
use grower_protocol::ids::{Offset, ProducerEpoch, Sequence};
use grower_protocol::message::*;
use std::time::Duration;
use support::raw::*;
use tokio::io::DuplexStream;

async fn started() -> (Broker, Raw<DuplexStream>) {
    let broker = in_memory().start().await.unwrap();
    let client = Raw::open(broker.connect()).await;
    (broker, client)
}

#[tokio::test]
async fn an_acknowledged_record_can_be_read_at_its_offset() {
    let (_broker, mut client) = started().await;
    let topic = client.create_topic("events", 1, &[]).await;
    for (acks, durability) in [(Acks::All, Durability::Fsynced), (Acks::Leader, Durability::Written)] {
        let produced = client.produce(topic, acks, &batch(&["one", "two"])).await.unwrap();
        assert_eq!(produced.durability, durability);
    }
    let produced = client.produce(topic, Acks::All, &batch(&["three"])).await.unwrap();
    assert_eq!(produced.base_offset, Offset::new(4));
    assert_eq!(client.values(topic, 0).await, ["one", "two", "one", "two", "three"]);
    assert_eq!(
        client.values(topic, 3).await,
        ["one", "two", "three"],
        "it begins with the batch that holds the offset"
    );
    assert!(client.values(topic, 5).await.is_empty());
}

#[tokio::test]
async fn every_ack_under_flush_os_says_so() {
    let (_broker, mut client) = started().await;
    let topic = client.create_topic("events", 1, &[("flush", "os")]).await;
    let produced = client.produce(topic, Acks::All, &batch(&["one"])).await.unwrap();
    assert_eq!(produced.durability, Durability::Written);
    assert_eq!(client.values(topic, 0).await, ["one"]);
}

#[tokio::test]
async fn acks_none_has_no_answer_and_is_flushed_all_the_same() {
    let (_broker, mut client) = started().await;
    let topic = client.create_topic("events", 1, &[]).await;
    let records = batch(&["quiet"]);
    let partition = ProducePartition { topic, partition: PARTITION, length: records.len() as u32, expected_end: None };
    let produce = Produce { acks: Acks::None, timeout_ms: 0, partitions: vec![partition] };
    client.send(&Request::Produce(produce), &records).await;
    let wait = Fetch { max_wait_ms: 10_000, ..fetch_from(topic, 0) };
    let (_, records) = client.fetch(wait).await;
    assert_eq!(values(records), ["quiet"]);
}

#[tokio::test]
async fn a_fetch_waits_for_records_and_no_longer_than_it_says() {
    let (broker, mut client) = started().await;
    let topic = client.create_topic("events", 1, &[]).await;
    let (parts, records) = client.fetch(Fetch { max_wait_ms: 50, ..fetch_from(topic, 0) }).await;
    assert!(records.is_empty() && parts[0].is_ok());
    let mut reader = Raw::open(broker.connect()).await;
    let waiting = tokio::spawn(async move {
        let (_, records) = reader.fetch(Fetch { max_wait_ms: 60_000, ..fetch_from(topic, 0) }).await;
        values(records)
    });
    tokio::task::yield_now().await;
    client.produce(topic, Acks::All, &batch(&["worth waiting for"])).await.unwrap();
    let read = tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap().unwrap();
    assert_eq!(read, ["worth waiting for"]);
}

#[tokio::test]
async fn a_fetch_waits_until_there_are_enough_bytes() {
    let (broker, mut client) = started().await;
    let topic = client.create_topic("events", 1, &[]).await;
    let one = batch(&["0123456789"]);
    let min_bytes = one.len() as u32 * 2;
    let mut reader = Raw::open(broker.connect()).await;
    let waiting = tokio::spawn(async move {
        let fetch = Fetch { max_wait_ms: 60_000, min_bytes, ..fetch_from(topic, 0) };
        values(reader.fetch(fetch).await.1).len()
    });
    for _ in 0..2 {
        client.produce(topic, Acks::All, &batch(&["0123456789"])).await.unwrap();
    }
    assert_eq!(tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn the_first_batch_is_sent_even_if_it_alone_passes_the_limit() {
    let (_broker, mut client) = started().await;
    let topic = client.create_topic("events", 1, &[]).await;
    for value in ["first", "second"] {
        client.produce(topic, Acks::All, &batch(&[value])).await.unwrap();
    }
    let mut fetch = fetch_from(topic, 0);
    fetch.max_bytes = 1;
    fetch.partitions[0].max_bytes = 1;
    assert_eq!(values(client.fetch(fetch).await.1), ["first"]);
}

#[tokio::test]
async fn a_retried_batch_gets_its_first_offset_and_is_stored_once() {
    let (_broker, mut client) = started().await;
    let topic = client.create_topic("events", 1, &[]).await;
    let id = client.producer_id().await;
    let stamp = |sequence| {
        let base_sequence = Sequence::from_wire(sequence);
        Some(ProducerStamp { id, epoch: ProducerEpoch::new(0), base_sequence })
    };
    let batches = [0, 1, 2].map(|sequence| batch_of(Codec::None, &["x"], stamp(sequence)));
    for (offset, batch) in batches.iter().enumerate() {
        let produced = client.produce(topic, Acks::All, batch).await.unwrap();
        assert_eq!(produced.base_offset, Offset::new(offset as u64));
    }
    let again = client.produce(topic, Acks::All, &batches[1]).await.unwrap();
    assert_eq!(again.base_offset, Offset::new(1));
    let gap = client.produce(topic, Acks::All, &batch_of(Codec::None, &["x"], stamp(7))).await.unwrap_err();
    assert_eq!(gap.code, ErrorCode::OutOfOrderSequence);
    assert_eq!(client.values(topic, 0).await.len(), 3);
}

#[tokio::test]
async fn offsets_are_found_by_position_and_by_time() {
    let (_broker, mut client) = started().await;
    let topic = client.create_topic("events", 1, &[]).await;
    let empty = client.list_offset(topic, OffsetSpec::Latest).await.unwrap();
    assert_eq!(empty, ListedOffset { offset: None, timestamp: None });
    let before = now();
    for value in ["one", "two"] {
        client.produce(topic, Acks::All, &batch(&[value])).await.unwrap();
    }
    for (spec, offset) in [
        (OffsetSpec::Beginning, Some(0)),
        (OffsetSpec::End, Some(2)),
        (OffsetSpec::AtOrAfter(before), Some(0)),
        (OffsetSpec::AtOrAfter(now().plus_millis(60_000)), None),
    ] {
        let listed = client.list_offset(topic, spec).await.unwrap();
        assert_eq!(listed.offset, offset.map(Offset::new), "{spec:?}");
    }
    let latest = client.list_offset(topic, OffsetSpec::Latest).await.unwrap();
    assert!(latest.timestamp.unwrap() >= before);
}

#[tokio::test]
async fn records_are_the_same_however_they_get_into_the_socket() {
    use grower_broker::config::{BrokerConfig, ZeroCopy};
    let dir = tempfile::tempdir().unwrap();
    let sent: Vec<String> = (0..30).map(|number| format!("{number} {}", "x".repeat(20_000))).collect();
    for fetch_zero_copy in [ZeroCopy::Always, ZeroCopy::Never] {
        let listen = Some("127.0.0.1:0".parse().unwrap());
        let config =
            BrokerConfig { listen, fetch_zero_copy, disk_reserve_bytes: Some(1 << 20), ..BrokerConfig::at(dir.path()) };
        let broker = Broker::start(config).await.unwrap();
        let socket = tokio::net::TcpStream::connect(broker.listen_address().unwrap()).await.unwrap();
        let mut client = Raw::open(socket).await;
        let topic = client.create_topic(&format!("events-{fetch_zero_copy:?}"), 1, &[]).await;
        for value in &sent {
            client.produce(topic, Acks::Leader, &batch(&[value])).await.unwrap();
        }
        client.produce(topic, Acks::All, &batch(&["last"])).await.unwrap();
        let values = client.values(topic, 0).await;
        assert_eq!(values[..sent.len()], sent);
        broker.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_quiet_partition_writes_its_durable_end() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(config_at(dir.path())).await.unwrap();
    let mut client = Raw::open(broker.connect()).await;
    let topic = client.create_topic("events", 1, &[]).await;
    client.produce(topic, Acks::All, &batch(&["one"])).await.unwrap();
    let checkpoint = dir.path().join("topics/events/0/checkpoint");
    let written = async {
        while !checkpoint.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await
        }
    };
    tokio::time::timeout(Duration::from_secs(20), written).await.unwrap();
    drop(broker); // As a crash would.
}

#[tokio::test]
async fn a_deleted_topic_is_gone_and_its_namesake_starts_empty() {
    let (_broker, mut client) = started().await;
    let old = client.create_topic("events", 1, &[]).await;
    client.produce(old, Acks::All, &batch(&["old"])).await.unwrap();
    let name = grower_protocol::ids::TopicName::new("events").unwrap();
    assert_eq!(client.ask(&Request::DeleteTopic(name)).await, Response::Done);
    let refused = client.produce(old, Acks::All, &batch(&["late"])).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::UnknownTopicId);
    let new = client.create_topic("events", 1, &[]).await;
    assert!(client.values(new, 0).await.is_empty());
}

#[tokio::test]
async fn a_waiting_fetch_is_answered_when_its_topic_is_deleted() {
    let (broker, mut client) = started().await;
    let topic = client.create_topic("events", 1, &[]).await;
    let mut reader = Raw::open(broker.connect()).await;
    reader.send(&Request::Fetch(Fetch { max_wait_ms: 60_000, ..fetch_from(topic, 0) }), &[]).await;
    let name = grower_protocol::ids::TopicName::new("events").unwrap();
    client.ask(&Request::DeleteTopic(name)).await;
    let answer = tokio::time::timeout(Duration::from_secs(30), reader.receive()).await.unwrap().unwrap();
    let Response::Fetch(answer) = answer.1 else { panic!("{answer:?}") };
    assert_eq!(answer.partitions[0].clone().unwrap_err().code, ErrorCode::UnknownTopicId);
}

#[tokio::test]
async fn one_bad_partition_does_not_fail_the_others() {
    let (_broker, mut client) = started().await;
    let topic = client.create_topic("events", 1, &[]).await;
    let records = batch(&["good"]);
    let length = records.len() as u32;
    let missing = grower_protocol::ids::PartitionId::new(7);
    let partitions = [missing, PARTITION]
        .map(|partition| ProducePartition { topic, partition, length, expected_end: None })
        .to_vec();
    let request = Request::Produce(Produce { acks: Acks::All, timeout_ms: 0, partitions });
    let (response, _) = client.ask_with(&request, &[&records[..], &records[..]].concat()).await;
    let Response::Produce(parts) = response else { panic!("{response:?}") };
    assert_eq!(parts[0].clone().unwrap_err().code, ErrorCode::UnknownPartition);
    assert_eq!(parts[1].clone().unwrap().base_offset, Offset::ZERO);
}

#[tokio::test]
async fn answers_come_out_of_order_when_one_has_to_wait() {
    let (_broker, mut client) = started().await;
    let topic = client.create_topic("events", 1, &[]).await;
    let slow = client.send(&Request::Fetch(Fetch { max_wait_ms: 60_000, ..fetch_from(topic, 0) }), &[]).await;
    let quick = client.send(&Request::InitProducer(InitProducer::default()), &[]).await;
    assert_eq!(client.receive().await.unwrap().0, quick);
    let records = batch(&["now"]);
    let partition = ProducePartition { topic, partition: PARTITION, length: records.len() as u32, expected_end: None };
    let produce = Produce { acks: Acks::All, timeout_ms: 0, partitions: vec![partition] };
    let produced = client.send(&Request::Produce(produce), &records).await;
    let mut answered = [client.receive().await.unwrap().0, client.receive().await.unwrap().0];
    answered.sort();
    assert_eq!(answered, [slow, produced]);
}
