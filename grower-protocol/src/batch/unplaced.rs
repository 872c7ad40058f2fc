//! A producer's batch on its way into a log: checked all through, without offsets yet.

use super::header::CRC_COVERS_FROM;
use super::placed::{self, codec};
use super::record_scanner::RecordScanner;
use super::{Batch, BatchError, BatchHeader, HEADER_LENGTH, RecordsError, crc32c};
use crate::compression::{Codec, DecompressError, Plain};
use crate::ids::{LeaderEpoch, Offset, Timestamp};
use bytes::BytesMut;

/// What a log accepts of its producers.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// The largest batch in bytes as sent, header included.
    pub batch_bytes_max: usize,
    /// The largest batch in bytes after decompression.
    pub plain_bytes_max: usize,
    /// No record may be later than this: one far-future timestamp would hold up retention and blind lookups by time.
    pub timestamp_max: Timestamp,
    /// Every record must have a key (compacted topics).
    pub key_required: bool,
}

impl BatchLimits {
    /// How far a batch may grow when it is decompressed for its check, as a multiple of its topic's `max.message.bytes`.
    /// Producers know it too, and keep their batches under it.
    pub const INFLATION_MAX: usize = 16;
}

/// A batch that a log may append: CRC right, every record walked, deltas dense, maximum timestamp true.
#[derive(Debug)]
pub struct UnplacedBatch {
    header: BatchHeader,
    bytes: BytesMut,
}

/// Why a producer's batch was refused. Nothing of it was stored; sending it again changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientBatchError {
    /// Damaged or not a batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Its records cannot be read.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// Too large.
    #[error("the batch has {found} bytes, the topic takes {limit} (max.message.bytes)")]
    TooLarge {
        /// Its size.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// Something only brokers write.
    #[error("a producer cannot write {what}")]
    Reserved {
        /// What it was.
        what: &'static str,
    },
    /// No record at all, or offsets with gaps.
    #[error("{count} records cannot have {last_offset_delta} as last offset delta")]
    NotDense {
        /// By the header.
        count: u32,
        /// By the header.
        last_offset_delta: u32,
    },
    /// A producer id without a sequence.
    #[error("an idempotent batch needs a sequence")]
    NoSequence,
    /// A timestamp too far ahead.
    #[error("timestamp {found} is later than {limit}: is the producer's clock right?")]
    Timestamp {
        /// The record's, in milliseconds.
        found: Timestamp,
        /// The latest allowed.
        limit: Timestamp,
    },
    /// A record without a key where each needs one.
    #[error("the topic is compacted: every record needs a key")]
    NoKey,
}

impl ClientBatchError {
    /// Whether the batch was refused for its size alone, as sent or decompressed: smaller ones may be taken.
    pub fn is_too_large(&self) -> bool {
        matches!(
            self,
            Self::TooLarge { .. } | Self::Records(RecordsError::Decompress(DecompressError::TooLarge { .. }))
        )
    }
}

impl UnplacedBatch {
    /// What [`UnplacedBatch::check`] of these bytes takes of memory beside them: a decoder's window.
    pub fn check_takes(bytes: &[u8], limits: &BatchLimits) -> usize {
        let codec = BatchHeader::parse(bytes).ok().and_then(|header| codec(&header).ok());
        let packed = bytes.get(HEADER_LENGTH..).unwrap_or_default();
        codec.map_or(0, |codec| Plain::held(codec, packed, limits.plain_bytes_max))
    }

    /// Takes exactly one batch as a producer sent it and checks all of it.
    pub fn check(bytes: BytesMut, limits: &BatchLimits) -> Result<Self, ClientBatchError> {
        if limits.batch_bytes_max < bytes.len() {
            return Err(ClientBatchError::TooLarge { found: bytes.len(), limit: limits.batch_bytes_max });
        }
        let header = placed::check(&bytes)?;
        check_header(&header)?;
        let true_max = check_records(&header, &bytes, limits)?;
        let mut batch = Self { header, bytes };
        if true_max != header.max_timestamp {
            batch.correct_max_timestamp(true_max);
        }
        Ok(batch)
    }

    /// Wraps what a [`super::BatchBuilder`] of ours has just built.
    pub fn built(bytes: BytesMut) -> Self {
        let header = BatchHeader::parse(&bytes).expect("the builder writes sound headers");
        Self { header, bytes }
    }

    /// Takes back a batch that was placed, and did not come into the log after all. Copies it.
    pub fn displaced(batch: &Batch) -> Self {
        Self { header: *batch.header(), bytes: BytesMut::from(&batch.bytes()[..]) }
    }

    /// The header; its base offset means nothing yet.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The batch in memory of its own: what it was received in is free for other uses.
    pub fn detached(self) -> Self {
        Self { bytes: BytesMut::from(&self.bytes[..]), ..self }
    }

    /// Gives the batch its offsets. Neither field is covered by the CRC.
    pub fn place(mut self, base_offset: Offset, epoch: LeaderEpoch) -> Batch {
        self.bytes[0..8].copy_from_slice(&base_offset.to_wire().to_be_bytes());
        self.bytes[12..16].copy_from_slice(&epoch.to_wire().to_be_bytes());
        self.header.base_offset = base_offset;
        self.header.leader_epoch = Some(epoch);
        Batch::trusted(self.header, self.bytes.freeze())
    }

    /// Time lookups and retention trust the header's maximum, so it must be the records' own.
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

/// Walks every record; returns the largest timestamp. Deltas that rise through `0..count` are `0..count`. What is
/// compressed passes through a decoder's window: a batch that inflates takes no memory to speak of.
fn check_records(header: &BatchHeader, bytes: &[u8], limits: &BatchLimits) -> Result<Timestamp, ClientBatchError> {
    let packed = bytes.get(HEADER_LENGTH..).unwrap_or_default();
    let mut scanner = RecordScanner::new(header);
    let mut latest = Timestamp::MIN;
    let mut look = |timestamp: Timestamp, has_key: bool| {
        latest = latest.max(timestamp);
        if limits.key_required && !has_key { Err(ClientBatchError::NoKey) } else { Ok(()) }
    };
    match codec(header)? {
        Codec::None => {
            while let Some(record) = scanner.next_record(packed) {
                let record = record?;
                look(record.timestamp, record.key.is_some())?;
            }
        }
        codec => {
            let plain = Plain::new(codec, packed, limits.plain_bytes_max);
            let mut plain = plain.map_err(RecordsError::from)?;
            while let Some(record) = scanner.pass(&mut plain)? {
                look(record.timestamp, record.has_key)?;
            }
        }
    }
    if limits.timestamp_max < latest {
        return Err(ClientBatchError::Timestamp { found: latest, limit: limits.timestamp_max });
    }
    Ok(latest)
}
