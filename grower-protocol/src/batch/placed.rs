//! A batch that was checked and has its offsets.

use super::header::CRC_COVERS_FROM;
use super::{BatchHeader, HEADER_LENGTH, HeaderError, Records, RecordsError, crc32c};
use crate::compression::{self, Codec};
use bytes::Bytes;

/// One whole batch whose CRC is right. Cheap to clone; holds the bytes as they are stored.
#[derive(Clone, Debug)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
}

/// Why bytes are not a sound batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The header makes no sense.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The header speaks of another length than there is.
    #[error("the batch says it has {said} bytes, {found} are here")]
    Length {
        /// By the header.
        said: usize,
        /// In hand.
        found: usize,
    },
    /// What the producer signed is not what is here.
    #[error("stored crc {stored:#010x}, computed {computed:#010x}")]
    Crc {
        /// By the header.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
}

impl Batch {
    /// Takes exactly one batch and checks its CRC.
    pub fn check(bytes: Bytes) -> Result<Self, BatchError> {
        let header = check(&bytes)?;
        Ok(Self { header, bytes })
    }

    /// For bytes that were checked where they are wrapped.
    pub(super) fn trusted(header: BatchHeader, bytes: Bytes) -> Self {
        Self { header, bytes }
    }

    /// The header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The batch as it is stored and sent.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Its records; decompressed, if need be, into at most `limit` bytes.
    pub fn records(&self, limit: usize) -> Result<Records, RecordsError> {
        Ok(Records::new(self.header, self.plain(limit)?))
    }

    /// The bytes of its records, decompressed.
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

/// Header, length and CRC of exactly one batch.
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
