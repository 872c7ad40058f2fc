//! Operations that only a log in files has.

use super::{ChangeError, Compacted, LogFailed, SealedSegments};
use crate::backup_files::BackupFile;
use grower_protocol::ids::{Offset, Timestamp};
use std::collections::HashSet;

/// The files of a log: for backups, compaction, and the removal of topics; see [`Log::files`](super::Log::files).
pub trait LogFiles {
    /// Stops opening files by name: they are about to move, and others may take their names. Open files stay readable.
    fn detach(&mut self);

    /// Fails the log if the active file is no longer at its path. For an idle log: a sync checks that as well.
    fn check_in_place(&mut self) -> Result<(), LogFailed>;

    /// Makes everything appended so far durable and part of files that are never written again. Returns those files,
    /// for a backup. `now` is by the clock for ages.
    fn seal(&mut self, now: Timestamp) -> Result<Vec<BackupFile>, ChangeError>;

    /// The sealed segments that end at or before `upto`, for a compaction pass. None while the log has failed, or must
    /// first finish what an earlier pass published.
    fn sealed_segments(&self, upto: Offset) -> Option<SealedSegments>;

    /// Base offsets of the batches that producers are remembered by. Compaction keeps their headers.
    fn remembered_batches(&self) -> HashSet<Offset>;

    /// Takes a finished part of a compaction pass; durable when this returns. False if the log was truncated or
    /// trimmed meanwhile: then the pass has to end.
    fn publish(&mut self, compacted: Compacted) -> Result<bool, ChangeError>;
}
