//! The exchange between a log and a compaction pass: segments to read, and their replacement.

use crate::disk::{Disk, if_found};
use crate::epochs::EpochHistory;
use crate::options::IndexFactory;
use crate::segment::{self, Segment};
use crate::state_file::PendingReplacement;
use grower_protocol::ids::{Offset, Timestamp};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Sealed segments as of a moment, with all that a compaction pass needs to know of their log.
pub struct SealedSegments {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) seed: u32,
    pub(crate) index: IndexFactory,
    pub(crate) segment_bytes: u64,
    /// Oldest first.
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) epochs: EpochHistory,
    /// Earlier passes have seen every record before it.
    pub(crate) cleaned_end: Offset,
    pub(crate) log_end: Offset,
    /// How often the log had been truncated.
    pub(crate) truncations: u64,
}

/// A finished part of a pass, for [`LogFiles::publish`](super::LogFiles::publish).
pub struct Compacted {
    pub(crate) outcome: PassResult,
    /// How often the log had been truncated when the pass began.
    pub(crate) truncations: u64,
}

/// A finished part of a pass.
pub(crate) enum PassResult {
    /// One segment that replaces some others.
    Replacement(SegmentReplacement),
    /// The end of the pass: it has seen every record before this offset.
    Clean { end: Offset },
}

/// A segment that is written and synced under a temporary name.
pub(crate) struct SegmentReplacement {
    /// Those that it replaces.
    pub(crate) old: Vec<Arc<Segment>>,
    pub(crate) replacing: PendingReplacement,
    /// When its first tombstones may go.
    pub(crate) delete_horizon: Option<Timestamp>,
}

impl Compacted {
    /// Bytes of log before and after.
    pub fn bytes(&self) -> (u64, u64) {
        match &self.outcome {
            PassResult::Replacement(replacement) => {
                let before = replacement.old.iter().map(|segment| segment.end_position().bytes).sum();
                (before, replacement.replacing.bytes)
            }
            PassResult::Clean { .. } => (0, 0),
        }
    }
}

impl SegmentReplacement {
    /// Removes its files.
    pub(crate) fn discard(&self, disk: &dyn Disk, dir: &Path) {
        discard_compacted(disk, dir, self.replacing.offsets.start);
    }
}

/// Removes the temporary files of a compacted segment. Opening the log removes those that stay.
pub(crate) fn discard_compacted(disk: &dyn Disk, dir: &Path, base: Offset) {
    let (log, index) = segment::compacted_names(base);
    for name in [log, index] {
        if let Err(error) = if_found(disk.remove_file(&dir.join(name))) {
            tracing::warn!(%error, "a file of a compaction that failed stays until the next start");
        }
    }
}
