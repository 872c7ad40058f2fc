//! Rewrites a batch without some of its records, for compaction.
//!
//! Offsets, timestamps and headers of the remaining records never change. A batch that loses its last record still
//! spans its old offsets, so batches follow each other without a gap.

use super::header::{CRC_COVERS_FROM, LENGTH_COUNTS_FROM};
use super::placed::codec;
use super::record_scanner::{RecordScanner, RecordSink, RecordSummary};
use super::{Batch, BatchHeader, HEADER_LENGTH, RecordsError, crc32c, varint};
use crate::compression::{Codec, Compressor, Decompressor};
use crate::ids::{Offset, Timestamp};
use bytes::BytesMut;
use std::ops::ControlFlow;

/// The part of a record that compaction decides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyedRecord<'a> {
    /// The record's offset in the partition.
    pub offset: Offset,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// Whether the record has a key and no value, so that it deletes its key.
    pub is_tombstone: bool,
}

/// Memory limits for reading or rewriting a batch.
#[derive(Clone, Copy)]
pub struct RewriteLimits<'a> {
    /// The largest decompressed length of the records in bytes. They are never all in memory at once.
    pub plain_bytes: usize,
    /// Called before more memory is allocated, with the new total in bytes, without the batch: the codec's windows, one
    /// key, and the new records.
    pub charge: &'a dyn Fn(usize),
}

impl Batch {
    /// Calls `each` for the records in order until it breaks.
    pub fn for_each_keyed_record(
        &self,
        limits: RewriteLimits<'_>,
        each: impl FnMut(&KeyedRecord<'_>) -> ControlFlow<()>,
    ) -> Result<(), RecordsError> {
        let window = self.charge_window(limits)?;
        let mut plain = self.decompressor(limits.plain_bytes)?;
        let mut seen = EachRecord { batch: self, each, limits, window, enough: false };
        let mut scanner = RecordScanner::new(self.header());
        while !seen.enough && scanner.filter_next(&mut plain, &mut seen)? {}
        Ok(())
    }

    /// Returns the batch with only the records that `keep` chooses, compressed with the same codec. A delete horizon
    /// sets the time after which its tombstones may be dropped; none removes the horizon of the batch.
    pub fn keep_keyed_records(
        &self,
        limits: RewriteLimits<'_>,
        delete_horizon: Option<Timestamp>,
        keep: impl FnMut(&KeyedRecord<'_>) -> bool,
    ) -> Result<Batch, RecordsError> {
        let header = self.header();
        let codec = codec(header)?;
        let window = self.charge_window(limits)?;
        let unmarked = Some(header.base_timestamp).filter(|_| !header.attributes.has_delete_horizon());
        let compressor = Compressor::new(codec);
        let mut kept = KeptRecords {
            batch: self,
            keep,
            limits,
            window,
            charged: window,
            key: 0,
            base_timestamp: delete_horizon.or(unmarked),
            max_timestamp: None,
            count: 0,
            compressor,
        };
        let mut plain = self.decompressor(limits.plain_bytes)?;
        let mut scanner = RecordScanner::new(header);
        while scanner.filter_next(&mut plain, &mut kept)? {}
        let KeptRecords {
            base_timestamp: Some(base_timestamp),
            max_timestamp,
            count: record_count @ 1..,
            compressor,
            ..
        } = kept
        else {
            return Ok(self.without_records());
        };
        let changed = BatchHeader {
            attributes: header.attributes.rewritten(codec, delete_horizon.is_some()),
            base_timestamp,
            max_timestamp: max_timestamp.unwrap_or(header.max_timestamp),
            record_count,
            ..*header
        };
        Ok(encode(&changed, &compressor.finish()))
    }

    fn charge_window(&self, limits: RewriteLimits<'_>) -> Result<usize, RecordsError> {
        let packed = self.bytes().get(HEADER_LENGTH..).unwrap_or_default();
        let window = Decompressor::announced_memory(codec(self.header())?, packed, limits.plain_bytes);
        (limits.charge)(window);
        Ok(window)
    }

    fn decompressor(&self, limit: usize) -> Result<Decompressor<'_>, RecordsError> {
        let packed = self.bytes().get(HEADER_LENGTH..).unwrap_or_default();
        Ok(Decompressor::new(codec(self.header())?, packed, limit)?)
    }

    fn entry<'a>(&self, summary: &RecordSummary, key: Option<&'a [u8]>) -> KeyedRecord<'a> {
        let offset = self.header().base_offset.saturating_add(summary.offset_delta.into());
        KeyedRecord { offset, key, is_tombstone: summary.is_tombstone && key.is_some() }
    }
}

/// Calls `each` for every record and keeps none.
struct EachRecord<'a, F> {
    batch: &'a Batch,
    each: F,
    limits: RewriteLimits<'a>,
    window: usize,
    enough: bool,
}

impl<F: FnMut(&KeyedRecord<'_>) -> ControlFlow<()>> RecordSink for EachRecord<'_, F> {
    fn before_key(&mut self, length: usize) {
        (self.limits.charge)(self.window + length);
    }

    fn keeps(&mut self, summary: &RecordSummary, key: Option<&[u8]>) -> bool {
        self.enough = (self.each)(&self.batch.entry(summary, key)).is_break();
        false
    }

    fn begin(&mut self, _: &[u8], _: &RecordSummary, _: usize) {}

    fn write(&mut self, _: &[u8]) {}
}

/// Encodes the records that stay.
struct KeptRecords<'a, F> {
    batch: &'a Batch,
    keep: F,
    limits: RewriteLimits<'a>,
    window: usize,
    charged: usize,
    /// Length of the longest key held in memory so far.
    key: usize,
    /// The base timestamp of the new batch. If it is not given, the first kept record sets it.
    base_timestamp: Option<Timestamp>,
    max_timestamp: Option<Timestamp>,
    count: u32,
    compressor: Compressor,
}

impl<F> KeptRecords<'_, F> {
    fn charge(&mut self, more: usize) {
        let bytes = self.window + self.key + self.compressor.memory_after(more);
        if self.charged < bytes {
            (self.limits.charge)(bytes);
            self.charged = bytes;
        }
    }
}

/// Content is compressed in pieces of this size, so that the memory for each is charged first.
const PIECE: usize = 64 << 10;

impl<F: FnMut(&KeyedRecord<'_>) -> bool> RecordSink for KeptRecords<'_, F> {
    fn before_key(&mut self, length: usize) {
        self.key = self.key.max(length);
        self.charge(0);
    }

    fn keeps(&mut self, summary: &RecordSummary, key: Option<&[u8]>) -> bool {
        (self.keep)(&self.batch.entry(summary, key))
    }

    fn begin(&mut self, attributes: &[u8], summary: &RecordSummary, content_length: usize) {
        let base_timestamp = *self.base_timestamp.get_or_insert(summary.timestamp);
        let since_base = summary.timestamp.as_millis().wrapping_sub(base_timestamp.as_millis());
        let delta = i64::from(summary.offset_delta);
        let length = attributes.len() + varint::length(since_base) + varint::length(delta) + content_length;
        let mut head = Vec::new();
        varint::put(&mut head, length as i64);
        head.extend_from_slice(attributes);
        varint::put(&mut head, since_base);
        varint::put(&mut head, delta);
        self.write(&head);
        debug_assert!(self.count < self.batch.header().record_count, "only records of the batch stay");
        self.max_timestamp = self.max_timestamp.max(Some(summary.timestamp));
        self.count += 1;
    }

    fn write(&mut self, content: &[u8]) {
        for piece in content.chunks(PIECE) {
            self.charge(piece.len());
            self.compressor.write(piece);
        }
    }
}

impl Batch {
    /// Returns a batch without records that spans the same offsets.
    fn without_records(&self) -> Self {
        let header = self.header();
        let changed = BatchHeader {
            attributes: header.attributes.rewritten(Codec::None, false),
            base_timestamp: header.max_timestamp,
            record_count: 0,
            ..*header
        };
        encode(&changed, &[])
    }

    /// Returns a batch with the same records that spans all offsets up to `next_offset`; none if a batch cannot span
    /// them. It has no producer, because its sequence numbers would differ from those that the producer sent.
    pub fn extended_to(&self, next_offset: Offset) -> Option<Self> {
        let header = self.header();
        let last = next_offset.since(header.base_offset).checked_sub(1)?;
        let last_offset_delta = i32::try_from(last).ok()?.cast_unsigned();
        let changed = BatchHeader { last_offset_delta, producer: None, ..*header };
        (header.last_offset_delta <= last_offset_delta).then(|| encode(&changed, &self.bytes()[HEADER_LENGTH..]))
    }
}

/// Encodes a batch with this header, and sets its length and CRC.
fn encode(header: &BatchHeader, records: &[u8]) -> Batch {
    let total_length = HEADER_LENGTH + records.len();
    let mut bytes = BytesMut::with_capacity(total_length);
    bytes.extend_from_slice(&BatchHeader { total_length, ..*header }.encode());
    bytes.extend_from_slice(records);
    let crc = crc32c(&bytes[CRC_COVERS_FROM..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    debug_assert_eq!(BatchHeader::parse(&bytes).map(|parsed| parsed.crc), Ok(crc));
    Batch::trusted(BatchHeader { total_length, crc, ..*header }, bytes.freeze())
}

impl BatchHeader {
    /// Encodes the header with 0 for the CRC, which covers the records too.
    fn encode(&self) -> [u8; HEADER_LENGTH] {
        let length = i32::try_from(self.total_length - LENGTH_COUNTS_FROM).expect("a batch is smaller than 2 GiB");
        let sequence = self.producer.and_then(|stamp| stamp.base_sequence).map_or(-1, |first| first.to_wire());
        let mut bytes = [0; HEADER_LENGTH];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &self.base_offset.to_wire().to_be_bytes());
        put(8, &length.to_be_bytes());
        put(12, &self.leader_epoch.map_or(-1, |epoch| epoch.to_wire()).to_be_bytes());
        put(16, &[super::header::MAGIC]);
        put(21, &self.attributes.0.to_be_bytes());
        put(23, &self.last_offset_delta.to_be_bytes());
        put(27, &self.base_timestamp.as_millis().to_be_bytes());
        put(35, &self.max_timestamp.as_millis().to_be_bytes());
        put(43, &self.producer.map_or(-1, |stamp| stamp.id.to_wire()).to_be_bytes());
        put(51, &self.producer.map_or(-1, |stamp| stamp.epoch.to_wire()).to_be_bytes());
        put(53, &sequence.to_be_bytes());
        put(57, &self.record_count.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests;
