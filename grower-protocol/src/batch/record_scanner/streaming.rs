//! Scans records during decompression. Every check of [`RecordScanner`] applies, but the whole batch is never in
//! memory. The broker checks producers' batches in this way, and compaction reads keys.

use super::{Cursor, RawRecord, RecordScanner, RecordsError, varint};
use crate::compression::Decompressor;
use crate::ids::Timestamp;
use std::ops::Range;

/// A scanned record without its key and value.
pub(in crate::batch) struct RecordSummary {
    pub(in crate::batch) offset_delta: u32,
    pub(in crate::batch) timestamp: Timestamp,
    pub(in crate::batch) has_key: bool,
    pub(in crate::batch) is_tombstone: bool,
}

/// Chooses records one by one and receives the chosen ones.
pub(in crate::batch) trait RecordSink {
    /// Called before the scanner allocates memory for a key of this length.
    fn before_key(&mut self, length: usize);

    /// Whether to keep a record.
    fn keeps(&mut self, summary: &RecordSummary, key: Option<&[u8]>) -> bool;

    /// Starts a kept record. `content_length` bytes of content follow, from the key's length to the end of the record.
    fn begin(&mut self, attributes: &[u8], summary: &RecordSummary, content_length: usize);

    /// Receives the next bytes of the content.
    fn write(&mut self, content: &[u8]);
}

impl From<RawRecord> for RecordSummary {
    fn from(raw: RawRecord) -> Self {
        Self {
            offset_delta: raw.offset_delta,
            timestamp: raw.timestamp,
            has_key: raw.key.is_some(),
            is_tombstone: raw.value.is_none(),
        }
    }
}

impl RecordScanner {
    /// Checks the next record of `decompressor`; `None` after the last one. The scanner is unusable after an error.
    pub(in crate::batch) fn check_next(
        &mut self,
        decompressor: &mut Decompressor<'_>,
    ) -> Result<Option<RecordSummary>, RecordsError> {
        let Some(ends_here) = self.next_ends_here(decompressor)? else { return Ok(None) };
        if !ends_here {
            return self.check_chunked(decompressor).map(Some);
        }
        let chunk = decompressor.chunk()?;
        self.at = 0;
        let summary = self.record(chunk)?;
        decompressor.consume(self.at);
        Ok(Some(summary.into()))
    }

    /// Passes the next record to `sink` if it keeps it; `false` after the last one.
    pub(in crate::batch) fn filter_next(
        &mut self,
        decompressor: &mut Decompressor<'_>,
        sink: &mut impl RecordSink,
    ) -> Result<bool, RecordsError> {
        let Some(ends_here) = self.next_ends_here(decompressor)? else { return Ok(false) };
        if !ends_here {
            return self.filter_chunked(decompressor, sink).map(|()| true);
        }
        let chunk = decompressor.chunk()?;
        self.at = 0;
        let raw = self.record(chunk)?;
        let part = |range: &Range<usize>| chunk.get(range.clone()).unwrap_or_default();
        let (attributes, content, key) = (part(&raw.attributes), part(&raw.content), raw.key.as_ref().map(part));
        let summary = RecordSummary::from(raw);
        if sink.keeps(&summary, key) {
            sink.begin(attributes, &summary, content.len());
            sink.write(content);
        }
        decompressor.consume(self.at);
        Ok(true)
    }

    /// Whether the next record ends in the chunk in which it begins; none after the last one.
    fn next_ends_here(&self, decompressor: &mut Decompressor<'_>) -> Result<Option<bool>, RecordsError> {
        let chunk = decompressor.chunk()?;
        if self.index == self.count {
            let surplus = RecordsError::Count { header: self.count, found: self.count.saturating_add(1) };
            return if chunk.is_empty() { Ok(None) } else { Err(surplus) };
        }
        if chunk.is_empty() {
            return Err(RecordsError::Count { header: self.count, found: self.index });
        }
        let mut cursor = Cursor { all: chunk, at: 0 };
        Ok(Some(cursor.span().is_some()))
    }

    fn filter_chunked(
        &mut self,
        decompressor: &mut Decompressor<'_>,
        sink: &mut impl RecordSink,
    ) -> Result<(), RecordsError> {
        let mut chunked = ChunkedRecord {
            decompressor,
            bytes_left: usize::MAX,
            malformed: RecordsError::Malformed { index: self.index },
        };
        chunked.bytes_left = chunked.length()?;
        let attributes = chunked.byte()?;
        let timestamp_delta = chunked.varint()?;
        let delta = chunked.varint()?;
        let content_length = chunked.bytes_left;
        let mut head = Vec::new(); // The encoded key length, key and value length.
        let key = chunked.key_into(&mut head, sink)?;
        let value_length = chunked.nullable_length(&mut head)?;
        let (offset_delta, timestamp) = (self.check_delta(delta)?, self.timestamp(timestamp_delta));
        let (has_key, is_tombstone) = (key.is_some(), value_length.is_none());
        let summary = RecordSummary { offset_delta, timestamp, has_key, is_tombstone };
        let kept = sink.keeps(&summary, key.and_then(|range| head.get(range)));
        if kept {
            sink.begin(&[attributes], &summary, content_length);
            sink.write(&head);
        }
        drop(head);
        chunked.rest(value_length.unwrap_or(0), |bytes| {
            if kept {
                sink.write(bytes);
            }
        })?;
        self.previous_delta = Some(offset_delta);
        self.index += 1;
        Ok(())
    }

    fn check_chunked(&mut self, decompressor: &mut Decompressor<'_>) -> Result<RecordSummary, RecordsError> {
        let malformed = RecordsError::Malformed { index: self.index };
        let mut chunked = ChunkedRecord { decompressor, bytes_left: usize::MAX, malformed: malformed.clone() };
        chunked.bytes_left = chunked.length()?;
        chunked.skip(1)?; // Attributes.
        let timestamp_delta = chunked.varint()?;
        let delta = chunked.varint()?;
        let has_key = chunked.nullable()?;
        let is_tombstone = !chunked.nullable()?;
        for _ in 0..chunked.length()? {
            let name = chunked.length()?;
            chunked.skip(name)?;
            chunked.nullable()?;
        }
        if 0 < chunked.bytes_left {
            return Err(malformed);
        }
        let offset_delta = self.check_delta(delta)?;
        self.previous_delta = Some(offset_delta);
        self.index += 1;
        Ok(RecordSummary { offset_delta, timestamp: self.timestamp(timestamp_delta), has_key, is_tombstone })
    }
}

/// Reads one record that spans several chunks.
struct ChunkedRecord<'a, 'b> {
    decompressor: &'a mut Decompressor<'b>,
    bytes_left: usize,
    malformed: RecordsError,
}

impl ChunkedRecord<'_, '_> {
    fn byte(&mut self) -> Result<u8, RecordsError> {
        let byte = self.decompressor.chunk()?.first().copied().filter(|_| 0 < self.bytes_left);
        let byte = byte.ok_or_else(|| self.malformed.clone())?;
        self.decompressor.consume(1);
        self.bytes_left -= 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<i64, RecordsError> {
        self.varint_into(&mut Vec::new())
    }

    /// Reads a varint and appends its encoded bytes to `into`.
    fn varint_into(&mut self, into: &mut Vec<u8>) -> Result<i64, RecordsError> {
        let mut bytes = [0; varint::LENGTH_MAX];
        for byte in &mut bytes {
            *byte = self.byte()?;
            into.push(*byte);
            if *byte & 0x80 == 0 {
                break;
            }
        }
        varint::take(&mut &bytes[..]).ok_or_else(|| self.malformed.clone())
    }

    fn length(&mut self) -> Result<usize, RecordsError> {
        usize::try_from(self.varint()?).map_err(|_| self.malformed.clone())
    }

    /// Skips a length and that number of bytes. Returns `false` for the length -1, which means none.
    fn nullable(&mut self) -> Result<bool, RecordsError> {
        let length = self.nullable_length(&mut Vec::new())?;
        length.map_or(Ok(()), |length| self.skip(length))?;
        Ok(length.is_some())
    }

    /// Reads a length and appends its encoded bytes to `into`; none for the length -1.
    fn nullable_length(&mut self, into: &mut Vec<u8>) -> Result<Option<usize>, RecordsError> {
        match self.varint_into(into)? {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| self.malformed.clone()),
        }
    }

    /// Appends the encoded key length and the key to `into`. Returns the range of the key in `into`.
    fn key_into(
        &mut self,
        into: &mut Vec<u8>,
        sink: &mut impl RecordSink,
    ) -> Result<Option<Range<usize>>, RecordsError> {
        let Some(length) = self.nullable_length(into)? else { return Ok(None) };
        if self.bytes_left.min(self.decompressor.left()) < length {
            return Err(self.malformed.clone());
        }
        sink.before_key(length);
        into.reserve_exact(length + varint::LENGTH_MAX);
        let start = into.len();
        self.take(length, |bytes| into.extend_from_slice(bytes))?;
        Ok(Some(start..into.len()))
    }

    /// Passes the value and the headers to `each`. They must end at the end of the record.
    fn rest(&mut self, value_length: usize, mut each: impl FnMut(&[u8])) -> Result<(), RecordsError> {
        self.take(value_length, &mut each)?;
        let mut number = Vec::new();
        let count = self.varint_into(&mut number)?;
        let count = usize::try_from(count).map_err(|_| self.malformed.clone())?;
        each(&number);
        for part in 0..count.saturating_mul(2) {
            number.clear();
            let length = self.nullable_length(&mut number)?;
            let is_name = part % 2 == 0;
            if is_name && length.is_none() {
                return Err(self.malformed.clone());
            }
            each(&number);
            self.take(length.unwrap_or(0), &mut each)?;
        }
        if self.bytes_left == 0 { Ok(()) } else { Err(self.malformed.clone()) }
    }

    fn skip(&mut self, count: usize) -> Result<(), RecordsError> {
        self.take(count, |_| {})
    }

    fn take(&mut self, count: usize, mut each: impl FnMut(&[u8])) -> Result<(), RecordsError> {
        if self.bytes_left < count {
            return Err(self.malformed.clone());
        }
        let mut rest = count;
        while 0 < rest {
            let chunk = self.decompressor.chunk()?;
            let here = chunk.len().min(rest);
            if here == 0 {
                return Err(self.malformed.clone());
            }
            each(&chunk[..here]);
            self.decompressor.consume(here);
            rest -= here;
        }
        self.bytes_left -= count;
        Ok(())
    }
}
