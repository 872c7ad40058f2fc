//! A producer's batch with every record checked, before it gets its offsets.

use super::header::CRC_COVERS_FROM;
use super::placed::{self, codec};
use super::record_scanner::RecordScanner;
use super::refused_records::RefusedRecords;
use super::{Batch, BatchError, BatchHeader, HEADER_LENGTH, RecordsError, crc32c};
use crate::compression::{Codec, DecompressError, Decompressor};
use crate::ids::{LeaderEpoch, Offset, Timestamp};
use bytes::BytesMut;

/// The limits of a log for producers' batches.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// The largest batch in bytes as sent, including the header.
    pub batch_bytes_max: usize,
    /// The largest decompressed length of the records in bytes.
    pub plain_bytes_max: usize,
    /// The latest timestamp. A record in the far future would delay retention and hide later records from time lookups.
    pub timestamp_max: Timestamp,
    /// Whether every record needs a key, as in compacted topics.
    pub key_required: bool,
}

impl BatchLimits {
    /// The largest decompressed length of a batch, as a multiple of its topic's `max.message.bytes`. Producers apply
    /// the same limit.
    pub const INFLATION_MAX: usize = 16;
}

/// A batch that a log may append: its CRC is correct, its records are valid with dense offset deltas, and its maximum
/// timestamp is that of its records.
#[derive(Debug)]
pub struct UnplacedBatch {
    header: BatchHeader,
    bytes: BytesMut,
    expected_end: Option<Offset>,
}

/// The reason why a producer's batch is refused. Nothing of it is stored, and a retry fails too.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientBatchError {
    /// The bytes are damaged or not a batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The records cannot be read.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// The batch is too large.
    #[error("the batch has {found} bytes, the topic takes {limit} (max.message.bytes)")]
    TooLarge {
        /// The length in bytes.
        found: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The batch has an attribute that only brokers write.
    #[error("a producer cannot write {what}")]
    Reserved {
        /// The attribute.
        what: &'static str,
    },
    /// The batch has no records, or its offsets have gaps.
    #[error("last offset delta {last_offset_delta} does not fit {count} records")]
    NotDense {
        /// The record count in the header.
        count: u32,
        /// The last offset delta in the header.
        last_offset_delta: u32,
    },
    /// The batch has a producer id, but no sequence number.
    #[error("a batch with a producer id needs a sequence number")]
    NoSequence,
    /// Timestamps are too far in the future.
    #[error("{records} of the batch: timestamp {found} is later than {limit}: is the producer's clock right?")]
    Timestamp {
        /// The timestamp of the first of the records.
        found: Timestamp,
        /// The latest timestamp allowed.
        limit: Timestamp,
        /// All records with a later timestamp.
        records: RefusedRecords,
    },
    /// Records have no key in a topic that requires keys.
    #[error("{records} of the batch: no key, and the topic is compacted: every record needs one")]
    NoKey {
        /// All records without a key.
        records: RefusedRecords,
    },
}

impl ClientBatchError {
    /// The records that are the reason, if only some of the batch's may be. The batch without them may be accepted.
    pub fn refused_records(&self) -> Option<&RefusedRecords> {
        match self {
            Self::Timestamp { records, .. } | Self::NoKey { records } => Some(records),
            _ => None,
        }
    }

    /// Whether only the size, as sent or decompressed, is the reason. Smaller batches may be accepted.
    pub fn is_too_large(&self) -> bool {
        matches!(
            self,
            Self::TooLarge { .. } | Self::Records(RecordsError::Decompress(DecompressError::TooLarge { .. }))
        )
    }
}

impl UnplacedBatch {
    /// The memory in bytes that [`UnplacedBatch::check`] takes for these bytes: the window of their decoder.
    pub fn check_memory(bytes: &[u8], limits: &BatchLimits) -> usize {
        let codec = BatchHeader::parse(bytes).ok().and_then(|header| codec(&header).ok());
        let packed = bytes.get(HEADER_LENGTH..).unwrap_or_default();
        codec.map_or(0, |codec| Decompressor::memory(codec, packed, limits.plain_bytes_max))
    }

    /// Checks exactly one batch of a producer, including every record.
    pub fn check(bytes: BytesMut, limits: &BatchLimits) -> Result<Self, ClientBatchError> {
        if limits.batch_bytes_max < bytes.len() {
            return Err(ClientBatchError::TooLarge { found: bytes.len(), limit: limits.batch_bytes_max });
        }
        let header = placed::check(&bytes)?;
        check_header(&header)?;
        let true_max = check_records(&header, &bytes, limits)?;
        let mut batch = Self { header, bytes, expected_end: None };
        if true_max != header.max_timestamp {
            batch.correct_max_timestamp(true_max);
        }
        Ok(batch)
    }

    /// Wraps the output of a [`super::BatchBuilder`].
    ///
    /// # Panics
    /// If `bytes` do not begin with a batch header.
    pub fn built(bytes: BytesMut) -> Self {
        let header = BatchHeader::parse(&bytes).expect("the builder writes sound headers");
        debug_assert_eq!(header.total_length, bytes.len());
        Self { header, bytes, expected_end: None }
    }

    /// Copies a batch whose append failed, so that it can get other offsets.
    pub fn copied_from(batch: &Batch) -> Self {
        Self { header: *batch.header(), bytes: BytesMut::from(&batch.bytes()[..]), expected_end: None }
    }

    /// Allows the batch no other base offset than this one, if there is one: a log that ends elsewhere refuses it.
    pub fn expecting_end(self, expected_end: Option<Offset>) -> Self {
        Self { expected_end, ..self }
    }

    /// The only base offset that the batch may get; none if any will do.
    pub fn expected_end(&self) -> Option<Offset> {
        self.expected_end
    }

    /// The header. Its base offset is not assigned yet.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Copies the batch to its own memory, which releases the receive buffer.
    pub fn into_own_memory(self) -> Self {
        Self { bytes: BytesMut::from(&self.bytes[..]), ..self }
    }

    /// Sets the base offset and the leader epoch. The CRC covers neither.
    ///
    /// # Panics
    /// In debug builds if the batch expects another base offset.
    pub fn place(mut self, base_offset: Offset, epoch: LeaderEpoch) -> Batch {
        debug_assert!(self.expected_end.is_none_or(|end| end == base_offset), "the log checks the expected end");
        self.bytes[0..8].copy_from_slice(&base_offset.to_wire().to_be_bytes());
        self.bytes[12..16].copy_from_slice(&epoch.to_wire().to_be_bytes());
        self.header.base_offset = base_offset;
        self.header.leader_epoch = Some(epoch);
        Batch::trusted(self.header, self.bytes.freeze())
    }

    /// Corrects the maximum timestamp, which time lookups and retention trust.
    fn correct_max_timestamp(&mut self, true_max: Timestamp) {
        self.bytes[35..43].copy_from_slice(&true_max.as_millis().to_be_bytes());
        let crc = crc32c(&self.bytes[CRC_COVERS_FROM..]);
        self.bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        self.header.max_timestamp = true_max;
        self.header.crc = crc;
    }
}

fn check_header(header: &BatchHeader) -> Result<(), ClientBatchError> {
    let reserved = |what| Err(ClientBatchError::Reserved { what });
    let attributes = header.attributes;
    if attributes.is_control() {
        return reserved("control batches");
    }
    if attributes.has_delete_horizon() || attributes.unused() != 0 {
        return reserved("attribute bits other than codec");
    }
    if attributes.timestamp_type() != super::TimestampType::Create {
        return reserved("append times");
    }
    if attributes.is_transactional() {
        return reserved("transactional batches (this broker has no transactions yet)");
    }
    if header.record_count != header.last_offset_delta.saturating_add(1) {
        let (count, last_offset_delta) = (header.record_count, header.last_offset_delta);
        return Err(ClientBatchError::NotDense { count, last_offset_delta });
    }
    match header.producer {
        Some(stamp) if stamp.base_sequence.is_none() => Err(ClientBatchError::NoSequence),
        _ => Ok(()),
    }
}

/// Checks every record and returns the largest timestamp. If one breaks a rule, a second pass finds all that do.
fn check_records(header: &BatchHeader, bytes: &[u8], limits: &BatchLimits) -> Result<Timestamp, ClientBatchError> {
    let RecordsSummary { latest, keyless } = scan_records(header, bytes, limits, None)?;
    if limits.key_required && keyless {
        let mut search = RecordSearch::new(|_, has_key| !has_key);
        scan_records(header, bytes, limits, Some(&mut search))?;
        return Err(ClientBatchError::NoKey { records: search.found });
    }
    let limit = limits.timestamp_max;
    if limit < latest {
        let mut search = RecordSearch::new(move |timestamp, _| limit < timestamp);
        scan_records(header, bytes, limits, Some(&mut search))?;
        return Err(ClientBatchError::Timestamp { found: search.first, limit, records: search.found });
    }
    Ok(latest)
}

/// The facts of a batch that the limits of a log apply to.
struct RecordsSummary {
    latest: Timestamp,
    /// Whether a record has no key.
    keyless: bool,
}

/// The search for the records that break a rule.
struct RecordSearch {
    breaks_rule: Box<dyn Fn(Timestamp, bool) -> bool>,
    found: RefusedRecords,
    /// The timestamp of the first of them.
    first: Timestamp,
    next: u32,
}

impl RecordSearch {
    fn new(breaks_rule: impl Fn(Timestamp, bool) -> bool + 'static) -> Self {
        Self { breaks_rule: Box::new(breaks_rule), found: RefusedRecords::default(), first: Timestamp::MIN, next: 0 }
    }

    #[cold]
    fn look_at(&mut self, timestamp: Timestamp, has_key: bool) {
        if (self.breaks_rule)(timestamp, has_key) {
            if self.found.ranges().is_empty() {
                self.first = timestamp;
            }
            self.found.push(self.next);
        }
        self.next += 1;
    }
}

/// Checks every record. The scanner checks that `count` deltas rise below `count`, so they are dense. Compressed records
/// pass through a decoder's window, so a decompression bomb takes little memory.
fn scan_records(
    header: &BatchHeader,
    bytes: &[u8],
    limits: &BatchLimits,
    mut search: Option<&mut RecordSearch>,
) -> Result<RecordsSummary, ClientBatchError> {
    let packed = bytes.get(HEADER_LENGTH..).unwrap_or_default();
    let mut scanner = RecordScanner::new(header);
    let mut summary = RecordsSummary { latest: Timestamp::MIN, keyless: false };
    let mut add = |timestamp: Timestamp, has_key: bool| {
        summary.latest = summary.latest.max(timestamp);
        summary.keyless |= !has_key;
        if let Some(search) = &mut search {
            search.look_at(timestamp, has_key);
        }
    };
    match codec(header)? {
        Codec::None => {
            while let Some(record) = scanner.next_record(packed) {
                let record = record?;
                add(record.timestamp, record.key.is_some());
            }
        }
        codec => {
            let plain = Decompressor::new(codec, packed, limits.plain_bytes_max);
            let mut plain = plain.map_err(RecordsError::from)?;
            while let Some(record) = scanner.check_next(&mut plain)? {
                add(record.timestamp, record.has_key);
            }
        }
    }
    Ok(summary)
}
