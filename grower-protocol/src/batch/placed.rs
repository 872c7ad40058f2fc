//! A checked batch with its offsets.

use super::header::CRC_COVERS_FROM;
use super::{BatchHeader, HEADER_LENGTH, HeaderError, Records, RecordsError, crc32c};
use crate::compression::{self, Codec};
use bytes::Bytes;

/// One whole batch with a correct CRC. It holds the bytes as stored and is cheap to clone.
#[derive(Clone, Debug)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
}

/// The reason why bytes are not a sound batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The header is invalid.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The header's length differs from the number of bytes.
    #[error("the batch header says {said} bytes, found {found}")]
    Length {
        /// The length in the header.
        said: usize,
        /// The number of bytes.
        found: usize,
    },
    /// The bytes do not match the stored CRC.
    #[error("stored crc {stored:#010x}, computed {computed:#010x}")]
    Crc {
        /// The CRC in the header.
        stored: u32,
        /// The CRC of the bytes.
        computed: u32,
    },
}

impl Batch {
    /// Checks the header, length and CRC of exactly one batch.
    pub fn check(bytes: Bytes) -> Result<Self, BatchError> {
        let header = check(&bytes)?;
        Ok(Self { header, bytes })
    }

    /// Wraps bytes that this crate has checked or encoded.
    pub(super) fn trusted(header: BatchHeader, bytes: Bytes) -> Self {
        debug_assert_eq!(header.total_length, bytes.len());
        Self { header, bytes }
    }

    /// The header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The bytes as stored and sent.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the records, decompressed into at most `limit` bytes.
    pub fn records(&self, limit: usize) -> Result<Records, RecordsError> {
        Ok(Records::new(self.header, self.plain(limit)?))
    }

    /// Returns the decompressed bytes of the records.
    pub(super) fn plain(&self, limit: usize) -> Result<Bytes, RecordsError> {
        let packed = self.bytes.slice(HEADER_LENGTH..);
        Ok(match codec(&self.header)? {
            Codec::None => packed,
            codec => compression::decompress(codec, &packed, limit)?.into(),
        })
    }
}

pub(super) fn codec(header: &BatchHeader) -> Result<Codec, RecordsError> {
    header.attributes.codec().ok_or(RecordsError::UnknownCodec { attributes: header.attributes.0 })
}

/// Checks the header, length and CRC of exactly one batch.
pub(super) fn check(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = BatchHeader::parse(bytes)?;
    if header.total_length != bytes.len() {
        return Err(BatchError::Length { said: header.total_length, found: bytes.len() });
    }
    let computed = crc32c(&bytes[CRC_COVERS_FROM..]);
    if computed != header.crc {
        return Err(BatchError::Crc { stored: header.crc, computed });
    }
    Ok(header)
}
