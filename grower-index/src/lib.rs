//! Where in a segment file an offset or a time lies: one entry for each few KiB of log.
//!
//! [`SegmentIndex`] answers "start scanning here", never "it is exactly here". Each entry also witnesses the batch
//! headers since the one before it, so that recovery can tell a torn tail from rot. After a crash the log is the
//! truth: a lost index costs time, never a record.
//!
//! Offsets are relative to the segment's base offset, positions are bytes from the start of its file. Nothing here
//! knows what a record batch is (beyond the 21 bytes in front of it), nor how bytes reach a disk.

pub mod contract;
mod dense;
mod entry;
mod even;
mod lookup;
mod sparse;
mod stored;
mod witness;

pub use dense::DenseIndex;
pub use entry::{ENTRY_LENGTH, Entry, EntryError};
pub use even::Even;
pub use lookup::{GrowingIndex, Mark, NotedBatch, SegmentIndex, Stretch};
pub use sparse::SparseIndex;
pub use stored::StoredIndex;
pub use witness::{PREFIX_LENGTH, Witness};
