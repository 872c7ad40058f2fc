//! An index file as it lies on disk: read-only, and not trusted.

use crate::{ENTRY_LENGTH, Entry, Mark, SegmentIndex};

/// Searches the bytes of an index file, mapped or in memory, and checks each entry that it touches.
///
/// A search steps over damaged entries: it may then answer a place before the best one.
#[derive(Debug)]
pub struct StoredIndex<B> {
    bytes: B,
}

impl<B: AsRef<[u8]>> StoredIndex<B> {
    /// Takes the whole file. Bytes after the last full entry are left by a crash and ignored.
    pub fn new(bytes: B) -> Self {
        Self { bytes }
    }

    /// Bytes after the last full entry.
    pub fn surplus(&self) -> usize {
        self.bytes.as_ref().len() % ENTRY_LENGTH
    }

    fn get(&self, at: usize) -> Option<Entry> {
        let bytes = self.bytes.as_ref().get(at.checked_mul(ENTRY_LENGTH)?..)?.first_chunk()?;
        Entry::decode(bytes).ok()
    }

    /// Halves the range until it is empty: everything before `low` is not too far, everything from `high` on is, or is
    /// damaged. A damaged entry is stepped over, so that the answer may be too early, never too late.
    fn floor(&self, not_too_far: impl Fn(&Entry) -> bool) -> Mark {
        let (mut low, mut high) = (0, self.bytes.as_ref().len() / ENTRY_LENGTH);
        let mut found = Mark::START;
        while low < high {
            let middle = low + (high - low) / 2;
            match (middle..high).find_map(|at| Some((at, self.get(at)?))) {
                Some((at, entry)) if not_too_far(&entry) => {
                    found = entry.into();
                    low = at + 1;
                }
                _ => high = middle,
            }
        }
        found
    }
}

impl<B: AsRef<[u8]> + Send + Sync> SegmentIndex for StoredIndex<B> {
    fn entry_count(&self) -> usize {
        self.bytes.as_ref().len() / ENTRY_LENGTH
    }

    fn entry(&self, at: usize) -> Option<Entry> {
        self.get(at)
    }

    fn floor_by_offset(&self, relative_offset: u32) -> Mark {
        self.floor(|entry| entry.relative_offset <= relative_offset)
    }

    fn floor_by_time(&self, timestamp: i64) -> Mark {
        self.floor(|entry| entry.max_timestamp < timestamp)
    }

    fn floor_by_position(&self, position: u32) -> Mark {
        self.floor(|entry| entry.position <= position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(entries: &[Entry]) -> Vec<u8> {
        entries.iter().flat_map(Entry::encode).collect()
    }

    #[test]
    fn it_keeps_the_contract() {
        crate::contract::reading(|entries| Box::new(StoredIndex::new(file(entries))));
    }

    #[test]
    fn a_search_steps_over_damaged_entries() {
        let entry = |n: u32| Entry {
            relative_offset: n,
            position: n * 100,
            max_timestamp: n.into(),
            durable_end: 0,
            witness: 0,
            witnessed: true,
        };
        let mut bytes = file(&[entry(1), entry(2), entry(3)]);
        bytes[ENTRY_LENGTH + 5] ^= 1;
        let index = StoredIndex::new(bytes);
        assert_eq!(index.floor_by_offset(2).relative_offset, 1);
        assert_eq!(index.floor_by_offset(3).relative_offset, 3);
        assert_eq!(index.floor_by_offset(0), Mark::START);
        assert_eq!(index.entry(1), None);
        assert!(index.entry(2).is_some());
    }

    #[test]
    fn a_torn_last_entry_is_ignored() {
        let index = StoredIndex::new(vec![0u8; ENTRY_LENGTH - 1]);
        assert_eq!((index.entry_count(), index.surplus()), (0, 31));
        assert_eq!(index.floor_by_offset(9), Mark::START);
    }
}
