//! Values that do not compress, cost almost nothing, and identify their record.

use bytes::Bytes;
use std::sync::OnceLock;

/// Longer than the window of every compressor.
const NOISE: usize = 4 << 20;

/// Identifies the record of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordIdentity {
    pub(crate) writer: u32,
    pub(crate) partition: u32,
    /// Number of the record among those of the writer in this partition, from 0.
    pub(crate) number: u64,
}

impl RecordIdentity {
    /// Returns the record's value: a slice of the noise at a position of its own, without a copy or a reference count.
    pub(crate) fn value(self, size: usize) -> Bytes {
        let noise = noise();
        let begin = self.mixed() as usize % (noise.len() - size);
        Bytes::from_static(&noise[begin..begin + size])
    }

    /// Hashes the identity, so that the slices of consecutive records are far apart.
    fn mixed(self) -> u64 {
        let identity = u64::from(self.writer) << 32 | u64::from(self.partition);
        let mixed = (self.number ^ identity.wrapping_mul(0xd6e8_feb8_6659_fd93)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed >> 32
    }
}

/// Returns the noise, the same on every run. It is static, so that its slices need no reference count.
pub(crate) fn noise() -> &'static [u8] {
    static MADE: OnceLock<Vec<u8>> = OnceLock::new();
    MADE.get_or_init(|| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let words = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        words.take(NOISE / 8).flatten().collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_near_records_have_the_same_value() {
        let mut seen = HashSet::new();
        for writer in 0..8 {
            for number in 0..2_000 {
                assert!(seen.insert(RecordIdentity { writer, partition: 3, number }.value(100)));
            }
        }
    }
}
