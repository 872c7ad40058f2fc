//! The revocation of a partition: it hands out nothing more, and waits until the reader is done with its records.

use super::PartitionFetchState;
use tokio::time::Instant;

/// How the reader came to its position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The position is the start.
    #[default]
    None,
    /// The reader set the position, or passed a gap.
    Moved,
    /// Records were handed out.
    HandedOut,
}

/// A pending revocation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Revocation {
    /// The partition leaves at this time even if the reader is not done.
    deadline: Instant,
    /// An automatic commit of its records failed; the next one comes with the next heartbeat.
    commit_failed: bool,
}

impl PartitionFetchState {
    /// Begins the revocation, unless it has begun.
    pub(crate) fn revoke(&mut self, deadline: Instant) {
        self.revocation.get_or_insert(Revocation { deadline, commit_failed: false });
    }

    pub(crate) fn is_revoking(&self) -> bool {
        self.revocation.is_some()
    }

    /// Whether the time for the revocation is up.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        self.revocation.is_some_and(|revocation| revocation.deadline <= now)
    }

    /// Whether the reader is done with all records that it was handed. A reader that `commits` is done after it came
    /// back for more and has committed them; another one as soon as it came back.
    pub(crate) fn is_done(&self, commits: bool) -> bool {
        !(self.has_unconsumed() || commits && self.has_uncommitted())
    }

    /// Whether an automatic commit can complete the revocation now.
    pub(crate) fn awaits_automatic_commit(&self) -> bool {
        self.revocation.is_some_and(|revocation| !revocation.commit_failed) && self.is_done(false)
    }

    /// Notes that an automatic commit of a revoked partition failed.
    pub(crate) fn note_failed_commit(&mut self) {
        self.revocation.iter_mut().for_each(|revocation| revocation.commit_failed = true);
    }

    /// Whether records were handed out that are not committed. Those of a deleted topic cannot be committed.
    pub(crate) fn has_uncommitted(&self) -> bool {
        self.progress == Progress::HandedOut
            && self.topic_of_position().is_some()
            && self.committed.is_none_or(|committed| committed < self.position.offset)
    }
}
