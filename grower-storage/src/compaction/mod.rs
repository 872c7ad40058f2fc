//! Compaction: of each key, the last record stays.
//!
//! A pass has two steps. The *survey* reads what no pass has seen yet and notes each key's last offset, for as many keys as
//! fit its budget. Then the segments from the log start up to where the survey came are written anew, a few neighbours into one,
//! without the records that a later one of their key has overtaken. The active segment is never touched, offsets never
//! change, and the log end stays where it is.
//!
//! A tombstone stays for `delete.retention.ms` after the pass that first saw it, so that whoever reads the log meets it; its
//! batch's header says until when. By then every older record of its key is gone, because each pass begins at the log
//! start and publishes in order: what was deleted does not come back.
//!
//! **Crashes.** New files are written under temporary names and synced, names included; then one manifest, synced and renamed,
//! says that they count; then they get their names and the old files go. Before the manifest opening removes the temporary files,
//! after it opening finishes the job. Every byte that a pass will touch is verified before it
//! changes anything: damage ends it.
//! Readers keep the files that they have open.
//!
//! **Producers.** Their state is in a snapshot that each roll writes before the next segment begins, so it is always newer than
//! what may be compacted. Should that file be lost the headers must do: the batches that producers are remembered by keep theirs,
//! even when all of their records are gone.

mod files;
mod keys;
mod pass;
mod plan;
mod sift;

pub use crate::log::Compacted;
pub use pass::{Compaction, CompactionPass, GoOn};

use crate::disk::DiskError;
use grower_protocol::ids::Offset;
use std::ops::Range;
use std::path::PathBuf;

/// When a log is compacted, and what of it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionPolicy {
    /// A pass is due when this much of what may be compacted is new, in thousandths.
    pub min_dirty_permille: u32,
    /// Records younger than this are left alone, in milliseconds.
    pub min_lag_ms: u64,
    /// How long a tombstone stays after it was first met, in milliseconds.
    pub delete_retention_ms: u64,
    /// The most memory that the keys of one pass may take, in bytes.
    pub keys_bytes: usize,
}

/// Why a pass ended early. What it published before stays published; of the rest nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum CompactionError {
    /// A file is not as it was written; nothing that was read there can be trusted to be left out.
    #[error("offsets {}..{} of {} are damaged: {what}", offsets.start, offsets.end, path.display())]
    Damaged {
        /// The segment file.
        path: PathBuf,
        /// The damaged range.
        offsets: Range<Offset>,
        /// What was found.
        what: String,
    },
    /// The caller said so.
    #[error("compaction was told to stop")]
    Stopped,
    /// What is left would not fit a segment file.
    #[error("the segments from offset {base} on do not fit one file")]
    TooLarge {
        /// Base offset of the first.
        base: Offset,
    },
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}
