//! Compaction keeps the last record of each key.
//!
//! A pass has two steps. The *survey* reads the records that no pass has seen and notes each key's last offset, for as
//! many keys as fit its budget. Then the segments from the log start to the end of the survey are rewritten, a few
//! neighbours into one, without the records that a later one of their key has replaced. The active segment is never
//! touched, offsets never change, and the log end stays.
//!
//! A tombstone stays for `delete.retention.ms` after the pass that first saw it, so that readers meet it; the header
//! of its batch says until when. By then every older record of its key is gone, because each pass begins at the log
//! start and publishes in order: a deleted record does not come back.
//!
//! **Crashes.** New files are written under temporary names and synced, names included. Then one manifest, synced and
//! renamed, publishes them. Then they get their names and the old files go. Before the manifest an opening removes the
//! temporary files; after it an opening finishes the job. Every byte that a pass will touch is verified before it
//! changes anything: damage ends the pass. Readers keep the files that they have open.
//!
//! **Producers.** Each roll stores a snapshot of the producers before the next segment begins, so the snapshot is
//! always newer than the segments to compact. If it is lost, headers must do: the batches that producers are
//! remembered by keep theirs, even without records.

mod files;
mod keys;
mod pass;
mod plan;
mod record_filter;

pub use crate::log::Compacted;
pub use pass::{Compaction, CompactionPass, ContinuePass};

use crate::disk::DiskError;
use grower_protocol::ids::Offset;
use std::ops::Range;
use std::path::PathBuf;

/// When a log is compacted, and which records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionPolicy {
    /// A pass is due when this part of the sealed bytes is new, in thousandths.
    pub min_dirty_permille: u32,
    /// Records younger than this are left alone, in milliseconds.
    pub min_lag_ms: u64,
    /// How long a tombstone stays after a pass first saw it, in milliseconds.
    pub delete_retention_ms: u64,
    /// The most memory that the keys of one pass may take, in bytes.
    pub keys_bytes: usize,
}

/// Why a pass ended early. Its published segments stay published; the others are unchanged.
#[derive(Debug, thiserror::Error)]
pub enum CompactionError {
    /// A file is damaged: nothing that was read there may replace records.
    #[error("offsets {}..{} of {} are damaged: {reason}", offsets.start, offsets.end, path.display())]
    Damaged {
        /// The segment file.
        path: PathBuf,
        /// The damaged range.
        offsets: Range<Offset>,
        /// The reason.
        reason: String,
    },
    /// The caller stopped it.
    #[error("compaction was told to stop")]
    Stopped,
    /// The remaining records would not fit a segment file.
    #[error("the segments from offset {base} on do not fit one file")]
    TooLarge {
        /// Base offset of the first.
        base: Offset,
    },
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}
