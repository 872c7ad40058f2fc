//! A batch taken apart, to be written down again without some of its records: what compaction does.
//!
//! Offsets, timestamps, headers and the place in the log never change. A batch that loses its last record still spans the
//! offsets it had, so that batches follow each other without a hole whatever was dropped from them.

use super::header::{Attributes, CRC_COVERS_FROM, LENGTH_COUNTS_FROM};
use super::placed::codec;
use super::walk::{RawRecord, Walk};
use super::{Batch, BatchHeader, HEADER_LENGTH, RecordsError, crc32c, varint};
use crate::compression::{self, Codec};
use crate::ids::{Offset, Timestamp};
use bytes::{Bytes, BytesMut};

/// A batch whose records were decompressed once, to look at and to choose from.
#[derive(Debug)]
pub struct Unpacked {
    batch: Batch,
    plain: Bytes,
}

/// What decides whether a record stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its position in the partition.
    pub offset: Offset,
    /// What it is about.
    pub key: Option<&'a [u8]>,
    /// Whether it says that there is nothing any more under its key.
    pub is_tombstone: bool,
}

impl Unpacked {
    /// Decompresses the records, if need be, into at most `limit` bytes.
    pub fn new(batch: Batch, limit: usize) -> Result<Self, RecordsError> {
        Ok(Self { plain: batch.plain(limit)?, batch })
    }

    /// The batch as it is.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Its records, in order. Ends after the first error.
    pub fn entries(&self) -> impl Iterator<Item = Result<Entry<'_>, RecordsError>> {
        let mut walk = Walk::new(self.batch.header());
        std::iter::from_fn(move || walk.step(&self.plain)).map(|raw| Ok(self.entry(&raw?)))
    }

    fn entry(&self, raw: &RawRecord) -> Entry<'_> {
        Entry {
            offset: self.batch.header().base_offset.saturating_add(raw.offset_delta.into()),
            key: raw.key.clone().and_then(|range| self.plain.get(range)),
            is_tombstone: raw.value.is_none(),
        }
    }

    /// The batch with the records that `keep` chooses, compressed as it was. With a delete horizon its header says from
    /// when on its tombstones may be dropped.
    pub fn rewrite(
        &self,
        delete_horizon: Option<Timestamp>,
        keep: impl Fn(&Entry<'_>) -> bool,
    ) -> Result<Batch, RecordsError> {
        let header = self.batch.header();
        let base_timestamp = delete_horizon.unwrap_or(header.base_timestamp);
        let mut kept = Kept { base_timestamp, ..Kept::default() };
        let mut walk = Walk::new(header);
        while let Some(raw) = walk.step(&self.plain) {
            let raw = raw?;
            if keep(&self.entry(&raw)) {
                kept.put(&raw, &self.plain);
            }
        }
        if kept.count == 0 {
            return Ok(self.batch.emptied());
        }
        let codec = codec(header)?;
        let horizon = delete_horizon.is_some() || header.attributes.has_delete_horizon();
        let attributes = header.attributes.rewritten(codec, horizon);
        Ok(kept.finish(header, codec, attributes))
    }
}

/// The records that stay, as they are encoded.
#[derive(Default)]
struct Kept {
    base_timestamp: Timestamp,
    max_timestamp: Option<Timestamp>,
    count: u32,
    plain: Vec<u8>,
    /// One record's numbers, before its length is known.
    numbers: Vec<u8>,
}

impl Kept {
    fn put(&mut self, raw: &RawRecord, plain: &[u8]) {
        let attributes = plain.get(raw.attributes.clone()).unwrap_or_default();
        let content = plain.get(raw.content.clone()).unwrap_or_default();
        self.numbers.clear();
        let since_base = raw.timestamp.as_millis().wrapping_sub(self.base_timestamp.as_millis());
        varint::put(&mut self.numbers, since_base);
        varint::put(&mut self.numbers, raw.offset_delta.into());
        varint::put(&mut self.plain, (attributes.len() + self.numbers.len() + content.len()) as i64);
        self.plain.extend_from_slice(attributes);
        self.plain.extend_from_slice(&self.numbers);
        self.plain.extend_from_slice(content);
        self.max_timestamp = self.max_timestamp.max(Some(raw.timestamp));
        self.count += 1;
    }

    fn finish(self, header: &BatchHeader, codec: Codec, attributes: Attributes) -> Batch {
        let packed = match codec {
            Codec::None => self.plain,
            codec => compression::compress(codec, &self.plain),
        };
        let changed = BatchHeader {
            attributes,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp.unwrap_or(header.max_timestamp),
            record_count: self.count,
            ..*header
        };
        encode(&changed, &packed)
    }
}

impl Batch {
    /// The same place in the log without a record in it.
    pub fn emptied(&self) -> Self {
        let header = self.header();
        let changed = BatchHeader {
            attributes: header.attributes.rewritten(Codec::None, false),
            base_timestamp: header.max_timestamp,
            record_count: 0,
            ..*header
        };
        encode(&changed, &[])
    }

    /// The same records in a batch that spans all offsets up to `next_offset`, of no producer: its sequence numbers would
    /// no longer be those that were sent. None if a batch cannot span so many.
    pub fn stretched(&self, next_offset: Offset) -> Option<Self> {
        let header = self.header();
        let last = next_offset.since(header.base_offset).checked_sub(1)?;
        let last_offset_delta = i32::try_from(last).ok()?.cast_unsigned();
        let changed = BatchHeader { last_offset_delta, producer: None, ..*header };
        (header.last_offset_delta <= last_offset_delta).then(|| encode(&changed, &self.bytes()[HEADER_LENGTH..]))
    }
}

/// A batch with this header, whose length and CRC are made right.
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
    /// The header's bytes; those of the CRC come after the records are known.
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
