//! The 61 bytes in front of every batch.

use crate::compression::Codec;
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

/// Length of a batch's header in bytes.
pub const HEADER_LENGTH: usize = 61;
/// Where the bytes begin that the length field counts.
pub(super) const LENGTH_COUNTS_FROM: usize = 12;
/// Where the bytes begin that the CRC covers.
pub(super) const CRC_COVERS_FROM: usize = 21;
pub(super) const MAGIC: u8 = 2;

/// The header of a batch, read and found plausible. Nothing here says that the CRC is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of its first record; kept when compaction later drops that record.
    pub base_offset: Offset,
    /// The whole batch in bytes, header included.
    pub total_length: usize,
    /// The leadership under which it was appended; none before it was.
    pub leader_epoch: Option<LeaderEpoch>,
    /// CRC-32C of byte 21 to the end.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: Attributes,
    /// Offset of its last record, counted from `base_offset`.
    pub last_offset_delta: u32,
    /// What the records' timestamps are relative to.
    pub base_timestamp: Timestamp,
    /// The largest timestamp of its records.
    pub max_timestamp: Timestamp,
    /// Which idempotent producer wrote it.
    pub producer: Option<ProducerStamp>,
    /// How many records it holds.
    pub record_count: u32,
}

/// Who wrote a batch, and as what number of its records: enough to recognise a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerStamp {
    /// The producer.
    pub id: ProducerId,
    /// Its incarnation.
    pub epoch: ProducerEpoch,
    /// The number of the batch's first record; none in a control batch.
    pub base_sequence: Option<Sequence>,
}

/// Bits 0-2: codec, 3: timestamp type, 4: transactional, 5: control, 6: delete horizon. The rest is unused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub(super) u16);

/// Who set the timestamps of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer, each record its own.
    Create,
    /// The broker: every record counts as of the batch's maximum.
    LogAppend,
}

impl Attributes {
    pub(super) const fn of(codec: Codec) -> Self {
        Self(codec.id() as u16)
    }

    /// How the records are compressed, if the number is one we know.
    pub fn codec(self) -> Option<Codec> {
        Codec::from_id((self.0 & 0b111) as u8)
    }

    /// Who set the timestamps.
    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & 0b1000 == 0 { TimestampType::Create } else { TimestampType::LogAppend }
    }

    /// Part of a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & 0b1_0000 != 0
    }

    /// Written by a coordinator, not by a user.
    pub fn is_control(self) -> bool {
        self.0 & 0b10_0000 != 0
    }

    /// The base timestamp is a delete horizon, set by compaction.
    pub fn has_delete_horizon(self) -> bool {
        self.0 & 0b100_0000 != 0
    }

    /// The same with or without records to compress, and with a base timestamp that is a delete horizon or not.
    pub(super) fn rewritten(self, codec: Codec, delete_horizon: bool) -> Self {
        let kept = self.0 & !0b100_0111;
        Self(kept | u16::from(codec.id()) | u16::from(delete_horizon) << 6)
    }

    /// Bits that no version defines.
    pub fn unused(self) -> u16 {
        self.0 & !0b111_1111
    }
}

/// Why the first 61 bytes are not a batch header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Fewer bytes than a header has.
    #[error("a batch header has 61 bytes, only {found} are here")]
    Short {
        /// How many there are.
        found: usize,
    },
    /// Another format, or not a batch at all.
    #[error("magic is {found}, not 2")]
    Magic {
        /// The byte in its place.
        found: u8,
    },
    /// A length that cannot hold a header, or is negative.
    #[error("batch length {found} cannot be")]
    Length {
        /// The field as it stands.
        found: i32,
    },
    /// A field that is negative or does not fit the others.
    #[error("{field} is {found}, which cannot be")]
    Field {
        /// Its name.
        field: &'static str,
        /// Its value.
        found: i64,
    },
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`; what follows it need not be there yet.
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

    /// Offset of its last record.
    pub fn last_offset(&self) -> Offset {
        self.base_offset.saturating_add(self.last_offset_delta.into())
    }

    /// The offset after its last record: where the next batch begins. Never counted by records, since compaction drops some.
    pub fn next_offset(&self) -> Offset {
        self.last_offset().saturating_add(1)
    }

    /// From when on its tombstones may be dropped, if compaction has said so.
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

/// The `N` bytes at `at`; the compiler sees that the header is long enough.
fn field<const N: usize>(raw: &[u8; HEADER_LENGTH], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&raw[at..at + N]);
    bytes
}

/// What a length field says of the whole batch.
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
