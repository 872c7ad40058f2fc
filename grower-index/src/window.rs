//! The part of an index that a search needs, in memory or to be read back.

use crate::{ENTRY_LENGTH, Entry, SegmentIndex, StoredIndex};
use std::fmt;
use std::ops::Range;

/// Where the answer to a search lies.
pub enum Window<'a> {
    /// Here, among entries in memory.
    Held(&'a dyn SegmentIndex),
    /// Among entries that are in the file alone.
    Stored(Run),
}

impl fmt::Debug for Window<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held(entries) => f.debug_tuple("Held").field(&entries.entry_count()).finish(),
            Self::Stored(run) => f.debug_tuple("Stored").field(run).finish(),
        }
    }
}

/// Entries side by side in an index file. Memory holds the first of them and the one after the last.
///
/// They never change: what was read of a run once is right for every later search in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub(crate) number: usize,
    pub(crate) length: usize,
    pub(crate) first: Entry,
    pub(crate) next: Entry,
}

impl Run {
    /// Which run of the index this is, counted from 0.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Which bytes of the index file are to be read.
    pub fn bytes(&self) -> Range<u64> {
        let length = (self.length * ENTRY_LENGTH) as u64;
        let start = self.number as u64 * length;
        start..start + length
    }

    /// The window of this run, and of the entry after it, for what was read of its bytes. Whatever is missing there counts
    /// as damaged: without any of it a search still answers the first entry of the run.
    pub fn read(&self, mut bytes: Vec<u8>) -> StoredIndex<Vec<u8>> {
        bytes.resize(self.length * ENTRY_LENGTH, 0);
        bytes.extend_from_slice(&self.next.encode());
        if let Some(first) = bytes.first_chunk_mut() {
            *first = self.first.encode();
        }
        StoredIndex::new(bytes)
    }
}
