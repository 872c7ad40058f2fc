//! One record: what a producer hands in, and what a reader gets out.

use crate::ids::{Offset, Timestamp};
use bytes::Bytes;

/// A record on its way into a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// When it happened, says its producer.
    pub timestamp: Timestamp,
    /// What it is about; records of one key go to one partition.
    pub key: Option<Bytes>,
    /// Its content; none is a tombstone for its key.
    pub value: Option<Bytes>,
    /// Names with values, in order, repeats allowed.
    pub headers: Vec<Header>,
}

/// One header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name, UTF-8 by convention.
    pub name: Bytes,
    /// Its value.
    pub value: Option<Bytes>,
}

/// A record in its place in the log. Its bytes are slices of the batch they came in: nothing was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordView {
    /// Its position in the partition.
    pub offset: Offset,
    /// When it happened, or when it was appended, as the topic says.
    pub timestamp: Timestamp,
    /// What it is about.
    pub key: Option<Bytes>,
    /// Its content.
    pub value: Option<Bytes>,
    /// Names with values, in order.
    pub headers: Vec<Header>,
}
