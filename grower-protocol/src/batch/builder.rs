//! Builds a batch from records.

use super::header::{Attributes, CRC_COVERS_FROM, HEADER_LENGTH, LENGTH_COUNTS_FROM, MAGIC, ProducerStamp};
use super::{BatchHeader, Record, crc32c, varint};
use crate::compression::{self, Codec};
use crate::ids::Timestamp;
use bytes::BytesMut;

/// A batch under construction. [`BatchBuilder::push`] encodes a record; [`BatchBuilder::build`] compresses them all and
/// writes the header and the CRC.
#[derive(Debug)]
pub struct BatchBuilder {
    codec: Codec,
    bytes: Vec<u8>,
    count: u32,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
}

impl BatchBuilder {
    /// Starts an empty batch.
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            bytes: vec![0; HEADER_LENGTH],
            count: 0,
            base_timestamp: Timestamp::default(),
            max_timestamp: Timestamp::MIN,
        }
    }

    /// Starts an empty batch and allocates for `bytes` bytes before compression.
    pub fn with_capacity(codec: Codec, bytes: usize) -> Self {
        let mut builder = Self::new(codec);
        builder.bytes.reserve_exact(bytes.saturating_sub(HEADER_LENGTH));
        builder
    }

    /// The number of records pushed so far.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether the batch has no records yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The size in bytes before compression, including the header.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The number of bytes that `record` would add to [`BatchBuilder::size`].
    pub fn size_of(&self, record: &Record) -> usize {
        let body = self.body_length(record);
        varint::length(body as i64) + body
    }

    /// Adds a record. The caller enforces size limits: see [`BatchBuilder::size_of`].
    pub fn push(&mut self, record: &Record) {
        if self.count == 0 {
            self.base_timestamp = record.timestamp;
        }
        let body = self.body_length(record);
        let before = self.size();
        let into = &mut self.bytes;
        varint::put(into, body as i64);
        into.push(0); // Record attributes: Kafka defines none.
        varint::put(into, timestamp_delta(self.base_timestamp, record.timestamp));
        varint::put(into, self.count.into());
        put_nullable(into, record.key.as_deref());
        put_nullable(into, record.value.as_deref());
        varint::put(into, record.headers.len() as i64);
        for header in &record.headers {
            put_nullable(into, Some(&header.name));
            put_nullable(into, header.value.as_deref());
        }
        debug_assert_eq!(self.size(), before + varint::length(body as i64) + body, "size_of is exact");
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        self.count += 1;
    }

    /// Finishes the batch with base offset 0 and no leader epoch: the broker assigns both.
    ///
    /// # Panics
    /// If the batch has no records or passes 2 GiB.
    pub fn build(mut self, producer: Option<ProducerStamp>) -> BytesMut {
        assert!(0 < self.count, "a batch holds at least one record");
        if self.codec != Codec::None {
            let packed = compression::compress(self.codec, &self.bytes[HEADER_LENGTH..]);
            self.bytes.truncate(HEADER_LENGTH);
            self.bytes.extend_from_slice(&packed);
        }
        self.write_header(producer);
        let crc = crc32c(&self.bytes[CRC_COVERS_FROM..]);
        self.bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        // Vec -> Bytes -> BytesMut moves the allocation; it does not copy.
        bytes::Bytes::from(self.bytes).try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]))
    }

    fn write_header(&mut self, producer: Option<ProducerStamp>) {
        let length = i32::try_from(self.bytes.len() - LENGTH_COUNTS_FROM).expect("a batch is smaller than 2 GiB");
        let last_offset_delta = self.count as i32 - 1;
        let (id, epoch, sequence) = match producer {
            Some(stamp) => {
                (stamp.id.to_wire(), stamp.epoch.to_wire(), stamp.base_sequence.map_or(-1, |first| first.to_wire()))
            }
            None => (-1, -1, -1),
        };
        let mut header = Vec::with_capacity(HEADER_LENGTH);
        header.extend_from_slice(&0i64.to_be_bytes());
        header.extend_from_slice(&length.to_be_bytes());
        header.extend_from_slice(&(-1i32).to_be_bytes());
        header.push(MAGIC);
        header.extend_from_slice(&0u32.to_be_bytes()); // `build` writes the CRC last.
        header.extend_from_slice(&Attributes::of(self.codec).0.to_be_bytes());
        header.extend_from_slice(&last_offset_delta.to_be_bytes());
        header.extend_from_slice(&self.base_timestamp.as_millis().to_be_bytes());
        header.extend_from_slice(&self.max_timestamp.as_millis().to_be_bytes());
        header.extend_from_slice(&id.to_be_bytes());
        header.extend_from_slice(&epoch.to_be_bytes());
        header.extend_from_slice(&sequence.to_be_bytes());
        header.extend_from_slice(&(self.count as i32).to_be_bytes());
        self.bytes[..HEADER_LENGTH].copy_from_slice(&header);
    }

    fn body_length(&self, record: &Record) -> usize {
        let base = if self.count == 0 { record.timestamp } else { self.base_timestamp };
        let headers: usize =
            record.headers.iter().map(|h| nullable_length(Some(&h.name)) + nullable_length(h.value.as_deref())).sum();
        1 + varint::length(timestamp_delta(base, record.timestamp))
            + varint::length(self.count.into())
            + nullable_length(record.key.as_deref())
            + nullable_length(record.value.as_deref())
            + varint::length(record.headers.len() as i64)
            + headers
    }
}

/// Replaces the producer stamp of a batch built by [`BatchBuilder`] and updates its CRC.
///
/// # Panics
/// If `batch` is shorter than a header.
pub fn restamp(batch: &mut [u8], producer: ProducerStamp) {
    debug_assert!(BatchHeader::parse(batch).is_ok_and(|header| header.total_length == batch.len()), "a built batch");
    let sequence = producer.base_sequence.map_or(-1, |first| first.to_wire());
    batch[43..51].copy_from_slice(&producer.id.to_wire().to_be_bytes());
    batch[51..53].copy_from_slice(&producer.epoch.to_wire().to_be_bytes());
    batch[53..57].copy_from_slice(&sequence.to_be_bytes());
    let crc = crc32c(&batch[CRC_COVERS_FROM..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// Wraps, as the reader's addition does, so that every pair of timestamps reads back unchanged.
fn timestamp_delta(base: Timestamp, timestamp: Timestamp) -> i64 {
    timestamp.as_millis().wrapping_sub(base.as_millis())
}

fn put_nullable(into: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            varint::put(into, bytes.len() as i64);
            into.extend_from_slice(bytes);
        }
        None => varint::put(into, -1),
    }
}

fn nullable_length(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint::length(bytes.len() as i64) + bytes.len())
}
