//! Parses the records of a batch. The decompressed bytes of a record:
//!
//! ```text
//! length varint, of the bytes after it
//! attributes i8 | timestamp delta varint | offset delta varint
//! key length varint, -1 for none | key | value length varint, -1 for none | value
//! header count varint, then for each: name length varint | name | value length varint, -1 for none | value
//! ```
//!
//! [`streaming`] parses the same layout from chunks: a change here is a change there.

mod streaming;

pub(super) use streaming::{RecordSink, RecordSummary};

use super::header::TimestampType;
use super::{BatchHeader, Header, RecordView, varint};
use crate::compression::DecompressError;
use crate::ids::Timestamp;
use bytes::Bytes;
use std::ops::Range;

/// The reason why the records of a batch cannot be read. The batch's CRC may be correct.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// The number of the codec is unknown.
    #[error("unknown compression codec in attributes {attributes:#06x}")]
    UnknownCodec {
        /// The attributes of the batch.
        attributes: u16,
    },
    /// The records could not be decompressed.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// The lengths in a record do not fit its bytes.
    #[error("record {index} is malformed")]
    Malformed {
        /// The index of the record, from 0.
        index: u32,
    },
    /// The header's record count differs from the number of records.
    #[error("the header says {header} records, found {found}")]
    Count {
        /// The number in the header.
        header: u32,
        /// The number of records; `header + 1` stands for any surplus.
        found: u32,
    },
    /// An offset is not larger than the one before, or lies outside the batch.
    #[error("offset delta {delta} of record {index} is out of order or out of range")]
    OffsetDelta {
        /// The index of the record, from 0.
        index: u32,
        /// The offset delta.
        delta: i64,
    },
}

/// Iterates over the records of one batch in order. The iterator ends after the first error.
#[derive(Debug)]
pub struct Records {
    header: BatchHeader,
    /// The decompressed records.
    bytes: Bytes,
    scanner: RecordScanner,
}

impl Records {
    pub(super) fn new(header: BatchHeader, bytes: Bytes) -> Self {
        Self { scanner: RecordScanner::new(&header), header, bytes }
    }

    /// The memory that they take: their decompressed length in bytes.
    pub fn bytes_held(&self) -> usize {
        self.bytes.len()
    }

    fn view(&self, raw: RawRecord) -> Result<RecordView, RecordsError> {
        let timestamp = match self.header.attributes.timestamp_type() {
            TimestampType::Create => raw.timestamp,
            TimestampType::LogAppend => self.header.max_timestamp,
        };
        Ok(RecordView {
            offset: self.header.base_offset.saturating_add(raw.offset_delta.into()),
            timestamp,
            key: raw.key.map(|range| self.bytes.slice(range)),
            value: raw.value.map(|range| self.bytes.slice(range)),
            headers: self.headers(raw.index, raw.headers)?,
        })
    }

    fn headers(&self, index: u32, range: Range<usize>) -> Result<Vec<Header>, RecordsError> {
        let malformed = RecordsError::Malformed { index };
        let mut cursor = Cursor { all: self.bytes.get(..range.end).unwrap_or_default(), at: range.start };
        let count = cursor.varint().ok_or(malformed.clone())?;
        let mut headers = Vec::new();
        for _ in 0..count {
            let name = cursor.nullable().flatten().ok_or(malformed.clone())?;
            let value = cursor.nullable().ok_or(malformed.clone())?;
            headers.push(Header { name: self.bytes.slice(name), value: value.map(|range| self.bytes.slice(range)) });
        }
        Ok(headers)
    }
}

impl Iterator for Records {
    type Item = Result<RecordView, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let raw = match self.scanner.next_record(&self.bytes)? {
            Ok(raw) => raw,
            Err(error) => return Some(Err(error)),
        };
        Some(self.view(raw))
    }
}

/// The ranges of a record's parts in the decompressed bytes.
pub(super) struct RawRecord {
    index: u32,
    pub(super) offset_delta: u32,
    pub(super) timestamp: Timestamp,
    pub(super) key: Option<Range<usize>>,
    pub(super) value: Option<Range<usize>>,
    /// The headers, from their count to the end of the record.
    headers: Range<usize>,
    /// The record's attributes. Kafka defines none; a rewrite keeps them.
    pub(super) attributes: Range<usize>,
    /// The bytes from the key's length to the end of the record, which do not depend on the batch.
    pub(super) content: Range<usize>,
}

/// The state between two records. The scanner checks every length, allocates nothing and copies nothing.
#[derive(Debug)]
pub(super) struct RecordScanner {
    base_timestamp: Timestamp,
    last_offset_delta: u32,
    count: u32,
    index: u32,
    at: usize,
    previous_delta: Option<u32>,
    done: bool,
}

impl RecordScanner {
    pub(super) fn new(header: &BatchHeader) -> Self {
        Self {
            base_timestamp: header.base_timestamp,
            last_offset_delta: header.last_offset_delta,
            count: header.record_count,
            index: 0,
            at: 0,
            previous_delta: None,
            done: false,
        }
    }

    #[inline]
    /// Parses the next record of `bytes`; `None` after the last one or after an error.
    pub(super) fn next_record(&mut self, bytes: &[u8]) -> Option<Result<RawRecord, RecordsError>> {
        if self.done {
            return None;
        }
        if self.index == self.count {
            self.done = true;
            let surplus = self.at < bytes.len();
            return surplus
                .then(|| Err(RecordsError::Count { header: self.count, found: self.count.saturating_add(1) }));
        }
        let result = if self.at == bytes.len() {
            Err(RecordsError::Count { header: self.count, found: self.index })
        } else {
            self.record(bytes)
        };
        self.done = result.is_err();
        Some(result)
    }

    #[inline]
    fn record(&mut self, bytes: &[u8]) -> Result<RawRecord, RecordsError> {
        debug_assert!(self.index < self.count, "the caller checks for the last record");
        let malformed = || RecordsError::Malformed { index: self.index };
        let mut cursor = Cursor { all: bytes, at: self.at };
        let body = cursor.span().ok_or_else(malformed)?;
        let mut cursor = Cursor { all: bytes.get(..body.end).unwrap_or_default(), at: body.start };
        let attributes = cursor.skip(1).ok_or_else(malformed)?;
        let timestamp_delta = cursor.varint().ok_or_else(malformed)?;
        let delta = cursor.varint().ok_or_else(malformed)?;
        let content = cursor.at..body.end;
        let key = cursor.nullable().ok_or_else(malformed)?;
        let value = cursor.nullable().ok_or_else(malformed)?;
        let headers = cursor.at..body.end;
        cursor.headers().ok_or_else(malformed)?;
        let record = RawRecord {
            index: self.index,
            offset_delta: self.check_delta(delta)?,
            timestamp: self.timestamp(timestamp_delta),
            key,
            value,
            headers,
            attributes,
            content,
        };
        self.previous_delta = Some(record.offset_delta);
        self.index += 1;
        self.at = body.end;
        Ok(record)
    }

    fn timestamp(&self, delta: i64) -> Timestamp {
        Timestamp::from_millis(self.base_timestamp.as_millis().wrapping_add(delta))
    }

    /// Offset deltas rise within `0..=last_offset_delta`. Compaction leaves gaps.
    fn check_delta(&self, delta: i64) -> Result<u32, RecordsError> {
        let in_place = u32::try_from(delta)
            .ok()
            .filter(|delta| *delta <= self.last_offset_delta && self.previous_delta.is_none_or(|p| p < *delta));
        in_place.ok_or(RecordsError::OffsetDelta { index: self.index, delta })
    }
}

/// Reads forward through `all`. Each method returns `None` if the bytes do not fit.
struct Cursor<'a> {
    all: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn skip(&mut self, length: usize) -> Option<Range<usize>> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.all.len())?;
        let range = self.at..end;
        self.at = end;
        Some(range)
    }

    #[inline]
    fn varint(&mut self) -> Option<i64> {
        let (value, length) = varint::read(self.all.get(self.at..)?)?;
        self.at += length;
        Some(value)
    }

    /// Reads a length and that number of bytes.
    fn span(&mut self) -> Option<Range<usize>> {
        let length = usize::try_from(self.varint()?).ok()?;
        self.skip(length)
    }

    /// Reads like `span`, but the length -1 means none.
    fn nullable(&mut self) -> Option<Option<Range<usize>>> {
        match self.varint()? {
            -1 => Some(None),
            length => self.skip(usize::try_from(length).ok()?).map(Some),
        }
    }

    /// Reads all headers, which must end at the end of the record.
    fn headers(&mut self) -> Option<()> {
        let count = usize::try_from(self.varint()?).ok()?;
        for _ in 0..count {
            self.span()?;
            self.nullable()?;
        }
        (self.at == self.all.len()).then_some(())
    }
}
