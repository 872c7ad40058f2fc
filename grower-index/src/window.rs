//! The part of an index that a search needs, in memory or to be read back.

use crate::{ENTRY_LENGTH, IndexEntry, SegmentIndex, StoredIndex};
use std::fmt;
use std::ops::Range;

/// Where the answer to a search lies.
pub enum IndexWindow<'a> {
    /// Here, among entries in memory.
    Held(&'a dyn SegmentIndex),
    /// Among entries that are in the file alone.
    Stored(EntryRun),
}

impl fmt::Debug for IndexWindow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held(entries) => f.debug_tuple("Held").field(&entries.entry_count()).finish(),
            Self::Stored(run) => f.debug_tuple("Stored").field(run).finish(),
        }
    }
}

/// Neighbouring entries in an index file. Memory holds the first of them and the one after the last.
///
/// They never change: bytes read once serve every later search of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRun {
    pub(crate) number: usize,
    pub(crate) length: usize,
    pub(crate) first: IndexEntry,
    pub(crate) next: IndexEntry,
}

impl EntryRun {
    /// Its number in the index, from 0.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The bytes of the index file to read.
    pub fn bytes(&self) -> Range<u64> {
        let length = (self.length * ENTRY_LENGTH) as u64;
        let start = self.number as u64 * length;
        start..start + length
    }

    /// The entries of this run and the next one, from the bytes that were read. Missing bytes count as damaged: a
    /// search then still finds the first entry of the run.
    pub fn read(&self, mut bytes: Vec<u8>) -> StoredIndex<Vec<u8>> {
        debug_assert!(self.first.position <= self.next.position, "entries rise");
        bytes.resize(self.length * ENTRY_LENGTH, 0);
        bytes.extend_from_slice(&self.next.encode());
        if let Some(first) = bytes.first_chunk_mut() {
            *first = self.first.encode();
        }
        StoredIndex::new(bytes)
    }
}
