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

    /// Adds a header without a value, which readers tell apart from one with an empty value.
    pub fn header_without_value(mut self, name: impl Into<Bytes>) -> Self {
        self.headers.push(Header { name: name.into(), value: None });
        self
    }

    /// Adds headers, with and without values, in order.
    pub fn headers(mut self, headers: impl IntoIterator<Item = Header>) -> Self {
        self.headers.extend(headers);
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
    /// Creates a record for `topic` with the same key, value, headers and timestamp. The producer chooses its partition,
    /// unless [`Record::partition`] sets it.
    ///
    /// The copy shares the memory of this record. Its timestamp is old: retention by time counts from it, so a topic
    /// with a `retention.ms` below its age deletes it at once. [`Record::timestamp`] sets another one.
    ///
    /// ```
    /// # fn copy(record: &grower_client::ConsumerRecord) -> grower_client::Record {
    /// record.to_record("archive").partition(record.partition).header("copied-from", record.topic.to_string())
    /// # }
    /// ```
    pub fn to_record(&self, topic: impl Into<Arc<str>>) -> Record {
        let Self { key, value, headers, timestamp, .. } = self.clone();
        Record { topic: topic.into(), partition: None, timestamp: Some(timestamp), key, value, headers }
    }

    /// Returns the last header with this name; its value may be absent. [`ConsumerRecord::headers`] has all of them.
    pub fn header(&self, name: impl AsRef<[u8]>) -> Option<&Header> {
        self.headers.iter().rev().find(|header| header.name == name.as_ref())
    }

    /// Returns the partition together with its topic.
    pub fn topic_partition(&self) -> TopicPartition {
        TopicPartition { topic: self.topic.clone(), partition: self.partition }
    }

    pub(crate) fn new(topic_partition: &TopicPartition, leader_epoch: Option<LeaderEpoch>, view: RecordView) -> Self {
        let RecordView { offset, timestamp, key, value, headers } = view;
        let (topic, partition) = (topic_partition.topic.clone(), topic_partition.partition);
        Self { topic, partition, offset, leader_epoch, timestamp, key, value, headers }
    }
}
