//! Records on their way in and out.

use bytes::Bytes;
use grower_protocol::batch::{self, Header, RecordView};
use grower_protocol::ids::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicName};
use grower_protocol::message::Durability;
use std::sync::Arc;

pub use grower_protocol::ids::TopicPartition;

/// A record to be sent.
///
/// ```
/// # use grower_client::Record;
/// let record = Record::new("events").key("k").value("v").header("trace", "17");
/// ```
#[derive(Clone, Debug)]
pub struct Record {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: Option<PartitionId>,
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<Header>,
}

impl Record {
    /// A record for `topic` with neither key nor value.
    pub fn new(topic: impl Into<Arc<str>>) -> Self {
        let topic = topic.into();
        Self { topic, partition: None, timestamp: None, key: None, value: None, headers: Vec::new() }
    }

    /// What it is about: records of one key go to one partition, in order.
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Its content. Without one it is a tombstone for its key.
    pub fn value(mut self, value: impl Into<Bytes>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// Adds a header; names may repeat.
    pub fn header(mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header { name: name.into(), value: Some(value.into()) });
        self
    }

    /// Chooses the partition instead of the producer's partitioner.
    pub fn partition(mut self, partition: impl Into<PartitionId>) -> Self {
        self.partition = Some(partition.into());
        self
    }

    /// When it happened; without it, when it is handed to the producer.
    pub fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// The form that batches take.
    pub(crate) fn into_batch_record(self, timestamp: Timestamp) -> batch::Record {
        batch::Record { timestamp, key: self.key, value: self.value, headers: self.headers }
    }
}

/// What the broker vouched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Where the record is.
    pub topic: TopicName,
    /// In which partition.
    pub partition: PartitionId,
    /// At which offset; none with acks `none`.
    pub offset: Option<Offset>,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// How safe it is. Less than was asked if the topic says `flush=os`.
    pub durability: Durability,
}

/// A record as a consumer gets it. Its bytes are slices of the answer they came in: keeping one keeps all of that answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// Where it is.
    pub topic: TopicName,
    /// In which partition.
    pub partition: PartitionId,
    /// Its position there.
    pub offset: Offset,
    /// The leadership that it was written under.
    pub leader_epoch: Option<LeaderEpoch>,
    /// When it happened, or was appended, as the topic says.
    pub timestamp: Timestamp,
    /// What it is about.
    pub key: Option<Bytes>,
    /// Its content; none is a tombstone.
    pub value: Option<Bytes>,
    /// Names with values, in order.
    pub headers: Vec<Header>,
}

impl ConsumerRecord {
    pub(crate) fn new(topic_partition: &TopicPartition, leader_epoch: Option<LeaderEpoch>, view: RecordView) -> Self {
        let RecordView { offset, timestamp, key, value, headers } = view;
        let (topic, partition) = (topic_partition.topic.clone(), topic_partition.partition);
        Self { topic, partition, offset, leader_epoch, timestamp, key, value, headers }
    }
}
