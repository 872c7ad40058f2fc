//! The last offset of each key, for as many keys as fit a budget.

use grower_protocol::ids::Offset;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

/// A key, hashed to 128 bits with a secret of this pass.
///
/// Two keys with one hash would cost the older key's record. SipHash is a keyed pseudo-random function, and its two
/// words hash different inputs: without the secret such a pair is found only by chance. Among a billion keys in one
/// pass that is 10^18 / 2^129, less than one in 10^20.
type Digest = [u64; 2];

/// Bytes of one slot of the table: a digest, an offset, and one byte of the table's own.
const SLOT_BYTES: usize = 25;

/// The last offset of each key, within its budget.
pub(crate) struct KeyMap {
    secret: RandomState,
    latest: HashMap<Digest, Offset, BuildHasherDefault<PassThroughHasher>>,
    keys_max: usize,
}

/// A new key does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl KeyMap {
    /// A map of at most `bytes`, made for no more than `expected` keys. It takes at least one key.
    pub(crate) fn new(bytes: usize, expected: u64) -> Self {
        let keys_max = capacity(bytes);
        let expected = usize::try_from(expected).unwrap_or(usize::MAX).min(keys_max);
        // In its final size: growing would need the old table as well as the new one.
        let latest = HashMap::with_capacity_and_hasher(expected, BuildHasherDefault::default());
        Self { secret: RandomState::new(), latest, keys_max }
    }

    /// Notes the offset of a record; the records of one key come in order.
    pub(crate) fn note(&mut self, key: &[u8], offset: Offset) -> Result<(), Full> {
        let digest = self.digest(key);
        if self.latest.len() < self.keys_max {
            let before = self.latest.insert(digest, offset);
            debug_assert!(before <= Some(offset), "the records of a key come in order");
            return Ok(());
        }
        let latest = self.latest.get_mut(&digest).ok_or(Full)?;
        debug_assert!(*latest <= offset, "the records of a key come in order");
        *latest = offset;
        Ok(())
    }

    /// The last offset that was noted for a key.
    pub(crate) fn latest(&self, key: &[u8]) -> Option<Offset> {
        self.latest.get(&self.digest(key)).copied()
    }

    fn digest(&self, key: &[u8]) -> Digest {
        [self.secret.hash_one((0u8, key)), self.secret.hash_one((1u8, key))]
    }
}

/// Bytes of a map for `keys` keys.
pub(crate) fn bytes_for(keys: u64) -> usize {
    let slots = keys.saturating_add(keys / 7 + 1).checked_next_power_of_two().unwrap_or(u64::MAX);
    usize::try_from(slots).unwrap_or(usize::MAX).saturating_mul(SLOT_BYTES)
}

/// A table has a power of two of slots and fills seven eighths of them.
fn capacity(bytes: usize) -> usize {
    let slots = bytes / SLOT_BYTES;
    let power = slots.checked_ilog2().map_or(0, |log| 1usize << log);
    (power / 8 * 7).max(1)
}

/// Passes a digest through as its own hash.
#[derive(Default)]
struct PassThroughHasher(u64);

impl Hasher for PassThroughHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.first_chunk().map_or(self.0, |word| self.0.rotate_left(32) ^ u64::from_ne_bytes(*word));
    }

    fn write_usize(&mut self, _length: usize) {}

    fn write_u64(&mut self, word: u64) {
        self.0 = self.0.rotate_left(32) ^ word;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn it_agrees_with_a_map_of_whole_keys(keys in prop::collection::vec(prop::collection::vec(0u8..3, 0..4), 0..200)) {
            let (mut map, mut plain) = (KeyMap::new(1 << 20, 10), HashMap::new());
            for (offset, key) in (0..).map(Offset::new).zip(&keys) {
                map.note(key, offset).unwrap();
                plain.insert(key.clone(), offset);
            }
            for key in &keys {
                prop_assert_eq!(map.latest(key), plain.get(key).copied());
            }
            prop_assert_eq!(map.latest(b"never seen"), None);
        }
    }

    #[test]
    fn a_full_map_updates_its_keys_and_takes_no_others() {
        let mut map = KeyMap::new(0, 100);
        map.note(b"a", Offset::new(1)).unwrap();
        assert_eq!(map.note(b"b", Offset::new(2)), Err(Full));
        map.note(b"a", Offset::new(3)).unwrap();
        assert_eq!((map.latest(b"a"), map.latest(b"b")), (Some(Offset::new(3)), None));
    }

    #[test]
    fn the_table_stays_within_its_budget() {
        for bytes in [1_000, 100_000, 1 << 20, 5_000_000] {
            let map = KeyMap::new(bytes, u64::MAX);
            let slots = (map.latest.capacity() * 8 / 7).next_power_of_two();
            assert!(slots * SLOT_BYTES <= bytes, "{slots} slots in {bytes} bytes");
            assert!(bytes_for(map.keys_max as u64) <= bytes * 2, "what it needs is not far from what it may have");
        }
    }
}
