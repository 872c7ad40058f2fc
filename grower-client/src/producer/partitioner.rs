//! Chooses the partition of a record.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// The rule by which a producer chooses partitions for records that name none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Partitioner {
    /// By the key's hash, as in Kafka's clients; sticky for records without a key.
    #[default]
    Default,
    /// Fills one partition with at least 16 KiB, then the next: full batches and, over time, an even spread.
    Sticky,
    /// One partition after the other, starting at 0.
    RoundRobin,
    /// By the key's hash; records without a key count as having an empty key and share a partition.
    Key,
}

/// The bytes after which the sticky partition changes.
const STICKY_BYTES: usize = 16 << 10;

/// The partitioner's state for one topic. Concurrent callers may be off by one record, which is harmless.
#[derive(Debug)]
pub(super) struct PartitionerState {
    round: AtomicU32,
    sticky: AtomicU32,
    stuck_bytes: AtomicUsize,
}

impl PartitionerState {
    /// Creates the state; a random `start` spreads the first sticky partitions of many producers.
    pub(super) fn starting_at(start: u32) -> Self {
        Self { round: AtomicU32::new(0), sticky: AtomicU32::new(start), stuck_bytes: AtomicUsize::new(0) }
    }

    /// Returns the partition, out of `count`, for a record with this key.
    pub(super) fn choose(&self, partitioner: Partitioner, key: Option<&[u8]>, count: u32) -> u32 {
        let by_key = |key| by_key(key, count);
        match (partitioner, key) {
            (Partitioner::Default, Some(key)) => by_key(key),
            (Partitioner::Default | Partitioner::Sticky, _) => self.sticky.load(Ordering::Relaxed) % count.max(1),
            (Partitioner::RoundRobin, _) => self.round.fetch_add(1, Ordering::Relaxed) % count.max(1),
            (Partitioner::Key, key) => by_key(key.unwrap_or_default()),
        }
    }

    /// Counts a batch of `partition`; after enough bytes the next partition becomes sticky.
    pub(super) fn batch_left(&self, partition: u32, bytes: usize, count: u32) {
        let current = self.sticky.load(Ordering::Relaxed);
        if current % count.max(1) != partition {
            return;
        }
        if STICKY_BYTES <= self.stuck_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes {
            self.stuck_bytes.store(0, Ordering::Relaxed);
            self.sticky.store(partition.wrapping_add(1), Ordering::Relaxed);
        }
    }
}

/// Returns the partition of a key, the same as Kafka's Java client.
fn by_key(key: &[u8], count: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % count.max(1)
}

/// Austin Appleby's MurmurHash2 with Kafka's seed.
fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let mix = |word: u32| {
        let word = word.wrapping_mul(M);
        (word ^ (word >> 24)).wrapping_mul(M)
    };
    let (words, tail) = bytes.as_chunks::<4>();
    let mut hash = SEED ^ bytes.len() as u32;
    for word in words {
        hash = hash.wrapping_mul(M) ^ mix(u32::from_le_bytes(*word));
    }
    if !tail.is_empty() {
        let rest = tail.iter().rev().fold(0u32, |rest, byte| rest << 8 | u32::from(*byte));
        hash = (hash ^ rest).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hash_as_in_kafka() {
        // From the tests of Kafka's own clients.
        let known: [(&[u8], i32); 7] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
            (b"", 275_646_681),
        ];
        for (key, hash) in known {
            assert_eq!(murmur2(key) as i32, hash, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn a_key_maps_to_one_partition_in_every_producer() {
        let (one, other) = (PartitionerState::starting_at(0), PartitionerState::starting_at(7));
        for key in ["", "a", "customer-17"] {
            let key = Some(key.as_bytes());
            assert_eq!(one.choose(Partitioner::Default, key, 5), other.choose(Partitioner::Key, key, 5));
        }
    }

    #[test]
    fn round_robin_starts_at_partition_0() {
        let state = PartitionerState::starting_at(9);
        let chosen: Vec<u32> = (0..5).map(|_| state.choose(Partitioner::RoundRobin, None, 3)).collect();
        assert_eq!(chosen, [0, 1, 2, 0, 1]);
    }

    #[test]
    fn a_sticky_partition_changes_after_enough_bytes() {
        let state = PartitionerState::starting_at(1);
        let choose = || state.choose(Partitioner::Default, None, 3);
        assert_eq!(choose(), 1);
        state.batch_left(1, 100, 3);
        assert_eq!(choose(), 1);
        state.batch_left(0, 1 << 20, 3);
        assert_eq!(choose(), 1);
        state.batch_left(1, 16 << 10, 3);
        assert_eq!(choose(), 2);
    }
}
