//! The 32 bytes of one index entry.

use crate::Uniform;

/// Length of an entry in bytes.
pub const ENTRY_LENGTH: usize = 32;
const VERSION: u16 = 1;
const UNCHECKSUMMED: u16 = 1;

/// A position between two batches of a segment, and what was known there.
///
/// An entry describes the bytes *before* its position. So the entry that a roll or a clean stop leaves at the end of a
/// segment covers all of it.
///
/// ```text
///  0 relative offset u32 | 4 position u32 | 8 running maximum timestamp i64 | 16 durable end u32
/// 20 header checksum u32 | 24 version u16 = 1 | 26 flags u16 | 28 crc32 of bytes 0..28
/// ```
///
/// Flag bit 0: `header_checksum` does not count. Bit 1: timestamps never fall. Bits 2..16: the number of batches, if
/// they are uniform; see [`Uniform`]. Earlier programs wrote 0 to all but bit 0 and ignore the rest: so the version is
/// the same.
///
/// Numbers are big-endian, as in the batches that they describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Offset of the batch that begins at `position` (or will), less the segment's base offset.
    pub relative_offset: u32,
    /// Where a batch ends and the next begins, in bytes from the start of the file.
    pub position: u32,
    /// The largest timestamp of all records before `position`, in milliseconds.
    pub max_timestamp: i64,
    /// How much of the file was known to be durable when the entry was written, in bytes.
    pub durable_end: u32,
    /// crc32 over the first 21 bytes of each batch since the previous entry; see [`crate::HeaderChecksum`].
    pub header_checksum: u32,
    /// Whether `header_checksum` was computed as the batches were written. In a rebuilt index it was not, and proves
    /// nothing.
    pub checksummed: bool,
    /// Common properties of the batches since the previous entry.
    pub uniform: Uniform,
}

/// Why 32 bytes are not an index entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Damaged, or never written.
    #[error("stored crc {stored:#010x}, computed {computed:#010x}")]
    Crc {
        /// As stored in the file.
        stored: u32,
        /// Computed over the other bytes.
        computed: u32,
    },
    /// Written by a later version of Grower.
    #[error("index entry of version {found}, this program knows version {VERSION}")]
    Version {
        /// The version it has.
        found: u16,
    },
}

impl IndexEntry {
    /// Whether `next` may follow this entry: neither offset, position nor running maximum falls.
    pub fn precedes(&self, next: &Self) -> bool {
        self.relative_offset <= next.relative_offset
            && self.position <= next.position
            && self.max_timestamp <= next.max_timestamp
    }

    /// The bytes as they are stored.
    pub fn encode(&self) -> [u8; ENTRY_LENGTH] {
        let flags = self.uniform.flags() | if self.checksummed { 0 } else { UNCHECKSUMMED };
        let mut bytes = [0; ENTRY_LENGTH];
        bytes[0..4].copy_from_slice(&self.relative_offset.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.position.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.max_timestamp.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.durable_end.to_be_bytes());
        bytes[20..24].copy_from_slice(&self.header_checksum.to_be_bytes());
        bytes[24..26].copy_from_slice(&VERSION.to_be_bytes());
        bytes[26..28].copy_from_slice(&flags.to_be_bytes());
        let crc = crc32fast::hash(&bytes[..28]);
        bytes[28..32].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Reads an entry and checks its crc.
    pub fn decode(bytes: &[u8; ENTRY_LENGTH]) -> Result<Self, EntryError> {
        let stored = u32::from_be_bytes(field(bytes, 28));
        let computed = crc32fast::hash(&bytes[..28]);
        if stored != computed {
            return Err(EntryError::Crc { stored, computed });
        }
        let found = u16::from_be_bytes(field(bytes, 24));
        if found != VERSION {
            return Err(EntryError::Version { found });
        }
        Ok(Self::decode_unchecked(bytes))
    }

    /// Decodes without checking CRC or version. The caller validates with [`Self::decode`] before it relies on the
    /// result.
    pub(crate) fn decode_unchecked(bytes: &[u8; ENTRY_LENGTH]) -> Self {
        let flags = u16::from_be_bytes(field(bytes, 26));
        Self {
            relative_offset: u32::from_be_bytes(field(bytes, 0)),
            position: u32::from_be_bytes(field(bytes, 4)),
            max_timestamp: i64::from_be_bytes(field(bytes, 8)),
            durable_end: u32::from_be_bytes(field(bytes, 16)),
            header_checksum: u32::from_be_bytes(field(bytes, 20)),
            checksummed: flags & UNCHECKSUMMED == 0,
            uniform: Uniform::from_flags(flags),
        }
    }
}

fn field<const N: usize>(bytes: &[u8; ENTRY_LENGTH], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ENTRY: IndexEntry = IndexEntry {
        relative_offset: 0x0102_0304,
        position: 0x1112_1314,
        max_timestamp: 1_700_000_000_000,
        durable_end: 0x2122_2324,
        header_checksum: 0x3132_3334,
        checksummed: true,
        uniform: Uniform { batches: 0, in_time_order: false },
    };

    fn hex(bytes: &[u8]) -> String {
        bytes.chunks(4).map(|word| word.iter().map(|b| format!("{b:02x}")).collect()).collect::<Vec<String>>().join(" ")
    }

    #[test]
    fn the_bytes_of_an_entry_never_change() {
        insta::assert_snapshot!(hex(&ENTRY.encode()), @"01020304 11121314 0000018b cfe56800 21222324 31323334 00010000 958d0660");
        insta::assert_snapshot!(hex(&IndexEntry { checksummed: false, ..ENTRY }.encode()), @"01020304 11121314 0000018b cfe56800 21222324 31323334 00010001 e28a36f6");
        let uniform = Uniform { batches: 25, in_time_order: true };
        insta::assert_snapshot!(hex(&IndexEntry { uniform, ..ENTRY }.encode()), @"01020304 11121314 0000018b cfe56800 21222324 31323334 00010066 315cc20d");
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let sound = ENTRY.encode();
        for bit in 0..ENTRY_LENGTH * 8 {
            let mut damaged = sound;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(IndexEntry::decode(&damaged).is_err(), "bit {bit}");
        }
        assert!(IndexEntry::decode(&[0; ENTRY_LENGTH]).is_err(), "zeros are no entry");
    }

    #[test]
    fn a_later_version_is_refused_by_name() {
        let mut later = ENTRY.encode();
        later[25] = 2;
        let crc = crc32fast::hash(&later[..28]);
        later[28..].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(IndexEntry::decode(&later), Err(EntryError::Version { found: 2 }));
    }

    proptest! {
        #[test]
        fn an_encoded_entry_decodes_to_itself(relative_offset: u32, position: u32, max_timestamp: i64, durable_end: u32, header_checksum: u32, flags: u16) {
            let (uniform, checksummed) = (Uniform::from_flags(flags), flags & 1 == 0);
            let entry = IndexEntry { relative_offset, position, max_timestamp, durable_end, header_checksum, checksummed, uniform };
            prop_assert_eq!(IndexEntry::decode(&entry.encode()), Ok(entry));
        }
    }
}
