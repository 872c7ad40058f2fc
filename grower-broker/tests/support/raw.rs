//! A client that sends exactly the bytes of a test.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use bytes::{Bytes, BytesMut};
use grower_broker::{Broker, BrokerBuilder, BrokerConfig, MemLogs};
use grower_protocol::batch::{BatchBuilder, BatchReader, ProducerStamp, Record};
use grower_protocol::compression::Codec;
use grower_protocol::ids::{
    GroupId, MemberEpoch, MemberId, Offset, PartitionId, ProducerId, Timestamp, TopicId, TopicName,
};
use grower_protocol::message::*;
use grower_protocol::wire::{Correlation, FrameDecoder, PREFACE_LENGTH, Preface, decode, encode, encode_frame};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub const PARTITION: PartitionId = PartitionId::new(0);

/// A broker on real files, which also runs on a nearly full disk.
pub fn config_at(dir: &Path) -> BrokerConfig {
    BrokerConfig { disk_reserve_bytes: Some(1 << 20), ..BrokerConfig::at(dir) }
}

/// Copies a directory with all that it holds.
pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A heartbeat of a member that reads `events` and holds nothing; its session outlasts every test.
pub fn heartbeat(group: GroupId, member: MemberId, epoch: MemberEpoch) -> Heartbeat {
    Heartbeat {
        group,
        member,
        epoch,
        topics: vec![TopicName::new("events").unwrap()],
        owned: Vec::new(),
        session_timeout_ms: 600_000,
        rebalance_timeout_ms: 600_000,
        assignor: None,
        instance: None,
        max_wait_ms: 0,
    }
}

/// A connection that has exchanged prefaces.
pub struct Raw<S> {
    pub stream: S,
    unread: BytesMut,
    next: u32,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    pub async fn open(stream: S) -> Self {
        Self::try_open(stream).await.unwrap()
    }

    /// The same where the broker may hang up.
    pub async fn try_open(mut stream: S) -> std::io::Result<Self> {
        stream.write_all(&Preface::OURS.encode()).await?;
        let mut theirs = [0; PREFACE_LENGTH];
        stream.read_exact(&mut theirs).await?;
        assert_eq!(Preface::decode(theirs).unwrap(), Preface::OURS);
        Ok(Self { stream, unread: BytesMut::new(), next: 0 })
    }

    /// Asks and waits for the answer to just that.
    pub async fn ask(&mut self, request: &Request) -> Response {
        self.ask_with(request, &[]).await.0
    }

    pub async fn ask_with(&mut self, request: &Request, attachment: &[u8]) -> (Response, Bytes) {
        let asked = self.send(request, attachment).await;
        let (answered, response, records) = self.receive().await.expect("the broker answers");
        assert_eq!(answered, asked);
        (response, records)
    }

    pub async fn send(&mut self, request: &Request, attachment: &[u8]) -> Correlation {
        self.send_message(&encode(request), attachment).await
    }

    pub async fn send_message(&mut self, message: &[u8], attachment: &[u8]) -> Correlation {
        self.next += 1;
        let correlation = Correlation(self.next);
        let mut frame = encode_frame(correlation, message, attachment.len());
        frame.extend_from_slice(attachment);
        self.stream.write_all(&frame).await.unwrap();
        correlation
    }

    /// The next answer; none once the broker has closed the connection.
    pub async fn receive(&mut self) -> Option<(Correlation, Response, Bytes)> {
        let decoder = FrameDecoder::new(64 << 20);
        loop {
            if let Some(frame) = decoder.next_frame(&mut self.unread).unwrap() {
                return Some((frame.correlation, decode(&frame.message).unwrap(), frame.attachment.freeze()));
            }
            if self.stream.read_buf(&mut self.unread).await.ok()? == 0 {
                return None;
            }
        }
    }

    pub async fn create_topic(&mut self, name: &str, partitions: u32, configs: &[(&str, &str)]) -> TopicId {
        let topic = NewTopic {
            name: TopicName::new(name).unwrap(),
            partitions: Some(partitions),
            replication_factor: None,
            configs: configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        };
        match self.ask(&Request::CreateTopics { topics: vec![topic] }).await {
            Response::CreateTopics(created) => created[0].clone().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// A new id of an idempotent producer.
    pub async fn producer_id(&mut self) -> ProducerId {
        match self.ask(&Request::InitProducer(InitProducer::default())).await {
            Response::InitProducer(identity) => identity.id,
            other => panic!("{other:?}"),
        }
    }

    pub async fn produce(&mut self, topic: TopicId, acks: Acks, batch: &[u8]) -> Part<Produced> {
        let partition =
            ProducePartition { topic, partition: PARTITION, length: batch.len() as u32, expected_end: None };
        let request = Produce { acks, timeout_ms: 1_000, partitions: vec![partition] };
        match self.ask_with(&Request::Produce(request), batch).await.0 {
            Response::Produce(parts) => parts[0].clone(),
            Response::Failed(failure) => Err(failure),
            other => panic!("{other:?}"),
        }
    }

    pub async fn fetch(&mut self, fetch: Fetch) -> (Vec<Part<FetchedRecords>>, Bytes) {
        match self.ask_with(&Request::Fetch(fetch), &[]).await {
            (Response::Fetch(answer), records) => (fetched_records(answer), records),
            other => panic!("{other:?}"),
        }
    }

    /// All values from `offset` on, without waiting.
    pub async fn values(&mut self, topic: TopicId, offset: u64) -> Vec<String> {
        let (parts, records) = self.fetch(fetch_from(topic, offset)).await;
        parts[0].clone().unwrap();
        values(records)
    }

    pub async fn list_offset(&mut self, topic: TopicId, spec: OffsetSpec) -> Part<ListedOffset> {
        let wanted = ListOffset { topic, partition: PARTITION, spec };
        match self.ask(&Request::ListOffsets(ListOffsets { partitions: vec![wanted] })).await {
            Response::ListOffsets(parts) => parts[0].clone(),
            other => panic!("{other:?}"),
        }
    }
}

/// The records of each partition.
pub fn fetched_records(answer: FetchAnswer) -> Vec<Part<FetchedRecords>> {
    let records = |fetched| match fetched {
        FetchedPartition::Records(records) => records,
        FetchedPartition::Diverged(divergence) => panic!("{divergence:?}"),
    };
    answer.partitions.into_iter().map(|part| part.map(records)).collect()
}

/// A broker that leaves nothing behind.
pub fn in_memory() -> BrokerBuilder {
    in_memory_with(BrokerConfig::at("/grower"))
}

pub fn in_memory_with(config: BrokerConfig) -> BrokerBuilder {
    Broker::builder(config).disk(Arc::new(grower_storage::disk::MemDisk::default())).logs(Arc::new(MemLogs))
}

pub fn fetch_from(topic: TopicId, offset: u64) -> Fetch {
    let partition = FetchPartition {
        topic,
        partition: PARTITION,
        offset: Offset::new(offset),
        max_bytes: 1 << 20,
        leader_epoch: None,
        last_epoch: None,
    };
    Fetch { max_wait_ms: 0, min_bytes: 1, max_bytes: 1 << 20, partitions: vec![partition] }
}

pub fn now() -> Timestamp {
    grower_broker::Clock::wall(&grower_broker::SystemClock)
}

pub fn batch(values: &[&str]) -> BytesMut {
    batch_of(Codec::None, values, None)
}

pub fn batch_of(codec: Codec, values: &[&str], producer: Option<ProducerStamp>) -> BytesMut {
    let mut builder = BatchBuilder::new(codec);
    for value in values {
        let value = Some(Bytes::copy_from_slice(value.as_bytes()));
        builder.push(&Record { timestamp: now(), value, ..Record::default() });
    }
    builder.build(producer)
}

pub fn values(records: Bytes) -> Vec<String> {
    let batches = BatchReader::new(records).map(Result::unwrap);
    let records = batches.flat_map(|batch| batch.records(1 << 24).unwrap().map(Result::unwrap).collect::<Vec<_>>());
    records.map(|record| String::from_utf8(record.value.unwrap_or_default().to_vec()).unwrap()).collect()
}
