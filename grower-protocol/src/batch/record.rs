//! One record, as producers write it and as readers receive it.

use crate::ids::{Offset, Timestamp};
use bytes::Bytes;

/// A record to put into a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The time that the producer gives the record.
    pub timestamp: Timestamp,
    /// The key. Records with the same key go to the same partition.
    pub key: Option<Bytes>,
    /// The value; none makes the record a tombstone of its key.
    pub value: Option<Bytes>,
    /// The headers in order; names may repeat.
    pub headers: Vec<Header>,
}

/// A record to put into a batch, borrowed from its owner.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    /// The time that the producer gives the record.
    pub timestamp: Timestamp,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; none makes the record a tombstone of its key.
    pub value: Option<&'a [u8]>,
    /// The headers in order.
    pub headers: &'a [Header],
}

impl<'a> From<&'a Record> for RecordRef<'a> {
    fn from(record: &'a Record) -> Self {
        let Record { timestamp, key, value, headers } = record;
        Self { timestamp: *timestamp, key: key.as_deref(), value: value.as_deref(), headers }
    }
}

/// One header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name, UTF-8 by convention.
    pub name: Bytes,
    /// The value, if any.
    pub value: Option<Bytes>,
}

/// A record read from a batch. Its byte fields are slices of the batch, not copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordView {
    /// The record's offset in the partition.
    pub offset: Offset,
    /// The time given by the producer, or the time of the append: see [`TimestampType`](super::TimestampType).
    pub timestamp: Timestamp,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; none is a tombstone of the key.
    pub value: Option<Bytes>,
    /// The headers in order.
    pub headers: Vec<Header>,
}
