//! Goes through the batches of a segment file, and finds its feet again after damage.

use super::{Closing, Marks, Segment};
use crate::disk::{DiskError, FileOnDemand, SharedFile};
use grower_index::Stretch;
use grower_protocol::batch::{BatchHeader, HEADER_LENGTH, crc32c};
use grower_protocol::ids::Offset;
use std::ops::Range;

/// How much is read at once when only headers are wanted: what lies between two index entries, if batches are small.
pub(super) const HEADERS_READ: usize = (4 << 10) + 512;
/// How much is read at once when every byte is checked.
const CONTENT_READ: usize = 256 << 10;
/// Zeros are told by comparing pieces of this size.
const ZEROS: [u8; 512] = [0; 512];
/// Where the bytes begin that a batch's CRC covers.
const CRC_COVERS_FROM: usize = 21;

/// A place between two batches: bytes before it, and the offset of the record after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) position: u64,
    pub(crate) end: Offset,
}

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Headers alone: what the CRC covers is taken on trust.
    Headers,
    /// Every byte.
    Content,
}

/// One step of a walk.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A batch, sound as far as the mode looks.
    Batch(Found),
    /// Bytes that are no batch in its place. The walk goes on after them.
    Gap(Gap),
}

/// A batch where it was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) bytes: Range<u64>,
    pub(crate) header: BatchHeader,
    /// What the index witnesses.
    pub(crate) prefix: [u8; CRC_COVERS_FROM],
}

/// Damage, and what it costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) bytes: Range<u64>,
    pub(crate) offsets: Range<Offset>,
    pub(crate) what: String,
    /// Whether there is nothing but zeros up to the end: room that was allocated ahead, where that may be.
    pub(crate) zeros: bool,
}

/// The state of a walk. It never goes past `until`.
pub(crate) struct Walk<'a> {
    marks: Marks<'a>,
    mode: Mode,
    at: Extent,
    until: Extent,
    /// A position between two batches that no index entry marks.
    known: Option<u64>,
    /// The next index entry's position, until the walk has come there: one search for all batches before it.
    mark: Option<u64>,
    buffer: Buffer<'a>,
}

impl<'a> Walk<'a> {
    /// Walks from one known place to another.
    pub(crate) fn new(segment: &'a Segment, mode: Mode, at: Extent, until: Extent) -> Self {
        let ahead = if mode == Mode::Headers { HEADERS_READ } else { CONTENT_READ };
        let buffer = Buffer::new(&segment.file, ahead, until.position);
        Self { marks: segment.marks(), mode, at, until, known: None, mark: None, buffer }
    }

    /// Tells what a search found out: the next index entry, and about how much is to be read at first.
    pub(crate) fn expecting(mut self, stretch: &Stretch, bytes: usize) -> Self {
        self.mark = stretch.until.map(|entry| entry.position.into());
        self.buffer.at_first = Some(bytes);
        self
    }

    /// Tells of a position between two batches whose offset nobody knows.
    pub(crate) fn know(&mut self, position: u64) {
        self.known = Some(position);
    }

    /// Where the walk has come to.
    pub(crate) fn at(&self) -> Extent {
        self.at
    }

    /// The index entry there, if there is one.
    pub(crate) fn closing(&mut self) -> Option<Closing> {
        self.marks.closing_at(self.at.position)
    }

    /// The next batch or gap; none at the end.
    pub(crate) fn step(&mut self) -> Result<Option<Step>, DiskError> {
        if self.until.position <= self.at.position {
            return Ok(self.missing_at_the_end());
        }
        let step = match self.look(self.at)? {
            Ok(found) => Step::Batch(found),
            Err(what) => Step::Gap(self.gap(what)?),
        };
        self.at = match &step {
            Step::Batch(found) => Extent { position: found.bytes.end, end: found.header.next_offset() },
            Step::Gap(gap) => Extent { position: gap.bytes.end, end: gap.offsets.end },
        };
        Ok(Some(step))
    }

    /// The bytes are at their end, but the offsets are not: a part was cut off.
    fn missing_at_the_end(&mut self) -> Option<Step> {
        let offsets = self.at.end..self.until.end;
        if self.until.end == Offset::MAX || offsets.is_empty() {
            return None;
        }
        self.at = self.until;
        let end = self.until.position;
        Some(Step::Gap(Gap { bytes: end..end, offsets, what: "the file ends early".into(), zeros: false }))
    }

    /// The bytes of a batch that [`Walk::step`] just gave.
    pub(crate) fn content(&mut self, found: &Found) -> Result<&[u8], DiskError> {
        self.buffer.get(found.bytes.start, found.header.total_length)
    }

    /// The batch at a place, or what is wrong there.
    fn look(&mut self, at: Extent) -> Result<Result<Found, String>, DiskError> {
        let bytes = self.buffer.get(at.position, HEADER_LENGTH)?;
        let header = match BatchHeader::parse(bytes) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let Some(prefix) = bytes.first_chunk().copied() else { return Ok(Err("no header".into())) };
        if header.base_offset != at.end {
            return Ok(Err(format!("base offset {} in place of {}", header.base_offset, at.end)));
        }
        if self.until.end < header.next_offset() {
            return Ok(Err(format!("offsets up to {} overlap the next segment", header.last_offset())));
        }
        let end = at.position + header.total_length as u64;
        if self.until.position < end {
            return Ok(Err(format!("a batch of {} bytes reaches past the end", header.total_length)));
        }
        if self.mark_after(at.position).is_some_and(|mark| mark < end) {
            return Ok(Err(format!("a batch of {} bytes reaches over an indexed one", header.total_length)));
        }
        if self.mode == Mode::Content {
            let content = self.buffer.get(at.position, header.total_length)?;
            let computed = crc32c(content.get(CRC_COVERS_FROM..).unwrap_or_default());
            if computed != header.crc {
                return Ok(Err(format!("stored crc {:#010x}, computed {computed:#010x}", header.crc)));
            }
        }
        Ok(Ok(Found { bytes: at.position..end, header, prefix }))
    }

    fn mark_after(&mut self, position: u64) -> Option<u64> {
        if self.mark.is_none_or(|mark| mark <= position) {
            self.mark = self.marks.mark_after(position);
        }
        self.mark
    }

    /// The damage from here to the first batch after it from which headers lead, one by one, to a place that is known:
    /// an index entry, the durable end, or the end. A batch that merely lies inside a record leads nowhere.
    fn gap(&mut self, what: String) -> Result<Gap, DiskError> {
        let start = self.at;
        if self.zeros_from(start.position)? {
            let (bytes, offsets) = (start.position..self.until.position, start.end..self.until.end);
            return Ok(Gap { bytes, offsets, what: "zeros to the end".into(), zeros: true });
        }
        let next = self.marks.next_anchor(start.position);
        let anchor = if next.position < self.until.position { next } else { self.until };
        let durable = self.known.filter(|known| anchor.end == Offset::MAX && start.position < *known);
        let end = match durable {
            Some(position) => self.end_by_durable(Extent { position, end: Offset::MAX }, start)?,
            None => self.first_leading_to(anchor, start)?.unwrap_or(anchor),
        };
        let (bytes, offsets) = (start.position..end.position, start.end..end.end.max(start.end));
        Ok(Gap { bytes, offsets, what, zeros: false })
    }

    /// When the damage reaches to the durable end, what was written after it may still tell the offset there.
    fn end_by_durable(&mut self, durable: Extent, start: Extent) -> Result<Extent, DiskError> {
        if let Some(found) = self.first_leading_to(durable, start)? {
            return Ok(found);
        }
        let header = BatchHeader::parse(self.buffer.get(durable.position, HEADER_LENGTH)?);
        let end = header.ok().map(|header| header.base_offset).filter(|offset| start.end < *offset);
        Ok(Extent { end: end.unwrap_or(durable.end), ..durable })
    }

    fn first_leading_to(&mut self, anchor: Extent, start: Extent) -> Result<Option<Extent>, DiskError> {
        // What was allocated ahead is zeros by the megabyte, and no header is all zeros.
        let content = self.buffer.first_content(start.position + 1..anchor.position)?;
        let mut position = content.saturating_sub(HEADER_LENGTH as u64).max(start.position + 1);
        while position + HEADER_LENGTH as u64 <= anchor.position {
            let bytes = self.buffer.get(position, HEADER_LENGTH)?;
            if let Ok(header) = BatchHeader::parse(bytes)
                && start.end < header.base_offset
                && header.base_offset < anchor.end
                && self.leads_to(anchor, Extent { position, end: header.base_offset })?
            {
                return Ok(Some(Extent { position, end: header.base_offset }));
            }
            position += 1;
        }
        Ok(None)
    }

    fn leads_to(&mut self, anchor: Extent, mut at: Extent) -> Result<bool, DiskError> {
        while at.position < anchor.position {
            let bytes = self.buffer.get(at.position, HEADER_LENGTH)?;
            match BatchHeader::parse(bytes) {
                Ok(header) if header.base_offset == at.end => {
                    at = Extent { position: at.position + header.total_length as u64, end: header.next_offset() };
                }
                // Where nobody knows the end, zeros are as good: room that was allocated ahead.
                _ => return Ok(anchor.end == Offset::MAX && self.zeros_from(at.position)?),
            }
        }
        Ok(at.position == anchor.position && (at.end == anchor.end || anchor.end == Offset::MAX))
    }

    fn zeros_from(&mut self, position: u64) -> Result<bool, DiskError> {
        let end = self.until.position;
        Ok(self.buffer.first_content(position..end)? == end)
    }
}

/// A window on a file.
struct Buffer<'a> {
    file: &'a FileOnDemand,
    /// Open from the first read on.
    opened: Option<SharedFile>,
    ahead: usize,
    /// In place of `ahead`, the first time.
    at_first: Option<usize>,
    end: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Buffer<'a> {
    fn new(file: &'a FileOnDemand, ahead: usize, end: u64) -> Self {
        Self { file, opened: None, ahead, at_first: None, end, start: 0, bytes: Vec::new() }
    }

    /// `length` bytes from `position` on; fewer only at the end.
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

    /// The first piece of a stretch that is not all zeros, or its end.
    fn first_content(&mut self, stretch: Range<u64>) -> Result<u64, DiskError> {
        let mut position = stretch.start;
        while position < stretch.end {
            let bytes = self.get(position, CONTENT_READ)?;
            let zeros =
                bytes.chunks(ZEROS.len()).take_while(|piece| ZEROS.starts_with(piece)).map(<[u8]>::len).sum::<usize>();
            if zeros < bytes.len() || bytes.is_empty() {
                return Ok((position + zeros as u64).min(stretch.end));
            }
            position += zeros as u64;
        }
        Ok(stretch.end)
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
