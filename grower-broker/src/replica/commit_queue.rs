//! The commit queue of a partition: the waiters for its marks, and the state of its sync rounds.
//!
//! No waiter is forgotten: while one exists, a round is queued or runs, or the task that added the waiter is about to
//! queue one. At most one round runs at a time; waiters that come meanwhile join the next.

use super::waiters::{OrderedWaiters, WaitedMark};
use super::{Reached, durability};
use grower_protocol::ids::Offset;
use grower_protocol::message::Durability;
use std::time::Duration;

/// The commit queue of one partition.
#[derive(Debug)]
pub(crate) struct CommitQueue<W> {
    waiters: OrderedWaiters<W>,
    round: SyncRound,
    /// Waiters that were added since the last round began or ended.
    added: usize,
    /// When the last round ended, on the monotonic clock.
    last_sync: Option<Duration>,
    /// A checkpoint follows when the partition has been quiet.
    awaits_checkpoint: bool,
    /// The flush timer has the partition, so that bytes without a waiter are synced as well.
    awaits_timer: bool,
}

/// The state of a partition's sync round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SyncRound {
    /// No round is queued or runs.
    None,
    /// A round begins later: it covers everything written by now.
    Queued,
    /// A round runs. It may have begun before the last write.
    Running,
}

/// A round that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BegunRound {
    /// Waiters for its end.
    pub(crate) waiters: usize,
    /// Waiters that were counted as waiting for a round to begin. Some may have been answered since.
    pub(crate) counted: usize,
}

/// A round that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndedRound {
    /// Waiters for the next round. If there are any, it is queued, and the caller runs it.
    pub(crate) left: usize,
    /// Waiters that were counted as waiting for the next round.
    pub(crate) counted: usize,
    /// The caller watches the partition from now on, until it has been quiet.
    pub(crate) watch: bool,
}

impl<W> Default for CommitQueue<W> {
    fn default() -> Self {
        Self {
            waiters: OrderedWaiters::default(),
            round: SyncRound::None,
            added: 0,
            last_sync: None,
            awaits_checkpoint: false,
            awaits_timer: false,
        }
    }
}

impl<W> CommitQueue<W> {
    /// Adds a waiter for records that end before `end`. It counts as waiting for a round to begin.
    pub(crate) fn wait(&mut self, mark: WaitedMark, end: Offset, waiter: W) {
        self.waiters.push(mark, end, waiter);
        self.added += 1;
    }

    /// Queues a round; `false` if one is queued or runs.
    pub(crate) fn claim_round(&mut self) -> bool {
        let free = self.round == SyncRound::None;
        if free {
            self.round = SyncRound::Queued;
        }
        free
    }

    /// Hands the partition to the flush timer; `false` if what is written by now is synced anyhow.
    pub(crate) fn claim_timer(&mut self) -> bool {
        let free = !self.awaits_timer && self.round != SyncRound::Queued;
        self.awaits_timer |= free;
        free
    }

    /// Queues a round for the flush timer, and takes the partition from it; `false` if a round is queued or runs.
    pub(crate) fn claim_round_from_timer(&mut self) -> bool {
        let free = self.claim_round();
        self.awaits_timer &= !free;
        free
    }

    /// Begins the queued round.
    pub(crate) fn begin(&mut self) -> BegunRound {
        assert_eq!(self.round, SyncRound::Queued, "a round begins that is not queued");
        self.round = SyncRound::Running;
        BegunRound { waiters: self.waiters.len(), counted: std::mem::take(&mut self.added) }
    }

    /// Ends the round after its sync, and takes the waiters that the marks cover.
    pub(crate) fn end(&mut self, reached: Reached, now: Duration) -> (Vec<(W, Durability)>, EndedRound) {
        self.last_sync = Some(now);
        let watch = !std::mem::replace(&mut self.awaits_checkpoint, true);
        let answered = self.take_covered(reached);
        (answered, EndedRound { watch, ..self.end_round() })
    }

    /// Ends the round whose sync failed, and takes all waiters: nothing is synced after it.
    pub(crate) fn fail(&mut self) -> (Vec<W>, EndedRound) {
        (self.take_all(), self.end_round())
    }

    /// Takes the waiters that the marks cover, each with what it is told.
    pub(crate) fn take_covered(&mut self, reached: Reached) -> Vec<(W, Durability)> {
        let covered = self.waiters.take_covered(reached.high_watermark, reached.durable);
        covered.map(|(end, waiter)| (waiter, durability(end, reached.durable))).collect()
    }

    /// Takes all waiters: no round will answer them.
    pub(crate) fn take_all(&mut self) -> Vec<W> {
        self.waiters.take_covered(Offset::MAX, Offset::MAX).map(|(_, waiter)| waiter).collect()
    }

    /// Ends the watch if nothing was synced for `time`: the next sync begins another. True if a checkpoint is due.
    pub(crate) fn take_if_quiet(&mut self, time: Duration, now: Duration) -> bool {
        let rests = self.last_sync.is_none_or(|last| time <= now.saturating_sub(last));
        let quiet = self.round == SyncRound::None && rests;
        self.awaits_checkpoint &= !quiet;
        quiet
    }

    /// Whether the flush timer has the partition.
    #[cfg(test)]
    pub(crate) fn awaits_timer(&self) -> bool {
        self.awaits_timer
    }

    fn end_round(&mut self) -> EndedRound {
        assert_eq!(self.round, SyncRound::Running, "a round ends that has not begun");
        let left = self.waiters.len();
        self.round = if left == 0 { SyncRound::None } else { SyncRound::Queued };
        EndedRound { left, counted: std::mem::replace(&mut self.added, left), watch: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    fn reached(high_watermark: u64, durable: u64) -> Reached {
        Reached { high_watermark: Offset::new(high_watermark), durable: Offset::new(durable) }
    }

    fn waits(queue: &mut CommitQueue<&'static str>, end: u64, waiter: &'static str) {
        queue.wait(WaitedMark::HighWatermark, Offset::new(end), waiter);
    }

    #[test]
    fn a_waiter_that_came_during_a_round_is_answered_by_the_next() {
        let mut queue = CommitQueue::default();
        waits(&mut queue, 1, "first");
        assert!(queue.claim_round() && !queue.claim_round());
        assert_eq!(queue.begin(), BegunRound { waiters: 1, counted: 1 });
        waits(&mut queue, 2, "second");
        assert!(!queue.claim_round(), "a round runs");
        let (answered, ended) = queue.end(reached(1, 1), NOW);
        assert_eq!(answered, [("first", Durability::Fsynced)]);
        assert_eq!(ended, EndedRound { left: 1, counted: 1, watch: true });
        assert_eq!(queue.begin(), BegunRound { waiters: 1, counted: 1 });
        let (answered, ended) = queue.end(reached(2, 2), NOW);
        assert_eq!(answered, [("second", Durability::Fsynced)]);
        assert_eq!(ended, EndedRound { left: 0, counted: 0, watch: false });
    }

    #[test]
    fn the_count_of_waiting_requests_balances_whenever_they_are_answered() {
        let mut queue = CommitQueue::default();
        let mut waiting = 0;
        for (before, during, covered) in [(2, 0, 2), (3, 2, 4), (1, 1, 9), (0, 0, 9)] {
            for end in 0..before {
                waits(&mut queue, end, "before");
                waiting += 1;
            }
            queue.claim_round();
            queue.take_covered(reached(1, 0)); // After a roll, say.
            let begun = queue.begin();
            waiting -= begun.counted;
            assert_eq!(waiting, 0, "all that waited are in the round");
            for end in 5..5 + during {
                waits(&mut queue, end, "during");
                waiting += 1;
            }
            let (_, ended) = queue.end(reached(covered, covered), NOW);
            waiting = waiting + ended.left - ended.counted;
            assert_eq!(waiting, queue.waiters.len());
            if 0 < ended.left {
                waiting -= queue.begin().counted;
                let (_, failed) = queue.fail();
                waiting = waiting + failed.left - failed.counted;
            }
        }
        assert_eq!(waiting, 0);
    }

    #[test]
    fn a_failed_round_takes_everything_that_waits() {
        let mut queue = CommitQueue::default();
        waits(&mut queue, 1, "producer");
        queue.wait(WaitedMark::Durable, Offset::new(9), "group");
        queue.claim_round();
        queue.begin();
        let (failed, ended) = queue.fail();
        assert_eq!((failed, ended.left), (vec!["producer", "group"], 0));
        assert!(queue.claim_round(), "it is at rest");
    }

    #[test]
    fn a_partition_is_quiet_when_no_round_is_queued_and_its_last_sync_is_long_over() {
        let mut queue = CommitQueue::<()>::default();
        queue.claim_round();
        queue.begin();
        assert!(queue.end(reached(0, 0), NOW).1.watch);
        assert!(!queue.take_if_quiet(NOW, NOW + NOW / 2));
        queue.claim_round();
        assert!(!queue.take_if_quiet(NOW, NOW * 3), "it is not at rest");
        queue.begin();
        assert!(!queue.end(reached(0, 0), NOW * 3).1.watch, "it is watched already");
        assert!(queue.take_if_quiet(NOW, NOW * 4));
    }

    #[test]
    fn the_flush_timer_has_a_partition_once_until_a_round_is_queued_for_it() {
        let mut queue = CommitQueue::<()>::default();
        assert!(queue.claim_timer() && !queue.claim_timer());
        assert!(queue.claim_round_from_timer());
        assert!(!queue.claim_timer(), "the queued round covers what is written");
        queue.begin();
        assert!(queue.claim_timer(), "the running round may have begun too early");
        assert!(!queue.claim_round_from_timer() && queue.awaits_timer());
    }
}
