//! Maps offsets and times to positions in a segment file: one entry for every few KiB of log.
//!
//! [`SegmentIndex`] answers "start scanning here", never "it is exactly here". Each entry also checksums the batch
//! headers since the previous entry, so that recovery can tell a torn tail from corruption. After a crash the log
//! decides: a lost index costs time, never a record.
//!
//! The index of the active segment stays small: of the entries in its file, memory holds one in 256. A search that
//! needs the others says which 8 KiB of the file to read ([`IndexWindow`]) and continues there.
//!
//! Offsets are relative to the segment's base offset; positions are bytes from the start of its file. This crate knows
//! neither record batches (beyond their first 21 bytes) nor disks.

pub mod contract;
mod dense;
mod entry;
mod header_checksum;
mod levels;
mod lookup;
mod sparse;
mod stored;
mod uniform;
mod window;

pub use dense::DenseIndex;
pub use entry::{ENTRY_LENGTH, EntryError, IndexEntry};
pub use header_checksum::{HeaderChecksum, PREFIX_LENGTH};
pub use lookup::{GrowingIndex, IndexPosition, IndexedBatch, Interval, SearchTarget, SegmentIndex};
pub use sparse::SparseIndex;
pub use stored::StoredIndex;
pub use uniform::Uniform;
pub use window::{EntryRun, IndexWindow};
