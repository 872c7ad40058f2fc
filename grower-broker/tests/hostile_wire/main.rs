//! Hostile bytes on the wire. The broker keeps serving all other clients.

mod fetch_session_memory;
mod fetch_sessions;
mod fetches;
#[path = "../support/raw.rs"]
mod raw;
#[path = "../fetch_sessions/client.rs"]
mod session_client;

use grower_broker::{Broker, BrokerConfig};
use grower_protocol::batch::{BatchBuilder, ProducerStamp, Record, crc32c};
use grower_protocol::compression::Codec;
use grower_protocol::ids::{ProducerEpoch, ProducerId, Sequence, TopicId, TopicName};
use grower_protocol::message::*;
use grower_protocol::wire::{PREFACE_LENGTH, Preface};
use raw::*;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// A broker with deadlines short enough to be waited for.
async fn started() -> Broker {
    let config = BrokerConfig {
        handshake_timeout: Duration::from_millis(100),
        frame_timeout: Duration::from_millis(100),
        write_timeout: Duration::from_millis(200),
        frame_bytes_max: 1 << 20,
        fetch_bytes_max: 512 << 10,
        ..BrokerConfig::at("/grower")
    };
    in_memory_with(config).start().await.unwrap()
}

/// Checks that other clients are served.
async fn assert_serving(broker: &Broker) {
    let mut client = Raw::open(broker.connect()).await;
    assert!(matches!(client.ask(&Request::InitProducer(InitProducer::default())).await, Response::InitProducer(_)));
}

/// Sends raw bytes after the preface and expects the connection to be closed.
async fn assert_closes(broker: &Broker, bytes: &[u8]) {
    let mut client = Raw::open(broker.connect()).await;
    let _ = client.stream.write_all(bytes).await;
    let answer =
        tokio::time::timeout(Duration::from_secs(20), client.receive()).await.expect("the broker closes in time");
    assert!(answer.is_none(), "{answer:?}");
    assert_serving(broker).await;
}

async fn topic_of(broker: &Broker) -> (Raw<DuplexStream>, TopicId) {
    let mut client = Raw::open(broker.connect()).await;
    let topic = client.create_topic("events", 1, &[]).await;
    (client, topic)
}

#[tokio::test] // Hostile input 1.
async fn impossible_frame_lengths_close_the_connection() {
    let broker = started().await;
    for length in [-1i32, 0, 3, i32::MAX, (1 << 20) + 1] {
        assert_closes(&broker, &length.to_be_bytes()).await;
    }
}

#[tokio::test] // Hostile input 2.
async fn a_length_followed_by_silence_is_given_up() {
    let broker = started().await;
    assert_closes(&broker, &1_000u32.to_be_bytes()).await;
    assert_closes(&broker, &[&1_000_000u32.to_be_bytes()[..], &[0; 500]].concat()).await;
}

#[tokio::test] // Hostile input 2.
async fn a_connection_that_says_nothing_is_given_up() {
    let broker = started().await;
    let mut silent = broker.connect();
    let mut bytes = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(20), silent.read_to_end(&mut bytes)).await;
    assert_eq!(closed.expect("in time").unwrap(), 0);
}

#[tokio::test] // Hostile input 4.
async fn a_half_closed_frame_ends_the_connection() {
    let broker = started().await;
    let mut client = Raw::open(broker.connect()).await;
    client.stream.write_all(&100u32.to_be_bytes()).await.unwrap();
    client.stream.shutdown().await.unwrap();
    assert!(client.receive().await.is_none());
    assert_serving(&broker).await;
}

#[tokio::test] // Hostile input 7.
async fn a_browser_on_the_data_port_is_told_the_http_port() {
    let broker = started().await;
    let mut stream = broker.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    insta::assert_snapshot!(answer.lines().last().unwrap_or_default(), @"This is the data port of a Grower broker; HTTP is served on the --http address.");
    assert_serving(&broker).await;
}

#[tokio::test] // Hostile input 8.
async fn a_client_of_another_age_learns_which_versions_there_are() {
    let broker = started().await;
    let mut stream = broker.connect();
    stream.write_all(&Preface { highest: 900, lowest: 900 }.encode()).await.unwrap();
    let mut theirs = [0; PREFACE_LENGTH];
    stream.read_exact(&mut theirs).await.unwrap();
    assert_eq!(Preface::decode(theirs), Ok(Preface::OURS));
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "and then the connection ends");
    assert_serving(&broker).await;
}

#[tokio::test] // Hostile inputs 8, 10 and 13.
async fn a_message_that_cannot_be_decoded_closes_the_connection() {
    let broker = started().await;
    // An unknown request, a count of 2^60 items, a name with a NUL, surplus bytes, nothing at all.
    let unknown = vec![250, 1];
    let bomb = [vec![1, 1], vec![253, 0, 0, 0, 0, 0, 0, 0, 16]].concat();
    let nul = vec![14, 3, b'a', 0, b'b'];
    let surplus = vec![2, 0, 0, 0, 0];
    for message in [unknown, bomb, nul, surplus, Vec::new()] {
        let mut client = Raw::open(broker.connect()).await;
        client.send_message(&message, &[]).await;
        assert!(client.receive().await.is_none(), "{message:?}");
    }
    assert_serving(&broker).await;
}

#[tokio::test]
async fn records_before_garbage_are_synced_and_readable() {
    let broker = started().await;
    let (mut client, topic) = topic_of(&broker).await;
    let records = batch(&["before the garbage"]);
    let part = ProducePartition { topic, partition: PARTITION, length: records.len() as u32, expected_end: None };
    let produce = Request::Produce(Produce { acks: Acks::All, timeout_ms: 0, partitions: vec![part] });
    let message = grower_protocol::wire::encode(&produce);
    let correlation = grower_protocol::wire::Correlation(1);
    let mut bytes = grower_protocol::wire::encode_frame(correlation, &message, records.len());
    bytes.extend_from_slice(&records);
    bytes.extend_from_slice(&[0xff; 16]);
    client.stream.write_all(&bytes).await.unwrap(); // One write, so that both are received together.
    let mut reader = Raw::open(broker.connect()).await;
    let (_, records) = reader.fetch(Fetch { max_wait_ms: 20_000, ..fetch_from(topic, 0) }).await;
    assert_eq!(values(records), ["before the garbage"]);
}

#[tokio::test] // Hostile input 9.
async fn a_correlation_id_may_be_used_again() {
    let broker = started().await;
    let mut client = Raw::open(broker.connect()).await;
    for _ in 0..2 {
        let frame = grower_protocol::wire::encode_frame(
            grower_protocol::wire::Correlation(7),
            &grower_protocol::wire::encode(&Request::InitProducer(InitProducer::default())),
            0,
        );
        client.stream.write_all(&frame).await.unwrap();
    }
    assert_eq!(client.receive().await.unwrap().0.0, 7);
    assert_eq!(client.receive().await.unwrap().0.0, 7);
}

#[tokio::test] // Hostile input 15.
async fn a_partition_named_twice_in_one_request_stores_nothing() {
    let broker = started().await;
    let (mut client, topic) = topic_of(&broker).await;
    let records = batch(&["x"]);
    let part = ProducePartition { topic, partition: PARTITION, length: records.len() as u32, expected_end: None };
    let request = Request::Produce(Produce { acks: Acks::All, timeout_ms: 0, partitions: vec![part, part] });
    let (response, _) = client.ask_with(&request, &[&records[..], &records[..]].concat()).await;
    let Response::Failed(failure) = response else { panic!("{response:?}") };
    assert_eq!(failure.code, ErrorCode::InvalidRequest);
    assert!(client.values(topic, 0).await.is_empty());
}

#[tokio::test] // Hostile input 22.
async fn lengths_that_are_not_those_of_the_attachment_store_nothing() {
    let broker = started().await;
    let (mut client, topic) = topic_of(&broker).await;
    let records = batch(&["x"]);
    for length in [0, 1, records.len() as u32 + 1, u32::MAX] {
        let part = ProducePartition { topic, partition: PARTITION, length, expected_end: None };
        let request = Request::Produce(Produce { acks: Acks::All, timeout_ms: 0, partitions: vec![part] });
        let (response, _) = client.ask_with(&request, &records).await;
        assert!(matches!(response, Response::Failed(Failure { code: ErrorCode::InvalidRequest, .. })), "{response:?}");
    }
    assert!(client.values(topic, 0).await.is_empty());
}

#[tokio::test] // Hostile inputs 21 to 24, 26, 29 and 30.
async fn an_invalid_batch_is_refused_with_its_reason_and_stores_nothing() {
    let broker = started().await;
    let (mut client, topic) = topic_of(&broker).await;
    let forged = |at: usize, bytes: &[u8]| {
        let mut batch = batch(&["one", "two"]);
        batch[at..at + bytes.len()].copy_from_slice(bytes);
        let crc = crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        batch
    };
    let mut flipped = batch(&["x"]);
    flipped[66] ^= 1;
    let cases = [
        ("a wrong crc", flipped, ErrorCode::CorruptBatch),
        ("magic 0", forged(16, &[0]), ErrorCode::InvalidRecord),
        ("magic 1", forged(16, &[1]), ErrorCode::InvalidRecord),
        ("magic 127", forged(16, &[127]), ErrorCode::InvalidRecord),
        ("an unknown codec", forged(22, &[5]), ErrorCode::InvalidRecord),
        ("the control bit", forged(22, &[0x20]), ErrorCode::InvalidRecord),
        ("three records said, two there", forged(57, &3i32.to_be_bytes()), ErrorCode::InvalidRecord),
        ("a negative count", forged(57, &(-1i32).to_be_bytes()), ErrorCode::InvalidRecord),
        ("a length that is not the content's", forged(8, &48i32.to_be_bytes()), ErrorCode::InvalidRecord),
        ("a producer without a sequence", forged(43, &[0; 10]), ErrorCode::InvalidRecord),
        ("fewer bytes than it says", batch_of(Codec::Zstd, &["x"], None).split_to(65), ErrorCode::InvalidRecord),
    ];
    for (what, batch, code) in cases {
        let refused = client.produce(topic, Acks::All, &batch).await.unwrap_err();
        assert_eq!(refused.code, code, "{what}: {refused}");
    }
    let bomb = "0".repeat(17 << 20);
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let batch = batch_of(codec, &[&bomb], None);
        if batch.len() < 1 << 20 {
            assert_eq!(
                client.produce(topic, Acks::All, &batch).await.unwrap_err().code,
                ErrorCode::TooLarge, // A client splits what is too large, if it can.
                "{codec}"
            );
        }
    }
    assert!(client.values(topic, 0).await.is_empty());
    assert_serving(&broker).await;
}

#[tokio::test] // Hostile input 33.
async fn a_batch_over_the_topics_limit_is_refused_and_one_at_the_limit_is_not() {
    let broker = started().await;
    let mut client = Raw::open(broker.connect()).await;
    let fits = batch(&["0123456789"]);
    let limit = fits.len().to_string();
    let topic = client.create_topic("small", 1, &[("max.message.bytes", &limit)]).await;
    assert!(client.produce(topic, Acks::All, &fits).await.is_ok());
    let refused = client.produce(topic, Acks::All, &batch(&["0123456789a"])).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::TooLarge);
}

#[tokio::test]
async fn a_refusal_names_the_records_that_break_a_rule_and_the_others_are_accepted_without_them() {
    let broker = started().await;
    let mut client = Raw::open(broker.connect()).await;
    let topic = client.create_topic("compacted", 1, &[("cleanup.policy", "compact")]).await;
    let send = |keyed: &[bool]| {
        let mut builder = BatchBuilder::new(Codec::Lz4);
        for keyed in keyed {
            let (key, value) = (keyed.then(|| "k".into()), Some("v".into()));
            builder.push(&Record { timestamp: now(), key, value, ..Record::default() });
        }
        builder.build(None)
    };
    let refused = client.produce(topic, Acks::All, &send(&[true, false, false, true, false])).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidRecord);
    let ranges = [(1, 2), (4, 1)].map(|(first, count)| RecordRange { first, count });
    assert_eq!(refused.context, Some(FailureContext::Records(ranges.to_vec())));
    assert!(refused.detail.starts_with("record 1 and 2 more of the batch: no key"), "{refused}");
    client.produce(topic, Acks::All, &send(&[true, true])).await.unwrap();

    let damaged = client.produce(topic, Acks::All, &send(&[false])[..70]).await.unwrap_err();
    assert_eq!(damaged.context, None, "damage names no record");
}

#[tokio::test] // Hostile input 31.
async fn sequences_out_of_order_and_old_epochs_are_refused() {
    let broker = started().await;
    let (mut client, topic) = topic_of(&broker).await;
    let id = client.producer_id().await;
    let stamp = |epoch, sequence| {
        let base_sequence = Sequence::from_wire(sequence);
        Some(ProducerStamp { id, epoch: ProducerEpoch::new(epoch), base_sequence })
    };
    let send = |epoch, sequence| batch_of(Codec::None, &["x"], stamp(epoch, sequence));
    assert!(client.produce(topic, Acks::All, &send(1, 0)).await.is_ok());
    for (epoch, sequence, code) in [
        (1, 2, ErrorCode::OutOfOrderSequence),
        (0, 1, ErrorCode::FencedProducer),
        (2, 2, ErrorCode::OutOfOrderSequence),
    ] {
        let refused = client.produce(topic, Acks::All, &send(epoch, sequence)).await.unwrap_err();
        assert_eq!(refused.code, code, "epoch {epoch}, sequence {sequence}");
    }
    assert!(client.produce(topic, Acks::All, &send(1, 1)).await.is_ok(), "the producer itself may write");
}

#[tokio::test] // Hostile input 31.
async fn an_unallocated_producer_id_is_refused() {
    let broker = started().await;
    let (mut client, topic) = topic_of(&broker).await;
    let first_of = |id| {
        let stamp = ProducerStamp { id, epoch: ProducerEpoch::new(0), base_sequence: Some(Sequence::ZERO) };
        batch_of(Codec::None, &["x"], Some(stamp))
    };
    for id in [0, 5_000, i64::MAX as u64] {
        let refused = client.produce(topic, Acks::All, &first_of(ProducerId::new(id))).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::FencedProducer, "{refused}");
    }
    let id = client.producer_id().await;
    assert!(client.produce(topic, Acks::All, &first_of(id)).await.is_ok());
    assert_eq!(client.values(topic, 0).await.len(), 1);
}

#[tokio::test] // Hostile input 50.
async fn only_the_broker_writes_internal_topics() {
    let broker = started().await;
    let mut client = Raw::open(broker.connect()).await;
    let internal = NewTopic {
        name: TopicName::new("__consumer_offsets").unwrap(),
        partitions: None,
        replication_factor: None,
        configs: Vec::new(),
    };
    let response = client.ask(&Request::CreateTopics { topics: vec![internal] }).await;
    let Response::CreateTopics(created) = response else { panic!("{response:?}") };
    assert_eq!(created[0].clone().unwrap_err().code, ErrorCode::InvalidName);
}

#[tokio::test] // Hostile inputs 50 to 52.
async fn invalid_topics_are_refused_with_the_reason() {
    let broker = started().await;
    let (mut client, _) = topic_of(&broker).await;
    let wish = |name: &str, partitions, replication_factor, config: Option<(&str, &str)>| NewTopic {
        name: TopicName::new(name).unwrap(),
        partitions,
        replication_factor,
        configs: config.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect(),
    };
    let cases = [
        (wish("events", None, None, None), ErrorCode::TopicExists),
        (wish("EVENTS", None, None, None), ErrorCode::InvalidName),
        (wish("a", Some(0), None, None), ErrorCode::InvalidPartitions),
        (wish("a", Some(1_000_000), None, None), ErrorCode::InvalidPartitions),
        (wish("a", None, Some(2), None), ErrorCode::InvalidReplicationFactor),
        (wish("a", None, None, Some(("retention.ms", "-2"))), ErrorCode::InvalidConfig),
        (wish("a", None, None, Some(("segment.bytes", "0"))), ErrorCode::InvalidConfig),
        (wish("a", None, None, Some(("segment.bytes", "9e18"))), ErrorCode::InvalidConfig),
        (wish("a", None, None, Some(("retention.sm", "1"))), ErrorCode::InvalidConfig),
    ];
    for (topic, code) in cases {
        let response = client.ask(&Request::CreateTopics { topics: vec![topic.clone()] }).await;
        let Response::CreateTopics(created) = response else { panic!("{response:?}") };
        assert_eq!(created[0].clone().unwrap_err().code, code, "{topic:?}");
    }
}
