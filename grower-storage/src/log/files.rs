//! What a log can do because it is in files.

use super::{ChangeError, Compacted, LogFailed, SealedSegments};
use crate::pieces::Piece;
use grower_protocol::ids::{Offset, Timestamp};
use std::collections::HashSet;

/// A log in files, as backups, compaction and the removal of topics see it; see [`Log::files`](super::Log::files).
pub trait LogFiles {
    /// Stops opening files by name, because they are about to move and others may take their names. Files that are open
    /// stay readable.
    fn detach(&mut self);

    /// Fails the log if the file that is written to is no longer at its path. For a log to which nothing is written: a
    /// sync looks as well.
    fn check_in_place(&mut self) -> Result<(), LogFailed>;

    /// Makes everything appended so far durable and part of files that are never written to again, and names those that
    /// hold the log: what a backup takes. `now` is of the clock for ages.
    fn seal(&mut self, now: Timestamp) -> Result<Vec<Piece>, ChangeError>;

    /// The sealed segments that end at or before `upto`, for a compaction pass. None while the log has failed, or has yet
    /// to finish what an earlier pass published.
    fn sealed_segments(&self, upto: Offset) -> Option<SealedSegments>;

    /// Base offsets of the batches by which producers are remembered. Compaction keeps their headers.
    fn remembered_batches(&self) -> HashSet<Offset>;

    /// Takes what a compaction pass has finished; durable when this returns. False if the log was truncated or trimmed
    /// under the pass, which has to end then.
    fn publish(&mut self, compacted: Compacted) -> Result<bool, ChangeError>;
}
