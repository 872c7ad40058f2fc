//! The commit queue of a partition: the waiters for its marks, and the claims of the sync rounds that answer them.
//!
//! A waiter first needs its records durable here, and then the mark that it waits for:
//!
//! - While its records are not durable, a round is queued or runs, or the task that added the waiter is about to claim
//!   one. Waiters that come during a round join the next.
//! - Once they are durable, no further round helps. If the high watermark lags behind, because another in-sync replica
//!   does, whatever moves it takes the waiters that it covers.

use super::Reached;
use super::quiet_watch::QuietWatch;
use super::round_claims::RoundClaims;
use super::waiters::{OrderedWaiters, WaitedMark};
use grower_protocol::ids::Offset;
use grower_protocol::message::Durability;
use std::time::Duration;

/// The commit queue of one partition.
#[derive(Debug)]
pub(crate) struct CommitQueue<W> {
    waiters: OrderedWaiters<W>,
    claims: RoundClaims,
    quiet: QuietWatch,
    /// Waiters reported as waiting for a round to begin, since the last one began.
    waiting: usize,
}

/// A round that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BegunRound {
    /// Waiters whose records it makes durable.
    pub(crate) waiters: usize,
    /// Waiters that were reported as waiting for a round to begin. A roll may have answered some of them since.
    pub(crate) waiting_before: usize,
}

/// A round that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndedRound {
    /// Waiters whose records are not durable. If there are any, the next round is queued, and the caller runs it.
    pub(crate) unsynced: usize,
    /// Waiters that were reported as waiting for the next round to begin. The unsynced ones take their place.
    pub(crate) waiting_before: usize,
    /// The caller watches the partition from now on, until it has been quiet.
    pub(crate) watch: bool,
}

impl<W> Default for CommitQueue<W> {
    fn default() -> Self {
        Self {
            waiters: OrderedWaiters::default(),
            claims: RoundClaims::default(),
            quiet: QuietWatch::default(),
            waiting: 0,
        }
    }
}

impl<W> CommitQueue<W> {
    /// Adds a waiter for records that end before `end`. It counts as waiting for a round to begin.
    pub(crate) fn wait(&mut self, mark: WaitedMark, end: Offset, waiter: W) {
        self.waiters.push(mark, end, waiter);
        self.waiting += 1;
    }

    /// Queues a round; `false` if one is queued or runs.
    pub(crate) fn claim_round(&mut self) -> bool {
        self.claims.claim()
    }

    /// Hands the partition to the flush timer; `false` if what is written by now is synced anyhow.
    pub(crate) fn claim_timer(&mut self) -> bool {
        self.claims.claim_timer()
    }

    /// Queues a round for the flush timer, and takes the partition from it; `false` if a round is queued or runs.
    pub(crate) fn claim_round_from_timer(&mut self) -> bool {
        self.claims.claim_from_timer()
    }

    /// Begins the queued round. Everything before `durable` needs none.
    pub(crate) fn begin(&mut self, durable: Offset) -> BegunRound {
        self.claims.begin();
        BegunRound { waiters: self.waiters.beyond(durable), waiting_before: std::mem::take(&mut self.waiting) }
    }

    /// Ends the round after its sync, and takes the waiters that the marks cover. The caller reads the marks under the
    /// queue's lock: a mark that moves later finds the waiters that are left.
    pub(crate) fn end(&mut self, reached: Reached, now: Duration) -> (Vec<(W, Durability)>, EndedRound) {
        let watch = self.quiet.synced(now);
        let answered = self.take_covered(reached);
        (answered, EndedRound { watch, ..self.end_round(reached.durable) })
    }

    /// Ends the round whose sync failed, and takes all waiters: nothing is synced after it.
    pub(crate) fn fail(&mut self) -> (Vec<W>, EndedRound) {
        (self.take_all(), self.end_round(Offset::MAX))
    }

    /// Takes the waiters that the marks cover, each with the durability that it is told.
    pub(crate) fn take_covered(&mut self, reached: Reached) -> Vec<(W, Durability)> {
        let covered = self.waiters.take_covered(reached.high_watermark, reached.durable);
        covered.map(|(end, waiter)| (waiter, reached.durability(end))).collect()
    }

    /// Takes all waiters: no mark that moves answers them any more.
    pub(crate) fn take_all(&mut self) -> Vec<W> {
        self.waiters.take_covered(Offset::MAX, Offset::MAX).map(|(_, waiter)| waiter).collect()
    }

    /// Ends the watch if nothing was synced for `time`: the next sync begins another. True if a checkpoint is due.
    pub(crate) fn take_if_quiet(&mut self, time: Duration, now: Duration) -> bool {
        self.claims.is_idle() && self.quiet.end_if_quiet(time, now)
    }

    /// Whether the flush timer has the partition.
    #[cfg(test)]
    pub(crate) fn awaits_timer(&self) -> bool {
        self.claims.has_timer()
    }

    fn end_round(&mut self, durable: Offset) -> EndedRound {
        let unsynced = self.waiters.beyond(durable);
        self.claims.end(0 < unsynced);
        EndedRound { unsynced, waiting_before: std::mem::replace(&mut self.waiting, unsynced), watch: false }
    }
}

#[cfg(test)]
mod tests;
