//! An index file as it lies on disk: read-only, and not trusted.

use crate::{ENTRY_LENGTH, IndexEntry, Interval, SearchTarget, SegmentIndex};

/// Searches the bytes of an index file, mapped or in memory, and checks every entry that it relies on.
///
/// A search steps over damaged entries: it may then return an earlier position than the best one.
#[derive(Debug)]
pub struct StoredIndex<B> {
    bytes: B,
}

impl<B: AsRef<[u8]>> StoredIndex<B> {
    /// Takes the whole file. A crash may leave bytes after the last full entry; they are ignored.
    pub fn new(bytes: B) -> Self {
        Self { bytes }
    }

    /// Bytes after the last full entry.
    pub fn trailing_bytes(&self) -> usize {
        self.bytes.as_ref().len() % ENTRY_LENGTH
    }

    fn get(&self, at: usize) -> Option<IndexEntry> {
        let bytes = self.bytes.as_ref().get(at.checked_mul(ENTRY_LENGTH)?..)?.first_chunk()?;
        IndexEntry::decode(bytes).ok()
    }

    /// The last entry whose `key` is at most `most`, and the next one.
    fn last_within(&self, key: impl Fn(&IndexEntry) -> i64, most: i64) -> Interval {
        self.quick_floor(&key, most).unwrap_or_else(|| {
            let since = self.careful_floor(|entry| key(entry) <= most);
            Interval { since, until: None }
        })
    }

    /// Guesses by unchecked entries, then checks the two neighbours of the answer: sound entries rise, so no other can
    /// make it wrong. None if either is damaged or was guessed wrongly.
    fn quick_floor(&self, key: impl Fn(&IndexEntry) -> i64, most: i64) -> Option<Interval> {
        let (entries, _) = self.bytes.as_ref().as_chunks();
        let count = interpolated_partition_point(entries, |bytes| key(&IndexEntry::decode_unchecked(bytes)), most);
        let until = match entries.get(count) {
            Some(bytes) => Some(IndexEntry::decode(bytes).ok().filter(|entry| most < key(entry))?),
            None => None,
        };
        let since = match count.checked_sub(1) {
            Some(last) => Some(self.get(last).filter(|entry| key(entry) <= most)?),
            None => None,
        };
        Some(Interval { since, until })
    }

    /// Binary search: everything before `low` is at or below the target, everything from `high` on is above it or
    /// damaged. A damaged entry is stepped over, so the answer may be too early, never too late.
    fn careful_floor(&self, not_too_far: impl Fn(&IndexEntry) -> bool) -> Option<IndexEntry> {
        let (mut low, mut high) = (0, self.bytes.as_ref().len() / ENTRY_LENGTH);
        let mut found = None;
        while low < high {
            let middle = low + (high - low) / 2;
            match (middle..high).find_map(|at| Some((at, self.get(at)?))) {
                Some((at, entry)) if not_too_far(&entry) => {
                    found = Some(entry);
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

    fn entry(&self, at: usize) -> Option<IndexEntry> {
        self.get(at)
    }

    fn floor(&self, target: SearchTarget) -> Interval {
        match target {
            SearchTarget::Offset(offset) => self.last_within(|entry| entry.relative_offset.into(), offset.into()),
            SearchTarget::Position(position) => self.last_within(|entry| entry.position.into(), position.into()),
            SearchTarget::Time(timestamp) => match timestamp.checked_sub(1) {
                Some(before) => self.last_within(|entry| entry.max_timestamp, before),
                None => Interval { since: None, until: self.get(0) }, // Nothing is before all times.
            },
        }
    }
}

/// Returns the number of entries whose key is at most `most`; keys never fall.
///
/// Interpolation search guesses the place twice, and exponential search around the guess finds the range for the binary
/// search. Few distant entries are touched, since each costs a cache miss.
fn interpolated_partition_point<T>(entries: &[T], key: impl Fn(&T) -> i64, most: i64) -> usize {
    let [first, .., last] = entries else { return entries.partition_point(|entry| key(entry) <= most) };
    let (low, high) = (key(first) as f64, key(last) as f64);
    let key_per_entry = (high - low).max(1.0) / entries.len() as f64;
    let distance = |from: f64| ((most as f64 - from) / key_per_entry) as isize;
    let moved = |at: usize, by: isize| at.saturating_add_signed(by).min(entries.len() - 1);
    let near = moved(0, distance(low));
    let guess = moved(near, distance(key(&entries[near]) as f64));
    let is_above = |at: usize| entries.get(at).is_none_or(|entry| most < key(entry));
    let mut ranges = (0..usize::BITS).map(|bits| {
        let radius = 1 << bits;
        guess.saturating_sub(radius)..guess.saturating_add(radius).min(entries.len())
    });
    let range = ranges.find(|range| (range.start == 0 || !is_above(range.start)) && is_above(range.end));
    let range = range.expect("the widest range covers all entries");
    range.start + entries[range].partition_point(|entry| key(entry) <= most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IndexPosition, Uniform};
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    fn file(entries: &[IndexEntry]) -> Vec<u8> {
        entries.iter().flat_map(IndexEntry::encode).collect()
    }

    #[test]
    fn it_keeps_the_contract() {
        crate::contract::reading(|entries| Box::new(StoredIndex::new(file(entries))));
    }

    #[test]
    fn a_search_steps_over_damaged_entries() {
        let entry = |n: u32| IndexEntry {
            relative_offset: n,
            position: n * 100,
            max_timestamp: n.into(),
            durable_end: 0,
            header_checksum: 0,
            checksummed: true,
            uniform: Uniform::default(),
        };
        let mut bytes = file(&[entry(1), entry(2), entry(3)]);
        bytes[ENTRY_LENGTH + 5] ^= 1;
        let index = StoredIndex::new(bytes);
        assert_eq!(index.floor(SearchTarget::Offset(2)).start().relative_offset, 1);
        assert_eq!(index.floor(SearchTarget::Offset(3)).start().relative_offset, 3);
        assert_eq!(index.floor(SearchTarget::Offset(0)).start(), IndexPosition::START);
        assert_eq!(index.entry(1), None);
        assert!(index.entry(2).is_some());
    }

    #[test]
    fn however_one_entry_is_damaged_no_search_goes_too_far() {
        let entries: Vec<IndexEntry> = (1..=9).map(crate::contract::sample).collect();
        let whole = file(&entries);
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let index = StoredIndex::new(bytes);
            let sound = |at: &usize| *at != bit / 8 / ENTRY_LENGTH;
            for target in (0..=1_000).step_by(50) {
                let found = index.floor(SearchTarget::Position(target)).start().position;
                let best = (0..9).filter(sound).map(|at| entries[at].position).filter(|at| *at <= target).max();
                assert!(found <= best.unwrap_or(0), "position {target} with bit {bit} flipped");
            }
        }
    }

    proptest! {
        #[test]
        fn an_interpolated_search_agrees_with_a_scan(rising in btree_set(any::<i64>(), 0..90), near in any::<i64>(), at in 0usize..90) {
            let rising: Vec<i64> = rising.into_iter().collect();
            for most in [near, rising.get(at).copied().unwrap_or(near), i64::MIN, i64::MAX] {
                let scanned = rising.iter().take_while(|value| **value <= most).count();
                prop_assert_eq!(interpolated_partition_point(&rising, |value| *value, most), scanned);
            }
        }
    }

    #[test]
    fn a_torn_last_entry_is_ignored() {
        let index = StoredIndex::new(vec![0u8; ENTRY_LENGTH - 1]);
        assert_eq!((index.entry_count(), index.trailing_bytes()), (0, 31));
        assert_eq!(index.floor(SearchTarget::Offset(9)), Interval::default());
    }
}
