//! The revocation of a partition: it hands out nothing more, and waits until the reader is done with its records.

use super::{PartitionFetchState, Progress, RevocationNotice};
use tokio::time::Instant;

/// A pending revocation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Revocation {
    /// The partition leaves at this time even if the reader is not done.
    deadline: Instant,
    notice: RevocationNotice,
    /// An automatic commit of its records failed; the next one comes when the next heartbeat is due.
    commit_failed: bool,
}

impl PartitionFetchState {
    /// Begins the revocation, unless it has begun.
    pub(crate) fn revoke(&mut self, deadline: Instant, notice: RevocationNotice) {
        self.revocation.get_or_insert(Revocation { deadline, notice, commit_failed: false });
    }

    pub(crate) fn revocation_notice(&self) -> Option<RevocationNotice> {
        self.revocation.map(|revocation| revocation.notice)
    }

    /// Changes what the reader knows of a pending revocation.
    pub(crate) fn set_revocation_notice(&mut self, notice: RevocationNotice) {
        self.revocation.iter_mut().for_each(|revocation| revocation.notice = notice);
    }

    pub(crate) fn is_revoking(&self) -> bool {
        self.revocation.is_some()
    }

    /// Whether the time for the revocation is up.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        self.revocation.is_some_and(|revocation| revocation.deadline <= now)
    }

    /// Whether the reader is done with the partition. It says so, or a reader that `commits` is done after it came back
    /// for more and has committed what it was handed, another one as soon as it came back.
    pub(crate) fn is_done(&self, commits: bool) -> bool {
        match self.revocation_notice() {
            Some(RevocationNotice::Done) => true,
            Some(RevocationNotice::Due | RevocationNotice::Told(_)) => false,
            Some(RevocationNotice::None) | None => !(self.has_unconsumed() || commits && self.has_uncommitted()),
        }
    }

    /// Whether a revocation waits for an automatic commit and nothing else.
    pub(crate) fn awaits_automatic_commit(&self) -> bool {
        self.is_revoking() && self.has_uncommitted() && self.is_done(false)
    }

    /// Whether an automatic commit is worth a try before the next heartbeat is due.
    pub(crate) fn wants_automatic_commit(&self) -> bool {
        self.awaits_automatic_commit() && self.revocation.is_some_and(|revocation| !revocation.commit_failed)
    }

    /// Notes that an automatic commit of a revoked partition failed.
    pub(crate) fn note_failed_commit(&mut self) {
        self.revocation.iter_mut().for_each(|revocation| revocation.commit_failed = true);
    }

    /// Whether records were handed out that the reader has to commit. Those of a deleted topic cannot be committed, and
    /// a reader that said that it is done has committed what it wants.
    pub(crate) fn has_uncommitted(&self) -> bool {
        self.progress == Progress::HandedOut
            && self.revocation_notice() != Some(RevocationNotice::Done)
            && self.topic_of_position().is_some()
            && self.committed.is_none_or(|committed| committed < self.position.offset)
    }
}
