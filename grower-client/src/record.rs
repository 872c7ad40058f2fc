//! The records that producers send and consumers receive.

use bytes::Bytes;
use grower_protocol::batch::{Header, RecordRef, RecordView};
use grower_protocol::ids::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicName};
use grower_protocol::message::Durability;
use std::sync::Arc;

pub use grower_protocol::ids::TopicPartition;

/// A record to send.
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
    /// Creates a record for `topic` without key and value.
    pub fn new(topic: impl Into<Arc<str>>) -> Self {
        let topic = topic.into();
        Self { topic, partition: None, timestamp: None, key: None, value: None, headers: Vec::new() }
    }

    /// Sets the key. Records with the same key go to the same partition, in order.
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets the value. A record without a value is a tombstone for its key.
    pub fn value(mut self, value: impl Into<Bytes>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// Adds a header; names may repeat.
    pub fn header(mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header { name: name.into(), value: Some(value.into()) });
        self
    }

    /// Sets the partition, which otherwise the producer's partitioner chooses.
    pub fn partition(mut self, partition: impl Into<PartitionId>) -> Self {
        self.partition = Some(partition.into());
        self
    }

    /// Sets the timestamp; the default is the time at which the producer gets the record.
    pub fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// The record as batches store it, with this timestamp.
    pub(crate) fn at(&self, timestamp: Timestamp) -> RecordRef<'_> {
        RecordRef { timestamp, key: self.key.as_deref(), value: self.value.as_deref(), headers: &self.headers }
    }
}

/// The broker's acknowledgement of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionId,
    /// The record's offset; `None` with acks `none`.
    pub offset: Option<Offset>,
    /// The record's timestamp.
    pub timestamp: Timestamp,
    /// The durability that the record has. Lower than requested if the topic sets `flush=os`.
    pub durability: Durability,
}

/// A record as a consumer receives it. Key, value and headers are slices of the broker's answer: keeping one record
/// keeps the whole answer in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionId,
    /// The offset in the partition.
    pub offset: Offset,
    /// The leader epoch under which the record was written.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The time of the record: its creation or its append, depending on the topic.
    pub timestamp: Timestamp,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// The headers, in order; names may repeat.
    pub headers: Vec<Header>,
}

impl ConsumerRecord {
    pub(crate) fn new(topic_partition: &TopicPartition, leader_epoch: Option<LeaderEpoch>, view: RecordView) -> Self {
        let RecordView { offset, timestamp, key, value, headers } = view;
        let (topic, partition) = (topic_partition.topic.clone(), topic_partition.partition);
        Self { topic, partition, offset, leader_epoch, timestamp, key, value, headers }
    }
}
