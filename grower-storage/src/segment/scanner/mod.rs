//! Scans the batches of a segment file, and resynchronises after damage.

use super::{Damage, IndexLookup, IntervalEnd, Segment};
use crate::disk::{DiskError, FileOnDemand, SharedFile};
use grower_index::{Interval, PREFIX_LENGTH};
use grower_protocol::batch::{BatchHeader, HEADER_LENGTH, crc32c};
use grower_protocol::ids::Offset;
use std::ops::Range;

/// How much is read at once for headers alone: the bytes between two index entries, if batches are small.
pub(super) const HEADERS_READ: usize = (4 << 10) + 512;
/// How much is read at once when every byte is checked.
const CONTENT_READ: usize = 256 << 10;
/// Zeros are found by comparing chunks of this size.
const ZEROS: [u8; 512] = [0; 512];
/// Where the bytes covered by a batch's CRC begin.
const CRC_COVERS_FROM: usize = 21;

/// A position between two batches: the bytes before it, and the offset of the record after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogPosition {
    pub(crate) bytes: u64,
    pub(crate) offset: Offset,
}

impl LogPosition {
    /// The start of a segment.
    pub(crate) fn start_of(base: Offset) -> Self {
        Self { bytes: 0, offset: base }
    }
}

/// How closely a scan looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScanMode {
    /// Headers only: bytes that the CRC covers are taken on trust.
    Headers,
    /// Every byte.
    Content,
}

/// One item of a scan.
#[derive(Clone, Debug)]
pub(crate) enum ScanItem {
    /// A batch, sound as far as the mode looks.
    Batch(FoundBatch),
    /// Bytes that are no batch in its place. The scan continues after them.
    Damaged {
        damage: Damage,
        /// Whether it is only zeros up to the end: allocated room, where that is possible.
        zeros: bool,
    },
}

/// A batch and where it was found.
#[derive(Clone, Debug)]
pub(crate) struct FoundBatch {
    pub(crate) bytes: Range<u64>,
    pub(crate) header: BatchHeader,
    /// The bytes that the header checksum covers.
    pub(crate) prefix: [u8; PREFIX_LENGTH],
}

/// A scan from one known position to another, never past `until`.
pub(crate) struct Scanner<'a> {
    lookup: IndexLookup<'a>,
    mode: ScanMode,
    at: LogPosition,
    until: LogPosition,
    /// The durable end: a known position between two batches that has no index entry.
    durable_end: Option<u64>,
    /// The position of the next index entry, cached until the scan reaches it.
    next_indexed: Option<u64>,
    buffer: Buffer<'a>,
}

impl<'a> Scanner<'a> {
    /// Begins a scan from one known position to another.
    pub(crate) fn new(segment: &'a Segment, mode: ScanMode, at: LogPosition, until: LogPosition) -> Self {
        let ahead = if mode == ScanMode::Headers { HEADERS_READ } else { CONTENT_READ };
        let buffer = Buffer::new(&segment.file, ahead, until.bytes);
        Self { lookup: segment.lookup(), mode, at, until, durable_end: None, next_indexed: None, buffer }
    }

    /// Passes on what an index search found: the next index entry, and about how much to read at first.
    pub(crate) fn expecting(mut self, interval: &Interval, bytes: usize) -> Self {
        self.next_indexed = interval.until.map(|entry| entry.position.into());
        self.buffer.at_first = Some(bytes);
        self
    }

    /// Names the durable end, a position between two batches. Its offset is unknown.
    pub(crate) fn expect_durable_end(&mut self, position: u64) {
        self.durable_end = Some(position);
    }

    /// The position that the scan has reached.
    pub(crate) fn position(&self) -> LogPosition {
        self.at
    }

    /// The index entry at the present position, if there is one.
    pub(crate) fn interval_end(&mut self) -> Option<IntervalEnd> {
        self.lookup.interval_ending_at(self.at.bytes)
    }

    /// The next batch or damage; none at the end.
    pub(crate) fn next_item(&mut self) -> Result<Option<ScanItem>, DiskError> {
        if self.until.bytes <= self.at.bytes {
            return Ok(self.missing_at_the_end());
        }
        let item = match self.batch_at(self.at)? {
            Ok(found) => ScanItem::Batch(found),
            Err(reason) => self.damaged(reason)?,
        };
        let before = self.at.bytes;
        self.at = match &item {
            ScanItem::Batch(found) => LogPosition { bytes: found.bytes.end, offset: found.header.next_offset() },
            ScanItem::Damaged { damage, .. } => LogPosition { bytes: damage.bytes.end, offset: damage.offsets.end },
        };
        debug_assert!(before < self.at.bytes, "a scan moves on from {before}");
        debug_assert!(self.at.bytes <= self.until.bytes, "a scan stays within its end");
        Ok(Some(item))
    }

    /// The bytes are at their end, but the offsets are not: the file was cut.
    fn missing_at_the_end(&mut self) -> Option<ScanItem> {
        let offsets = self.at.offset..self.until.offset;
        if self.until.offset == Offset::MAX || offsets.is_empty() {
            return None;
        }
        self.at = self.until;
        let end = self.until.bytes;
        Some(ScanItem::Damaged { damage: self.damage(end..end, offsets, "the file ends early".into()), zeros: false })
    }

    /// The bytes of a batch that [`Scanner::next_item`] just returned.
    pub(crate) fn content(&mut self, found: &FoundBatch) -> Result<&[u8], DiskError> {
        self.buffer.get(found.bytes.start, found.header.total_length)
    }

    /// The batch at a position, or what is wrong there. Every reader checks this; a check for verify alone belongs to
    /// `inspect`.
    fn batch_at(&mut self, at: LogPosition) -> Result<Result<FoundBatch, String>, DiskError> {
        let bytes = self.buffer.get(at.bytes, HEADER_LENGTH)?;
        let header = match BatchHeader::parse(bytes) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let Some(prefix) = bytes.first_chunk().copied() else { return Ok(Err("no header".into())) };
        if header.base_offset != at.offset {
            return Ok(Err(format!("base offset {} in place of {}", header.base_offset, at.offset)));
        }
        if self.until.offset < header.next_offset() {
            return Ok(Err(format!("offsets up to {} overlap the next segment", header.last_offset())));
        }
        let end = at.bytes + header.total_length as u64;
        if self.until.bytes < end {
            return Ok(Err(format!("a batch of {} bytes reaches past the end", header.total_length)));
        }
        if self.position_after(at.bytes).is_some_and(|indexed| indexed < end) {
            return Ok(Err(format!("a batch of {} bytes reaches over an indexed one", header.total_length)));
        }
        if self.mode == ScanMode::Content {
            let content = self.buffer.get(at.bytes, header.total_length)?;
            let computed = crc32c(content.get(CRC_COVERS_FROM..).unwrap_or_default());
            if computed != header.crc {
                return Ok(Err(format!("stored crc {:#010x}, computed {computed:#010x}", header.crc)));
            }
        }
        Ok(Ok(FoundBatch { bytes: at.bytes..end, header, prefix }))
    }

    fn position_after(&mut self, position: u64) -> Option<u64> {
        if self.next_indexed.is_none_or(|indexed| indexed <= position) {
            self.next_indexed = self.lookup.position_after(position);
        }
        self.next_indexed
    }

    /// The damage from here to the first batch from which headers lead, one by one, to an anchor. A batch that merely
    /// lies inside a record leads nowhere.
    ///
    /// An anchor is a position where a batch certainly begins: an index entry, the durable end, or the end.
    fn damaged(&mut self, reason: String) -> Result<ScanItem, DiskError> {
        let start = self.at;
        if self.zeros_from(start.bytes)? {
            let (bytes, offsets) = (start.bytes..self.until.bytes, start.offset..self.until.offset);
            return Ok(ScanItem::Damaged {
                damage: self.damage(bytes, offsets, "zeros to the end".into()),
                zeros: true,
            });
        }
        let next = self.lookup.next_anchor(start.bytes);
        let anchor = if next.bytes < self.until.bytes { next } else { self.until };
        let durable = self.durable_end.filter(|known| anchor.offset == Offset::MAX && start.bytes < *known);
        let end = match durable {
            Some(position) => self.end_by_durable(LogPosition { bytes: position, offset: Offset::MAX }, start)?,
            None => self.first_leading_to(anchor, start)?.unwrap_or(anchor),
        };
        let (bytes, offsets) = (start.bytes..end.bytes, start.offset..end.offset.max(start.offset));
        Ok(ScanItem::Damaged { damage: self.damage(bytes, offsets, reason), zeros: false })
    }

    fn damage(&self, bytes: Range<u64>, offsets: Range<Offset>, reason: String) -> Damage {
        Damage { path: self.buffer.file.path().to_owned(), bytes, offsets, reason }
    }

    /// If the damage reaches the durable end, the batch after it may still tell the offset there.
    fn end_by_durable(&mut self, durable: LogPosition, start: LogPosition) -> Result<LogPosition, DiskError> {
        if let Some(found) = self.first_leading_to(durable, start)? {
            return Ok(found);
        }
        let header = BatchHeader::parse(self.buffer.get(durable.bytes, HEADER_LENGTH)?);
        let end = header.ok().map(|header| header.base_offset).filter(|offset| start.offset < *offset);
        Ok(LogPosition { offset: end.unwrap_or(durable.offset), ..durable })
    }

    fn first_leading_to(&mut self, anchor: LogPosition, start: LogPosition) -> Result<Option<LogPosition>, DiskError> {
        // Allocated room is megabytes of zeros, and no header is all zeros.
        let content = self.buffer.first_content(start.bytes + 1..anchor.bytes)?;
        let mut position = content.saturating_sub(HEADER_LENGTH as u64).max(start.bytes + 1);
        while position + HEADER_LENGTH as u64 <= anchor.bytes {
            let bytes = self.buffer.get(position, HEADER_LENGTH)?;
            if let Ok(header) = BatchHeader::parse(bytes)
                && start.offset < header.base_offset
                && header.base_offset < anchor.offset
                && self.leads_to(anchor, LogPosition { bytes: position, offset: header.base_offset })?
            {
                return Ok(Some(LogPosition { bytes: position, offset: header.base_offset }));
            }
            position += 1;
        }
        Ok(None)
    }

    fn leads_to(&mut self, anchor: LogPosition, mut at: LogPosition) -> Result<bool, DiskError> {
        while at.bytes < anchor.bytes {
            let bytes = self.buffer.get(at.bytes, HEADER_LENGTH)?;
            match BatchHeader::parse(bytes) {
                Ok(header) if header.base_offset == at.offset => {
                    at = LogPosition { bytes: at.bytes + header.total_length as u64, offset: header.next_offset() };
                }
                // Where the end is unknown, zeros will do: allocated room.
                _ => return Ok(anchor.offset == Offset::MAX && self.zeros_from(at.bytes)?),
            }
        }
        Ok(at.bytes == anchor.bytes && (at.offset == anchor.offset || anchor.offset == Offset::MAX))
    }

    fn zeros_from(&mut self, position: u64) -> Result<bool, DiskError> {
        let end = self.until.bytes;
        Ok(self.buffer.first_content(position..end)? == end)
    }
}

/// A window on a file.
struct Buffer<'a> {
    file: &'a FileOnDemand,
    /// Opened by the first read.
    opened: Option<SharedFile>,
    ahead: usize,
    /// How much to read ahead the first time, instead of `ahead`.
    at_first: Option<usize>,
    end: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Buffer<'a> {
    fn new(file: &'a FileOnDemand, ahead: usize, end: u64) -> Self {
        Self { file, opened: None, ahead, at_first: None, end, start: 0, bytes: Vec::new() }
    }

    /// Returns `length` bytes from `position` on; fewer only at the end.
    fn get(&mut self, position: u64, length: usize) -> Result<&[u8], DiskError> {
        let length = length.min(usize::try_from(self.end.saturating_sub(position)).unwrap_or(usize::MAX));
        let held = self.start..self.start + self.bytes.len() as u64;
        if position < held.start || held.end < position + length as u64 {
            self.fill(position, length)?;
        }
        let from = usize::try_from(position - self.start).unwrap_or(usize::MAX);
        let bytes = self.bytes.get(from..).unwrap_or_default();
        Ok(bytes.get(..length).unwrap_or(bytes))
    }

    /// The first chunk of a range that is not all zeros, or its end.
    fn first_content(&mut self, range: Range<u64>) -> Result<u64, DiskError> {
        let mut position = range.start;
        while position < range.end {
            let bytes = self.get(position, CONTENT_READ)?;
            let zeros =
                bytes.chunks(ZEROS.len()).take_while(|chunk| ZEROS.starts_with(chunk)).map(<[u8]>::len).sum::<usize>();
            if zeros < bytes.len() || bytes.is_empty() {
                return Ok((position + zeros as u64).min(range.end));
            }
            position += zeros as u64;
        }
        Ok(range.end)
    }

    fn fill(&mut self, position: u64, length: usize) -> Result<(), DiskError> {
        let until_end = usize::try_from(self.end.saturating_sub(position)).unwrap_or(usize::MAX);
        let ahead = self.at_first.take().unwrap_or(self.ahead);
        self.bytes.resize(length.max(ahead).min(until_end), 0);
        self.start = position;
        let file = match &self.opened {
            Some(file) => file,
            None => self.opened.insert(self.file.get()?),
        };
        let read = file.read_at(&mut self.bytes, position)?;
        self.bytes.truncate(read);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
