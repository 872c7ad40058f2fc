//! The walk over records that are decompressed meanwhile: all checks, no keys and values, and never the whole batch in
//! memory. A broker that looks at what producers send needs no more.

use super::{Cursor, RawRecord, RecordsError, Walk, varint};
use crate::compression::Plain;
use crate::ids::Timestamp;

/// What is known of a record that was passed over.
pub(in crate::batch) struct Passed {
    pub(in crate::batch) timestamp: Timestamp,
    pub(in crate::batch) has_key: bool,
}

impl From<RawRecord> for Passed {
    fn from(raw: RawRecord) -> Self {
        Self { timestamp: raw.timestamp, has_key: raw.key.is_some() }
    }
}

impl Walk {
    /// Passes over the next record of `plain`; `None` after the last one. Not to be called again after an error.
    pub(in crate::batch) fn pass(&mut self, plain: &mut Plain<'_>) -> Result<Option<Passed>, RecordsError> {
        let chunk = plain.chunk()?;
        if self.index == self.count {
            let surplus = RecordsError::Count { header: self.count, found: self.count.saturating_add(1) };
            return if chunk.is_empty() { Ok(None) } else { Err(surplus) };
        }
        if chunk.is_empty() {
            return Err(RecordsError::Count { header: self.count, found: self.index });
        }
        let mut cursor = Cursor { all: chunk, at: 0 };
        if cursor.span().is_none() {
            return self.pass_in_pieces(plain).map(Some); // It does not end in this chunk.
        }
        self.at = 0;
        let passed = self.record(chunk)?;
        plain.consume(self.at);
        Ok(Some(passed.into()))
    }

    fn pass_in_pieces(&mut self, plain: &mut Plain<'_>) -> Result<Passed, RecordsError> {
        let malformed = RecordsError::Malformed { index: self.index };
        let mut pieces = Pieces { plain, left: usize::MAX, malformed: malformed.clone() };
        pieces.left = pieces.length()?;
        pieces.skip(1)?; // Attributes.
        let timestamp_delta = pieces.varint()?;
        let delta = pieces.varint()?;
        let has_key = pieces.nullable()?;
        pieces.nullable()?;
        for _ in 0..pieces.length()? {
            let name = pieces.length()?;
            pieces.skip(name)?;
            pieces.nullable()?;
        }
        if 0 < pieces.left {
            return Err(malformed);
        }
        self.previous_delta = Some(self.check_delta(delta)?);
        self.index += 1;
        Ok(Passed { timestamp: self.timestamp(timestamp_delta), has_key })
    }
}

/// The rest of one record, a piece at a time.
struct Pieces<'a, 'b> {
    plain: &'a mut Plain<'b>,
    left: usize,
    malformed: RecordsError,
}

impl Pieces<'_, '_> {
    fn byte(&mut self) -> Result<u8, RecordsError> {
        let byte = self.plain.chunk()?.first().copied().filter(|_| 0 < self.left);
        let byte = byte.ok_or_else(|| self.malformed.clone())?;
        self.plain.consume(1);
        self.left -= 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<i64, RecordsError> {
        let mut bytes = [0; 10];
        for byte in &mut bytes {
            *byte = self.byte()?;
            if *byte & 0x80 == 0 {
                break;
            }
        }
        varint::take(&mut &bytes[..]).ok_or_else(|| self.malformed.clone())
    }

    fn length(&mut self) -> Result<usize, RecordsError> {
        usize::try_from(self.varint()?).map_err(|_| self.malformed.clone())
    }

    /// A length and that many bytes, or the length -1 for none; says whether there are any.
    fn nullable(&mut self) -> Result<bool, RecordsError> {
        match self.varint()? {
            -1 => Ok(false),
            length => {
                let length = usize::try_from(length).map_err(|_| self.malformed.clone())?;
                self.skip(length).map(|()| true)
            }
        }
    }

    fn skip(&mut self, count: usize) -> Result<(), RecordsError> {
        if self.left < count {
            return Err(self.malformed.clone());
        }
        let mut rest = count;
        while 0 < rest {
            let here = self.plain.chunk()?.len().min(rest);
            if here == 0 {
                return Err(self.malformed.clone());
            }
            self.plain.consume(here);
            rest -= here;
        }
        self.left -= count;
        Ok(())
    }
}
