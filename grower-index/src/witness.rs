//! A checksum over what the batch's own CRC leaves out.

/// How many bytes at the front of each batch are witnessed: base offset, length, epoch, magic and the batch's CRC.
pub const PREFIX_LENGTH: usize = 21;

/// Runs over the first 21 bytes of every batch between two entries.
///
/// A batch signs its content, but not where it stands: base offset and epoch are filled in by the broker. The witness
/// covers those, and through the batch's CRC, which lies in the same bytes, the content as well. The seed says which
/// partition the log belongs to, so a block that strayed in from another one is noticed.
#[derive(Clone, Debug)]
pub struct Witness {
    seed: u32,
    hasher: crc32fast::Hasher,
}

impl Witness {
    /// Begins after an entry (or at the start of a segment).
    pub fn new(seed: u32) -> Self {
        Self { seed, hasher: crc32fast::Hasher::new_with_initial(seed) }
    }

    /// Makes a seed of whatever names the partition.
    pub fn seed(identity: &[u8]) -> u32 {
        crc32fast::hash(identity)
    }

    /// Takes in the next batch.
    pub fn add(&mut self, prefix: &[u8; PREFIX_LENGTH]) {
        self.hasher.update(prefix);
    }

    /// The checksum so far; starts afresh for the stretch after it.
    pub fn take(&mut self) -> u32 {
        std::mem::replace(&mut self.hasher, crc32fast::Hasher::new_with_initial(self.seed)).finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_partition_gives_another_witness() {
        let witness = |identity: &[u8]| {
            let mut witness = Witness::new(Witness::seed(identity));
            witness.add(&[7; PREFIX_LENGTH]);
            witness.take()
        };
        assert_ne!(witness(b"topic/0"), witness(b"topic/1"));
        assert_eq!(witness(b"topic/0"), witness(b"topic/0"));
    }

    #[test]
    fn taking_starts_afresh() {
        let mut witness = Witness::new(1);
        witness.add(&[1; PREFIX_LENGTH]);
        let first = witness.take();
        witness.add(&[1; PREFIX_LENGTH]);
        assert_eq!(witness.take(), first);
    }
}
