//! Well-formed hostile requests. Each gets a typed answer, and the broker keeps serving.
//!
//! # Where each hostile input is tested
//!
//! | hostile input | test |
//! | --- | --- |
//! | frame length -1, 0, the largest, limit + 1 | `hostile_wire`: `impossible_frame_lengths_close_the_connection` |
//! | a length, then silence; a byte at a time | `hostile_wire`: `a_length_followed_by_silence_is_given_up`; here: `a_frame_that_trickles_in_is_given_up` |
//! | half-close within a frame | `hostile_wire`: `a_half_closed_frame_ends_the_connection` |
//! | TLS or HTTP on the data port | here: `a_tls_client_is_turned_away`; `hostile_wire`: `a_browser_on_the_data_port_is_told_the_http_port` |
//! | unknown request or version | `hostile_wire`: `a_message_that_cannot_be_decoded_closes_the_connection`, `a_client_of_another_age_learns_which_versions_there_are` |
//! | correlation id used again | `hostile_wire`: `a_correlation_id_may_be_used_again` |
//! | array count 2^60; millions of tiny items | `hostile_wire`: `a_message_that_cannot_be_decoded_closes_the_connection`; here: `half_a_million_names_in_one_request_are_harmless` |
//! | varints too long, or longer than needed; lengths below 0, beyond the end; NUL; not UTF-8 | `grower-protocol`: `varint.rs`, `no_forged_content_makes_a_walk_panic`; here: `invalid_texts_close_the_connection` |
//! | the same topic or partition twice | `hostile_wire`: `a_partition_named_twice_in_one_request_stores_nothing`; here: `a_partition_named_twice_is_read_twice_and_committed_once`; `metadata/image/tests.rs` |
//! | 10,000 requests, no answer read | `slow_peers`: `ten_thousand_unread_answers_cost_one_connection` |
//! | answers taken a byte now and then | `slow_peers`: `a_peer_that_reads_too_slowly_is_closed_and_one_that_keeps_reading_is_not`; `listener/outbox/tests.rs` |
//! | batch: CRC, length, count, magic, codec, control bit, bomb | `hostile_wire`: `an_invalid_batch_is_refused_with_its_reason_and_stores_nothing` |
//! | a compressed stream that ends early | here: `a_compressed_stream_that_ends_early_is_refused_or_lacks_no_record` |
//! | batch: overlapping deltas, a million headers that are not there | `grower-protocol/src/batch/tests.rs` |
//! | timestamps at the ends of time | here: `timestamps_at_the_ends_of_time_neither_hide_nor_keep_records`, `a_record_from_the_future_is_kept_within_the_limit_and_one_from_the_past_drops_no_other` |
//! | a compressed stream within another | here: `a_stream_within_a_stream_is_not_unpacked_twice` |
//! | sequence gaps, wrap, old epoch, unknown producer | `hostile_wire`: `sequences_out_of_order_and_old_epochs_are_refused`, `an_unallocated_producer_id_is_refused`; `grower-storage/src/producers/tests` |
//! | fences: 100,000 partitions, epochs that go back or are too large, unknown producer | `fences` |
//! | many headers, an empty key, no value | here: `odd_but_sound_records_come_back_as_they_are` |
//! | batch over the limit; a batch each for very many partitions | `hostile_wire`: `a_batch_over_the_topics_limit_is_refused_and_one_at_the_limit_is_not`; here: `one_request_may_fill_ten_thousand_partitions_with_batches_at_the_limit` |
//! | fetch offsets outside the log, extreme limits, endless waits, epochs | `hostile_wire`: `offsets_outside_the_log_are_refused_with_its_bounds` and the three after it |
//! | offsets by an impossible time | here: `impossible_times_find_the_nearest_record` |
//! | many members join; large metadata; fenced, foreign, static members; offsets past the end | `group/state/tests/hostile.rs`, `group/state/tests/offsets.rs`, `groups`: `endless_joins_meet_the_limit_before_memory_ends` |
//! | a text beyond the limit with an offset | here: `a_text_too_long_for_an_offset_is_refused_and_one_of_a_hundred_mebibytes_closes_the_connection` |
//! | members that join and leave without end | here: `a_storm_of_joins_and_leaves_takes_nothing_from_other_members` |
//! | names, partition counts, configs that cannot be | `hostile_wire`: `invalid_topics_are_refused_with_the_reason`; `grower-protocol/src/ids/names.rs` |
//! | config file: unknown, wrong, twice, mark, link, endless | `config/settings/tests.rs` |
//! | port taken, directory locked, impossible, or another's | `daemon` |
//! | a read-only file system, an unreadable directory, no free inode | `hostile_directory` |
//! | a file system of a network, or in memory | `grower-storage/src/disk/file_system.rs`, `daemon`: `a_temporary_file_system_is_warned_of` |
//! | command line: closed input and output, endless lines, escapes in names | `grower-cli/tests/lines.rs`, `grower-cli/src/output/escape.rs` |
//! | files: any length, bit or place wrong; leftovers | `hostile_disk`, `grower-storage/tests/corruption`, `grower-storage/tests/recovery` |
//! | a partition of another format, owner or kind | `hostile_partition` |
//! | HTTP: slow, large, contradictory, rebound; paths that lead elsewhere | `http/tests.rs` |
//! | unforeseen input | `cargo xtask fuzz`, whose corpus `xtask/fuzz/tests/corpus.rs` replays |

mod support {
    pub mod raw;
}

use bytes::Bytes;
use grower_broker::{Broker, BrokerConfig, Clock};
use grower_protocol::batch::{BatchBuilder, BatchReader, HEADER_LENGTH, Header, Record, crc32c};
use grower_protocol::compression::{Codec, compress};
use grower_protocol::ids::{GroupId, MemberEpoch, MemberId, Offset, PartitionId, Timestamp, TopicId, TopicName};
use grower_protocol::message::*;
use grower_protocol::wire::{Correlation, encode, encode_frame};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use support::raw::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

async fn started() -> Broker {
    let config = BrokerConfig {
        handshake_timeout: Duration::from_millis(200),
        frame_timeout: Duration::from_millis(200),
        ..BrokerConfig::at("/grower")
    };
    in_memory_with(config).start().await.unwrap()
}

async fn assert_serving(broker: &Broker) {
    let mut client = Raw::open(broker.connect()).await;
    assert!(matches!(client.ask(&Request::InitProducer(InitProducer::default())).await, Response::InitProducer(_)));
}

#[tokio::test] // Hostile input 3.
async fn a_frame_that_trickles_in_is_given_up() {
    let broker = started().await;
    let mut client = Raw::open(broker.connect()).await;
    client.stream.write_all(&1_000u32.to_be_bytes()).await.unwrap();
    // The broker gives a frame its time as a whole: a byte now and then buys no more of it.
    while client.stream.write_all(&[0]).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_serving(&broker).await;
}

#[tokio::test] // Hostile input 6.
async fn a_tls_client_is_turned_away() {
    let broker = started().await;
    let mut stream = broker.connect();
    let hello = [0x16, 3, 1, 0, 0xa5, 1, 0, 0, 0xa1, 3, 3, 0x5a, 0x5a];
    stream.write_all(&hello).await.unwrap();
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    assert_eq!(closed.expect("in time").unwrap(), 0, "{answer:?}");
    assert_serving(&broker).await;
}

#[tokio::test] // Hostile input 11.
async fn half_a_million_names_in_one_request_are_harmless() {
    let broker = started().await;
    let topics = Some(vec![TopicName::new("a").unwrap(); 500_000]);
    for request in [
        Request::DescribeTopics { topics: topics.clone(), segments: true },
        Request::Metadata(Metadata { topics, create_missing: false }),
    ] {
        let mut client = Raw::open(broker.connect()).await;
        let Response::Failed(refused) = client.ask(&request).await else { panic!("so much is refused") };
        assert_eq!(refused.code, ErrorCode::InvalidRequest);
        assert!(refused.detail.contains("ask in parts"), "{refused}");
        assert_serving(&broker).await;
    }
}

#[tokio::test] // Hostile input 13.
async fn invalid_texts_close_the_connection() {
    let broker = started().await;
    // Requests to delete a topic: a name of 200 bytes that are not there, one that is not UTF-8, one with a path.
    for message in [vec![14, 200, b'a'], vec![14, 2, 0xc3, 0x28], vec![14, 4, b'.', b'.', b'/', b'x']] {
        let mut client = Raw::open(broker.connect()).await;
        client.send_message(&message, &[]).await;
        assert!(client.receive().await.is_none(), "{message:?}");
    }
    assert_serving(&broker).await;
}

#[tokio::test] // Hostile input 15.
async fn a_partition_named_twice_is_read_twice_and_committed_once() {
    let broker = started().await;
    let mut client = Raw::open(broker.connect()).await;
    let topic = client.create_topic("events", 1, &[]).await;
    client.produce(topic, Acks::All, &batch(&["one"])).await.unwrap();
    let mut fetch = fetch_from(topic, 0);
    fetch.partitions.push(fetch.partitions[0]);
    let (parts, records) = client.fetch(fetch).await;
    assert_eq!((parts.len(), values(records)), (2, vec!["one".to_owned(); 2]));
    let commit = |offset| OffsetToCommit {
        topic,
        partition: PARTITION,
        offset: Offset::new(offset),
        leader_epoch: None,
        metadata: String::new(),
    };
    let group = GroupId::new("g").unwrap();
    let commits = OffsetCommit {
        group: group.clone(),
        committer: CommitterIdentity::Anonymous,
        sequence: 0,
        offsets: vec![commit(0), commit(1)],
    };
    let committed = client.ask(&Request::CommitOffsets(commits)).await;
    let Response::CommitOffsets(parts) = committed else { panic!("{committed:?}") };
    assert_eq!(parts[0], Ok(()));
    assert_eq!(parts[1].clone().unwrap_err().code, ErrorCode::InvalidRequest);
    let Response::FetchOffsets(stored) = client.ask(&Request::FetchOffsets { group, partitions: None }).await else {
        panic!("offsets are fetched")
    };
    assert_eq!(stored.iter().map(|stored| stored.offset.value()).collect::<Vec<_>>(), [0]);
}

/// One record as a batch of its own.
fn batch_with(codec: Codec, record: &Record) -> bytes::BytesMut {
    let mut builder = BatchBuilder::new(codec);
    builder.push(record);
    builder.build(None)
}

#[tokio::test] // Hostile input 25.
async fn timestamps_at_the_ends_of_time_neither_hide_nor_keep_records() {
    let broker = started().await;
    let mut client = Raw::open(broker.connect()).await;
    let topic = client.create_topic("events", 1, &[("retention.ms", "-1")]).await;
    let tomorrow = now().plus_millis(3 * 24 * 60 * 60 * 1_000);
    for late in [Timestamp::MAX, tomorrow] {
        let refused = client.produce(topic, Acks::All, &batch_at(late)).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidTimestamp, "{refused}");
    }
    client.produce(topic, Acks::All, &batch_at(Timestamp::MIN)).await.unwrap();
    client.produce(topic, Acks::All, &batch_at(now())).await.unwrap();
    let found = client.list_offset(topic, OffsetSpec::AtOrAfter(Timestamp::from_millis(0))).await.unwrap();
    assert_eq!(found.offset, Some(Offset::new(1)));
    assert_eq!(client.values(topic, 0).await.len(), 2);
}

#[tokio::test] // Hostile input 41.
async fn a_text_too_long_for_an_offset_is_refused_and_one_of_a_hundred_mebibytes_closes_the_connection() {
    let broker = started().await;
    let mut client = Raw::open(broker.connect()).await;
    let topic = client.create_topic("events", 1, &[]).await;
    let commit = |text: usize| {
        let wish = OffsetToCommit {
            topic,
            partition: PARTITION,
            offset: Offset::new(0),
            leader_epoch: None,
            metadata: "x".repeat(text),
        };
        let group = GroupId::new("g").unwrap();
        Request::CommitOffsets(OffsetCommit {
            group,
            committer: CommitterIdentity::Anonymous,
            sequence: 0,
            offsets: vec![wish],
        })
    };
    for (text, told) in [(4_097, Err(ErrorCode::TooLarge)), (4_096, Ok(()))] {
        let Response::CommitOffsets(parts) = client.ask(&commit(text)).await else { panic!("it is answered") };
        assert_eq!(parts[0].clone().map_err(|refused| refused.code), told, "{text} bytes");
    }
    let frame = encode_frame(Correlation(1), &encode(&commit(99 << 20)), 0);
    let sent = client.stream.write_all(&frame).await;
    assert!(sent.is_err(), "it is not received to its end");
    assert!(client.receive().await.is_none());
    assert_serving(&broker).await;
}

/// A clock that goes when it is told to.
struct Hands(AtomicI64);

const START: i64 = 1_700_000_000_000;

impl Clock for Hands {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis((self.0.load(Ordering::Relaxed) - START).unsigned_abs())
    }
}

const MINUTE: i64 = 60_000;

#[tokio::test] // Hostile input 25.
async fn a_record_from_the_future_is_kept_within_the_limit_and_one_from_the_past_drops_no_other() {
    let clock = Arc::new(Hands(AtomicI64::new(START)));
    let config = BrokerConfig { retention_check: Duration::from_millis(10), ..BrokerConfig::at("/grower") };
    let broker = in_memory_with(config).clock(clock.clone()).start().await.unwrap();
    let mut client = Raw::open(broker.connect()).await;
    let start = clock.wall();
    let pairs = ("segment.messages", "2");
    let early = client.create_topic("early", 1, &[pairs, ("retention.ms", "1h")]).await;
    for timestamp in [start, start.plus_millis(59 * MINUTE as u64), start, start] {
        client.produce(early, Acks::All, &batch_at(timestamp)).await.unwrap();
    }
    let aged = client.create_topic("aged", 1, &[pairs, ("retention.ms", "3h")]).await;
    for timestamp in [Timestamp::MIN, start, Timestamp::MIN, Timestamp::MIN] {
        client.produce(aged, Acks::All, &batch_at(timestamp)).await.unwrap();
    }
    let marks = client.create_topic("marks", 1, &[("retention.ms", "1h")]).await;

    clock.0.fetch_add(61 * MINUTE, Ordering::Relaxed);
    // Between the looks that find the second and the third of these lies a whole one, and it began after the hour.
    for end in 1..=3 {
        client.produce(marks, Acks::All, &batch_at(Timestamp::MIN)).await.unwrap();
        until_begins_at(&mut client, marks, end).await;
    }
    assert_eq!(client.values(early, 0).await.len(), 4, "the early record keeps its segment and those behind it");
    clock.0.fetch_add(59 * MINUTE, Ordering::Relaxed);
    until_begins_at(&mut client, early, 4).await;
    assert_eq!(client.values(aged, 0).await.len(), 4, "a fresh record keeps the old ones around it");
}

fn batch_at(timestamp: Timestamp) -> bytes::BytesMut {
    batch_with(Codec::None, &Record { timestamp, value: Some("x".into()), ..Record::default() })
}

async fn until_begins_at(client: &mut Raw<DuplexStream>, topic: TopicId, offset: u64) {
    let begins = async {
        while client.list_offset(topic, OffsetSpec::Beginning).await.unwrap().offset != Some(Offset::new(offset)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), begins).await.expect("in its time everything goes");
}

#[tokio::test] // Hostile input 39.
async fn impossible_times_find_the_nearest_record() {
    let broker = started().await;
    let mut client = Raw::open(broker.connect()).await;
    let topic = client.create_topic("events", 1, &[]).await;
    client.produce(topic, Acks::All, &batch(&["one"])).await.unwrap();
    for (time, offset) in [(-3, Some(0)), (i64::MIN, Some(0)), (i64::MAX, None)] {
        let found = client.list_offset(topic, OffsetSpec::AtOrAfter(Timestamp::from_millis(time))).await.unwrap();
        assert_eq!(found.offset.map(Offset::value), offset, "{time}");
    }
}

/// The batch with the length and the CRC that its bytes ask for.
fn resealed(mut batch: Vec<u8>) -> Vec<u8> {
    let length = (batch.len() - 12) as u32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

#[tokio::test] // Hostile input 27.
async fn a_stream_within_a_stream_is_not_unpacked_twice() {
    let broker = started().await;
    let mut client = Raw::open(broker.connect()).await;
    let topic = client.create_topic("events", 1, &[]).await;
    let inner = batch(&["x"]);
    let mut nested = inner[..HEADER_LENGTH].to_vec();
    nested[22] = Codec::Zstd.id();
    nested.extend(compress(Codec::Zstd, &compress(Codec::Gzip, &inner[HEADER_LENGTH..])));
    let refused = client.produce(topic, Acks::All, &resealed(nested)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidRecord, "{refused}");
    assert!(client.values(topic, 0).await.is_empty());
}

#[tokio::test] // Hostile input 28.
async fn a_compressed_stream_that_ends_early_is_refused_or_lacks_no_record() {
    let broker = started().await;
    let mut client = Raw::open(broker.connect()).await;
    let topic = client.create_topic("events", 1, &[]).await;
    let texts = ["x".repeat(1_000), "y".to_owned()];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let whole = batch_of(codec, &texts.each_ref().map(String::as_str), None);
        for length in HEADER_LENGTH..whole.len() {
            match client.produce(topic, Acks::All, &resealed(whole[..length].to_vec())).await {
                Err(refused) => assert_eq!(refused.code, ErrorCode::InvalidRecord, "{codec}, {length}: {refused}"),
                // Nothing is cut off but the mark of the end.
                Ok(produced) => assert_eq!(client.values(topic, produced.base_offset.value()).await, texts, "{codec}"),
            }
        }
    }
}

#[tokio::test] // Hostile input 32.
async fn odd_but_sound_records_come_back_as_they_are() {
    let broker = started().await;
    let mut client = Raw::open(broker.connect()).await;
    let topic = client.create_topic("events", 1, &[]).await;
    let header = Header { name: Bytes::new(), value: None };
    let record = Record { timestamp: now(), key: Some(Bytes::new()), value: None, headers: vec![header; 100_000] };
    client.produce(topic, Acks::All, &batch_with(Codec::None, &record)).await.unwrap();
    let (_, records) = client.fetch(fetch_from(topic, 0)).await;
    let read = BatchReader::new(records).next().unwrap().unwrap().records(1 << 20).unwrap().next().unwrap().unwrap();
    assert_eq!((read.key, read.value, read.headers.len()), (Some(Bytes::new()), None, 100_000));
}

#[tokio::test] // Hostile input 33.
async fn one_request_may_fill_ten_thousand_partitions_with_batches_at_the_limit() {
    const PARTITIONS: u32 = 10_000;
    let broker = in_memory().start().await.unwrap(); // A frame of 40 MB takes its time.
    let mut client = Raw::open(broker.connect()).await;
    let records = batch(&["x".repeat(4_000).as_str()]);
    let limit = records.len().to_string();
    let topic = client.create_topic("events", PARTITIONS, &[("max.message.bytes", &limit)]).await;
    let length = records.len() as u32;
    let partitions =
        (0..PARTITIONS).map(|n| ProducePartition { topic, partition: PartitionId::new(n), length, expected_end: None });
    let request = Produce { acks: Acks::All, timeout_ms: 60_000, partitions: partitions.collect() };
    let (response, _) = client.ask_with(&Request::Produce(request), &records.repeat(PARTITIONS as usize)).await;
    let Response::Produce(parts) = response else { panic!("{response:?}") };
    assert!(parts.len() == PARTITIONS as usize && parts.iter().all(Result::is_ok));
    let mut last = fetch_from(topic, 0);
    last.partitions[0].partition = PartitionId::new(PARTITIONS - 1);
    assert_eq!(values(client.fetch(last).await.1).len(), 1);
}

fn beat(member: &str, epoch: MemberEpoch, owned: Vec<TopicPartitions>) -> Request {
    Request::Heartbeat(Heartbeat {
        group: GroupId::new("g").unwrap(),
        member: MemberId::new(member).unwrap(),
        epoch,
        topics: vec![TopicName::new("events").unwrap()],
        owned,
        session_timeout_ms: 600_000,
        rebalance_timeout_ms: 600_000,
        assignor: None,
        instance: None,
        max_wait_ms: 0,
    })
}

#[tokio::test] // Hostile input 49.
async fn a_storm_of_joins_and_leaves_takes_nothing_from_other_members() {
    let broker = started().await;
    let mut client = Raw::open(broker.connect()).await;
    client.create_topic("events", 3, &[]).await;
    let (mut epoch, mut owned) = (MemberEpoch::default(), Vec::new());
    for round in 0..200 {
        let Response::Heartbeat(answer) = client.ask(&beat("stays", epoch, owned)).await else {
            panic!("who stays is never thrown out, round {round}")
        };
        (epoch, owned) = (answer.epoch, answer.assignment);
        let guest = format!("guest-{round}");
        let joined = client.ask(&beat(&guest, MemberEpoch::default(), Vec::new())).await;
        assert!(matches!(joined, Response::Heartbeat(_)), "{joined:?}");
        let (group, member) = (GroupId::new("g").unwrap(), MemberId::new(&guest).unwrap());
        assert_eq!(client.ask(&Request::LeaveGroup { group, member }).await, Response::Done);
    }
    for _ in 0..3 {
        let Response::Heartbeat(answer) = client.ask(&beat("stays", epoch, owned)).await else { panic!("it stays") };
        (epoch, owned) = (answer.epoch, answer.assignment);
    }
    assert_eq!(owned.iter().map(|topic| topic.partitions.len()).sum::<usize>(), 3, "all partitions are its own again");
    assert_serving(&broker).await;
}
