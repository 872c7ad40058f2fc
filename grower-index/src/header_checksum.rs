//! A checksum over what the batch's own CRC leaves out.

/// How many bytes at the front of each batch are checksummed: base offset, length, epoch, magic and the batch's CRC.
pub const PREFIX_LENGTH: usize = 21;

/// Runs over the first 21 bytes of every batch between two index entries.
///
/// A batch's CRC covers its content, but not its base offset and epoch, which the broker fills in. The header checksum
/// covers those, and the content through the CRC, which lies in the same bytes. Its seed names the partition, so that
/// a block of another partition is noticed.
#[derive(Clone, Debug)]
pub struct HeaderChecksum {
    seed: u32,
    hasher: crc32fast::Hasher,
}

impl HeaderChecksum {
    /// Begins after an index entry, or at the start of a segment.
    pub fn new(seed: u32) -> Self {
        Self { seed, hasher: crc32fast::Hasher::new_with_initial(seed) }
    }

    /// A seed from the bytes that identify the partition.
    pub fn seed(identity: &[u8]) -> u32 {
        crc32fast::hash(identity)
    }

    /// Adds the next batch.
    pub fn add(&mut self, prefix: &[u8; PREFIX_LENGTH]) {
        self.hasher.update(prefix);
    }

    /// Returns the checksum and starts over for the next interval.
    pub fn take(&mut self) -> u32 {
        std::mem::replace(&mut self.hasher, crc32fast::Hasher::new_with_initial(self.seed)).finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_partition_gives_another_checksum() {
        let header_checksum = |identity: &[u8]| {
            let mut header_checksum = HeaderChecksum::new(HeaderChecksum::seed(identity));
            header_checksum.add(&[7; PREFIX_LENGTH]);
            header_checksum.take()
        };
        assert_ne!(header_checksum(b"topic/0"), header_checksum(b"topic/1"));
        assert_eq!(header_checksum(b"topic/0"), header_checksum(b"topic/0"));
    }

    #[test]
    fn taking_starts_over() {
        let mut header_checksum = HeaderChecksum::new(1);
        header_checksum.add(&[1; PREFIX_LENGTH]);
        let first = header_checksum.take();
        header_checksum.add(&[1; PREFIX_LENGTH]);
        assert_eq!(header_checksum.take(), first);
    }
}
