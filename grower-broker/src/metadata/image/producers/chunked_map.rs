//! A sorted map whose copies share what did not change: each image of the metadata has a copy of its own.
//!
//! The entries stand in chunks. A change copies one chunk and the list of chunks; a copy of the map copies neither.

use std::sync::Arc;

/// The largest number of entries in a chunk; one more splits it into halves.
const CHUNK_LENGTH_MAX: usize = 256;

/// A sorted map that is cheap to copy, and cheap to change after a copy.
///
/// Invariants: no chunk is empty, and keys rise within a chunk and from one to the next.
#[derive(Debug)]
pub(super) struct ChunkedMap<K, V> {
    chunks: Arc<Vec<Arc<Chunk<K, V>>>>,
    length: usize,
}

type Chunk<K, V> = Vec<(K, V)>;

impl<K, V> Default for ChunkedMap<K, V> {
    fn default() -> Self {
        Self { chunks: Arc::default(), length: 0 }
    }
}

impl<K, V> Clone for ChunkedMap<K, V> {
    fn clone(&self) -> Self {
        Self { chunks: self.chunks.clone(), length: self.length }
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for ChunkedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.chunks, &other.chunks) || (self.length == other.length && self.iter().eq(other.iter()))
    }
}

impl<K: Eq, V: Eq> Eq for ChunkedMap<K, V> {}

impl<K, V> ChunkedMap<K, V> {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// All entries, sorted by key.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().map(|(key, value)| (key, value)))
    }
}

impl<K: Ord + Clone, V: Clone> ChunkedMap<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let at = chunk.binary_search_by(|(other, _)| other.cmp(key)).ok()?;
        chunk.get(at).map(|(_, value)| value)
    }

    /// Entries with keys after this one, sorted by key.
    pub(super) fn iter_after<'a>(&'a self, after: Option<&'a K>) -> impl Iterator<Item = (&'a K, &'a V)> {
        let first = after.map_or(0, |after| self.chunk_of(after));
        let chunks = self.chunks.iter().skip(first);
        let entries = chunks.flat_map(|chunk| chunk.iter().map(|(key, value)| (key, value)));
        entries.skip_while(move |(key, _)| after.is_some_and(|after| *key <= after))
    }

    /// Sets a value and returns the one before.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let number = self.chunk_of(&key);
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(chunk) = chunks.get_mut(number) else {
            chunks.push(Arc::new(vec![(key, value)]));
            self.length += 1;
            return None;
        };
        let chunk = Arc::make_mut(chunk);
        match chunk.binary_search_by(|(other, _)| other.cmp(&key)) {
            Ok(at) => Some(std::mem::replace(&mut chunk[at].1, value)),
            Err(at) => {
                chunk.insert(at, (key, value));
                if CHUNK_LENGTH_MAX < chunk.len() {
                    let upper = chunk.split_off(chunk.len() / 2);
                    chunks.insert(number + 1, Arc::new(upper));
                }
                self.length += 1;
                None
            }
        }
    }

    /// Removes an entry and returns its value.
    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        self.get(key)?; // A copy of the chunks is made only for a change.
        let number = self.chunk_of(key);
        let chunks = Arc::make_mut(&mut self.chunks);
        let chunk = Arc::make_mut(chunks.get_mut(number)?);
        let at = chunk.binary_search_by(|(other, _)| other.cmp(key)).ok()?;
        let (_, value) = chunk.remove(at);
        if chunk.is_empty() {
            chunks.remove(number);
        }
        self.length -= 1;
        Some(value)
    }

    /// The chunk that has the key, or would have it.
    fn chunk_of(&self, key: &K) -> usize {
        let begins_after = |chunk: &Arc<Chunk<K, V>>| chunk.first().is_none_or(|(first, _)| first <= key);
        self.chunks.partition_point(begins_after).saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_change_of_a_large_map_copies_one_chunk() {
        let mut map = ChunkedMap::default();
        (0..100_000u32).for_each(|key| assert_eq!(map.insert(key, key), None));
        let before = map.clone();
        map.insert(70_000, 0);
        let differ = map.chunks.iter().zip(&*before.chunks).filter(|(new, old)| !Arc::ptr_eq(new, old));
        assert_eq!((differ.count(), map.chunks.len()), (1, before.chunks.len()));
    }

    #[derive(Clone, Debug)]
    enum Change {
        Insert(u16, u8),
        Remove(u16),
        Copy,
    }

    fn change() -> impl Strategy<Value = Change> {
        let key = 0u16..900;
        prop_oneof![
            6 => (key.clone(), any::<u8>()).prop_map(|(key, value)| Change::Insert(key, value)),
            3 => key.prop_map(Change::Remove),
            1 => Just(Change::Copy),
        ]
    }

    proptest! {
        #[test]
        fn a_chunked_map_agrees_with_a_sorted_map_and_copies_do_not_change(
            first in 0u16..700,
            changes in proptest::collection::vec(change(), 0..300),
            after in 0u16..900,
        ) {
            let (mut map, mut model) = (ChunkedMap::default(), BTreeMap::new());
            for key in 0..first {
                prop_assert_eq!(map.insert(key, 0), model.insert(key, 0));
            }
            let mut copies = Vec::new();
            for change in changes {
                match change {
                    Change::Insert(key, value) => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                    Change::Remove(key) => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                    Change::Copy => copies.push((map.clone(), model.clone())),
                }
                prop_assert_eq!(map.len(), model.len());
            }
            copies.push((map, model));
            for (map, model) in copies {
                prop_assert!(map.iter().eq(model.iter()));
                prop_assert!(map.iter_after(Some(&after)).eq(model.range(after + 1..)));
                prop_assert!(map.chunks.iter().all(|chunk| (1..=CHUNK_LENGTH_MAX).contains(&chunk.len())));
                prop_assert_eq!(map.get(&after), model.get(&after));
            }
        }
    }
}
