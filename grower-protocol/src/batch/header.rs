//! The batch header: the first 61 bytes of every batch.

use crate::compression::Codec;
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

/// Length of a batch header in bytes.
pub const HEADER_LENGTH: usize = 61;
/// Position of the first byte that the length field counts.
pub(super) const LENGTH_COUNTS_FROM: usize = 12;
/// Position of the first byte that the CRC covers.
pub(super) const CRC_COVERS_FROM: usize = 21;
pub(super) const MAGIC: u8 = 2;

/// The header of a batch with consistent fields. The CRC is not checked: see [`Batch::check`](super::Batch::check).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record. Compaction keeps it even when it drops that record.
    pub base_offset: Offset,
    /// Length of the whole batch in bytes, including the header.
    pub total_length: usize,
    /// The leader epoch that appended the batch; none before the append.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The stored CRC-32C of byte 21 to the end.
    pub crc: u32,
    /// The codec and flags.
    pub attributes: Attributes,
    /// Offset of the last record, relative to `base_offset`.
    pub last_offset_delta: u32,
    /// The base of the records' timestamp deltas. Compaction may set it to a delete horizon.
    pub base_timestamp: Timestamp,
    /// The largest timestamp of the records.
    pub max_timestamp: Timestamp,
    /// The idempotent producer that wrote the batch, if any.
    pub producer: Option<ProducerStamp>,
    /// The number of records.
    pub record_count: u32,
}

/// The producer of a batch and the sequence number of its first record: together they identify a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerStamp {
    /// The producer's id.
    pub id: ProducerId,
    /// The producer's epoch.
    pub epoch: ProducerEpoch,
    /// The sequence number of the first record; none in a control batch.
    pub base_sequence: Option<Sequence>,
}

/// Attribute bits. 0-2: codec, 3: timestamp type, 4: transactional, 5: control, 6: delete horizon. The rest is unused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub(super) u16);

/// The origin of a batch's timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer set a timestamp for each record.
    Create,
    /// The broker set one timestamp at the append: the batch's maximum holds for every record.
    LogAppend,
}

impl Attributes {
    pub(super) const fn of(codec: Codec) -> Self {
        Self(codec.id() as u16)
    }

    /// The codec; none if its number is unknown.
    pub fn codec(self) -> Option<Codec> {
        Codec::from_id((self.0 & 0b111) as u8)
    }

    /// The origin of the timestamps.
    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & 0b1000 == 0 { TimestampType::Create } else { TimestampType::LogAppend }
    }

    /// Whether the batch is part of a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & 0b1_0000 != 0
    }

    /// Whether a coordinator wrote the batch, not a user.
    pub fn is_control(self) -> bool {
        self.0 & 0b10_0000 != 0
    }

    /// Whether the base timestamp is a delete horizon, set by compaction.
    pub fn has_delete_horizon(self) -> bool {
        self.0 & 0b100_0000 != 0
    }

    /// Returns the attributes with another codec, and with or without a delete horizon.
    pub(super) fn rewritten(self, codec: Codec, delete_horizon: bool) -> Self {
        let kept = self.0 & !0b100_0111;
        Self(kept | u16::from(codec.id()) | u16::from(delete_horizon) << 6)
    }

    /// The bits that no version of the format defines.
    pub fn unused(self) -> u16 {
        self.0 & !0b111_1111
    }
}

/// The reason why bytes are not a batch header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The bytes are fewer than a header.
    #[error("a batch header has 61 bytes, found {found}")]
    Short {
        /// The number of bytes.
        found: usize,
    },
    /// The format is another version, or the bytes are not a batch.
    #[error("magic is {found}, not 2")]
    Magic {
        /// The byte at the position of the magic.
        found: u8,
    },
    /// The length is negative or shorter than a header.
    #[error("batch length {found} is invalid")]
    Length {
        /// The length field.
        found: i32,
    },
    /// A field is negative or contradicts another field.
    #[error("{field} {found} is invalid")]
    Field {
        /// The field's name.
        field: &'static str,
        /// The field's value.
        found: i64,
    },
}

impl BatchHeader {
    /// Parses the header at the start of `bytes`. The rest of the batch may be missing.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let Some(raw) = bytes.first_chunk::<HEADER_LENGTH>() else {
            return Err(HeaderError::Short { found: bytes.len() });
        };
        let length = i32::from_be_bytes(field(raw, 8));
        if raw[16] != MAGIC {
            return Err(HeaderError::Magic { found: raw[16] });
        }
        let total_length = total_length(length)?;
        let last_offset_delta = i32::from_be_bytes(field(raw, 23));
        let record_count = i32::from_be_bytes(field(raw, 57));
        let header = Self {
            base_offset: read_offset(i64::from_be_bytes(field(raw, 0)))?,
            total_length,
            leader_epoch: LeaderEpoch::from_wire(i32::from_be_bytes(field(raw, 12))),
            crc: u32::from_be_bytes(field(raw, 17)),
            attributes: Attributes(u16::from_be_bytes(field(raw, 21))),
            last_offset_delta: not_negative("last offset delta", last_offset_delta)?,
            base_timestamp: Timestamp::from_millis(i64::from_be_bytes(field(raw, 27))),
            max_timestamp: Timestamp::from_millis(i64::from_be_bytes(field(raw, 35))),
            producer: read_producer(raw),
            record_count: not_negative("record count", record_count)?,
        };
        header.check_span()
    }

    /// The offset of the last record.
    pub fn last_offset(&self) -> Offset {
        self.base_offset.saturating_add(self.last_offset_delta.into())
    }

    /// The offset after the last record, at which the next batch begins. The record count does not matter: compaction
    /// drops records.
    pub fn next_offset(&self) -> Offset {
        self.last_offset().saturating_add(1)
    }

    /// The time after which compaction may drop the batch's tombstones, if compaction has set it.
    pub fn delete_horizon(&self) -> Option<Timestamp> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }

    fn check_span(self) -> Result<Self, HeaderError> {
        if u64::from(self.last_offset_delta) + 1 < u64::from(self.record_count) {
            return Err(HeaderError::Field { field: "record count", found: self.record_count.into() });
        }
        match self.base_offset.checked_add(u64::from(self.last_offset_delta) + 1) {
            Some(_) => Ok(self),
            None => Err(HeaderError::Field { field: "base offset", found: self.base_offset.to_wire() }),
        }
    }
}

/// Returns the `N` bytes at position `at` of the header.
fn field<const N: usize>(raw: &[u8; HEADER_LENGTH], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&raw[at..at + N]);
    bytes
}

/// Converts a length field to the length of the whole batch.
fn total_length(length: i32) -> Result<usize, HeaderError> {
    match usize::try_from(length) {
        Ok(rest) if HEADER_LENGTH <= rest + LENGTH_COUNTS_FROM => Ok(rest + LENGTH_COUNTS_FROM),
        _ => Err(HeaderError::Length { found: length }),
    }
}

fn not_negative(field: &'static str, found: i32) -> Result<u32, HeaderError> {
    u32::try_from(found).map_err(|_| HeaderError::Field { field, found: found.into() })
}

fn read_offset(raw: i64) -> Result<Offset, HeaderError> {
    Offset::from_wire(raw).ok_or(HeaderError::Field { field: "base offset", found: raw })
}

fn read_producer(raw: &[u8; HEADER_LENGTH]) -> Option<ProducerStamp> {
    let id = ProducerId::from_wire(i64::from_be_bytes(field(raw, 43)))?;
    let epoch = ProducerEpoch::from_wire(i16::from_be_bytes(field(raw, 51)))?;
    Some(ProducerStamp { id, epoch, base_sequence: Sequence::from_wire(i32::from_be_bytes(field(raw, 53))) })
}
