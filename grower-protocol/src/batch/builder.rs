//! Builds a batch from records.

use super::header::{Attributes, CRC_COVERS_FROM, HEADER_LENGTH, LENGTH_COUNTS_FROM, MAGIC, ProducerStamp};
use super::{Batch, BatchHeader, Record, RecordRef, RecordView, RecordsError, crc32c, varint};
use crate::compression::{self, Codec};
use crate::ids::Timestamp;
use bytes::BytesMut;
use std::ops::Range;

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

    /// Starts a batch with those records of `batch` that stand at these positions, counted from 0. The positions rise.
    pub fn copying(batch: &Batch, positions: &[Range<u32>], codec: Codec) -> Result<Self, RecordsError> {
        let mut copy = Self::with_capacity(codec, batch.bytes().len());
        let mut positions = positions.iter().peekable();
        for (position, view) in (0..).zip(batch.records(usize::MAX)?) {
            while positions.next_if(|range| range.end <= position).is_some() {}
            if positions.peek().is_some_and(|range| range.contains(&position)) {
                let RecordView { timestamp, key, value, headers, .. } = view?;
                copy.push(&Record { timestamp, key, value, headers });
            }
        }
        Ok(copy)
    }

    /// Removes all records except those at these positions, counted from 0. The positions rise.
    ///
    /// # Panics
    /// If the batch has no records or passes 2 GiB.
    pub fn retain(&mut self, positions: &[Range<u32>]) {
        const OURS: &str = "this builder encoded the records";
        let codec = self.codec;
        let all = Self { codec: Codec::None, ..std::mem::replace(self, Self::new(codec)) };
        let all = Batch::check(all.build(None).freeze()).expect(OURS);
        *self = Self::copying(&all, positions, codec).expect(OURS);
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

    /// Adds a record. The caller enforces size limits: see [`BatchBuilder::push_within`].
    pub fn push(&mut self, record: &Record) {
        let is_pushed = self.push_within(record.into(), usize::MAX);
        debug_assert!(is_pushed, "there is no limit");
    }

    /// Adds a record unless [`BatchBuilder::size`] would pass `bytes_max`; returns whether it was added. An empty batch
    /// takes every record.
    pub fn push_within(&mut self, record: RecordRef<'_>, bytes_max: usize) -> bool {
        let base = if self.is_empty() { record.timestamp } else { self.base_timestamp };
        let layout =
            RecordLayout { record, timestamp_delta: timestamp_delta(base, record.timestamp), index: self.count };
        let body = layout.body_length();
        let length = varint::length(body as i64) + body;
        if bytes_max.saturating_sub(self.size()) < length && !self.is_empty() {
            return false;
        }
        self.base_timestamp = base;
        let before = self.size();
        layout.write(body, &mut self.bytes);
        debug_assert_eq!(self.size(), before + length, "the computed length is exact");
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        self.count += 1;
        true
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
}

/// A record and what its batch adds to it.
struct RecordLayout<'a> {
    record: RecordRef<'a>,
    timestamp_delta: i64,
    /// Its offset delta.
    index: u32,
}

impl RecordLayout<'_> {
    fn body_length(&self) -> usize {
        let RecordRef { key, value, headers, .. } = self.record;
        let attributes = 1;
        let mut length = attributes + varint::length(self.timestamp_delta) + varint::length(self.index.into());
        length += put_length(key) + put_length(value) + varint::length(headers.len() as i64);
        for header in headers {
            length += put_length(Some(&header.name)) + put_length(header.value.as_deref());
        }
        length
    }

    fn write(&self, body_length: usize, into: &mut Vec<u8>) {
        let RecordRef { key, value, headers, .. } = self.record;
        into.reserve(varint::LENGTH_MAX + body_length + VARINTS_MAX);
        let mut varints = Varints::default();
        varints.put(body_length as i64);
        varints.put(0); // Record attributes, a byte: Kafka defines none.
        varints.put(self.timestamp_delta);
        varints.put(self.index.into());
        varints.put(nullable_length(key));
        if let Some(key) = key {
            varints.move_to(into);
            into.extend_from_slice(key);
        }
        varints.put(nullable_length(value));
        varints.move_to(into);
        into.extend_from_slice(value.unwrap_or_default());
        varint::put(into, headers.len() as i64);
        for header in headers {
            put_nullable(into, Some(&header.name));
            put_nullable(into, header.value.as_deref());
        }
    }
}

/// The most bytes of [`Varints`]: the attributes, and the five numbers of a record without a key.
const VARINTS_MAX: usize = 1 + 5 * varint::LENGTH_MAX;

/// Consecutive varints of a record, which are then copied at once.
struct Varints {
    bytes: [u8; VARINTS_MAX],
    length: usize,
}

impl Default for Varints {
    fn default() -> Self {
        Self { bytes: [0; VARINTS_MAX], length: 0 }
    }
}

impl Varints {
    #[inline]
    fn put(&mut self, value: i64) {
        self.length += varint::write(&mut self.bytes[self.length..], value);
    }

    /// Appends the varints to `into` and starts again.
    #[inline]
    fn move_to(&mut self, into: &mut Vec<u8>) {
        let end = into.len() + self.length;
        into.extend_from_slice(&self.bytes); // A copy of constant length takes a few instructions.
        into.truncate(end);
        self.length = 0;
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

/// The length as batches store it: -1 for none.
fn nullable_length(bytes: Option<&[u8]>) -> i64 {
    bytes.map_or(-1, |bytes| bytes.len() as i64)
}

fn put_nullable(into: &mut Vec<u8>, bytes: Option<&[u8]>) {
    varint::put(into, nullable_length(bytes));
    into.extend_from_slice(bytes.unwrap_or_default());
}

/// The number of bytes that [`put_nullable`] appends.
fn put_length(bytes: Option<&[u8]>) -> usize {
    varint::length(nullable_length(bytes)) + bytes.map_or(0, <[u8]>::len)
}
