//! Where in a segment file an offset or a time lies: one entry for each few KiB of log.
//!
//! [`SegmentIndex`] answers "start scanning here", never "it is exactly here". Each entry also witnesses the batch
//! headers since the one before it, so that recovery can tell a torn tail from rot. After a crash the log is the
//! truth: a lost index costs time, never a record.
//!
//! The index of a segment that is being written is small whatever it covers: of entries that are in its file it holds one
//! in 256. A search that needs the others answers which 8 KiB of the file to read ([`Window`]), and goes on in those.
//!
//! Offsets are relative to the segment's base offset, positions are bytes from the start of its file. Nothing here
//! knows what a record batch is (beyond the 21 bytes in front of it), nor how bytes reach a disk.

pub mod contract;
mod dense;
mod entry;
mod even;
mod levels;
mod lookup;
mod sparse;
mod stored;
mod window;
mod witness;

pub use dense::DenseIndex;
pub use entry::{ENTRY_LENGTH, Entry, EntryError};
pub use even::Even;
pub use lookup::{GrowingIndex, Mark, NotedBatch, SegmentIndex, Stretch, Wanted};
pub use sparse::SparseIndex;
pub use stored::StoredIndex;
pub use window::{Run, Window};
pub use witness::{PREFIX_LENGTH, Witness};
