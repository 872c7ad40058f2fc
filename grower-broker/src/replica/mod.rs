//! How far one replica of a partition is written, durable and committed, and what waits for that.
//!
//! This module alone owns the log end, the durable mark, the high watermark and the leader epoch. [`Event`]s come in,
//! in the order in which they happened; [`Effects`] go out as values, and [`partition`](crate::partition) carries them
//! out. It has no lock, thread, clock or I/O, so that a simulator can drive it.
//!
//! *Log end* is the end of what is written; *durable* is the end that survives a power cut. The high watermark is the
//! first offset that is not committed. It follows the mark that the flush policy commits by: the durable mark with
//! `flush=fsync`, the log end with `flush=os`. Always:
//!
//! ```text
//! log_start <= durable <= log_end        log_start <= high_watermark <= the mark that the policy commits by
//! ```
//!
//! The high watermark, the durable mark and the epoch never fall. So a lagging replica that joins does not lower the
//! high watermark. A change of the policy does not either:
//!
//! - `os` to `fsync`: the durable mark may lie below the high watermark, and what was read cannot be taken back. The
//!   effect is to sync first; until then the old policy holds.
//! - `fsync` to `os`: the high watermark moves up to the log end at once.
//!
//! Only [`Replica::committed_end`] knows how far other in-sync replicas are: replication makes it the minimum over all
//! of them. The rest of this module, and all of [`partition`](crate::partition), takes a high watermark that lags
//! behind the durable mark: a waiter whose records are durable waits on without a sync, and no ack claims more than
//! both marks cover. Retention stops at the high watermark; a trim that a restart left unfinished does not yet.

mod commit_queue;
mod quiet_watch;
mod round_claims;
mod waiters;

pub(crate) use commit_queue::{BegunRound, CommitQueue, EndedRound};
pub(crate) use waiters::WaitedMark;

use crate::config::topic::FlushPolicy;
use grower_protocol::ids::{LeaderEpoch, Offset};
use grower_protocol::message::Durability;
use std::ops::Range;

/// The state of one replica. [`Replica::apply`] is the only way it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replica {
    /// The leadership's number; none before the first begins, and then nothing is committed.
    epoch: Option<LeaderEpoch>,
    policy: FlushPolicy,
    marks: ReplicaMarks,
}

/// Offsets of a replica, taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplicaMarks {
    /// The first offset that the log still has.
    pub(crate) log_start: Offset,
    /// The first offset that is not known to be durable.
    pub(crate) durable: Offset,
    /// The next offset to be written.
    pub(crate) log_end: Offset,
    /// The first offset that is not committed: readers see what is before it.
    pub(crate) high_watermark: Offset,
}

/// Something that happened to the log or to the replica's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The replica leads from now on, under this epoch. Everything that all in-sync replicas hold is committed.
    EpochBegun(LeaderEpoch),
    /// A batch was written.
    Appended {
        /// The offset after its last record.
        log_end: Offset,
    },
    /// Everything before `durable` is durable. Syncs may end in any order: one that covers less changes nothing.
    Synced {
        /// The first offset that the sync did not cover.
        durable: Offset,
    },
    /// Old records were dropped, durably.
    RecordsDropped {
        /// The first offset that is left.
        log_start: Offset,
    },
    /// The topic's flush policy changed.
    FlushPolicyChanged(FlushPolicy),
}

/// Consequences of an event, for the shell to carry out.
#[must_use]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    /// Answer the waiters that these marks cover.
    pub(crate) answer: Option<Reached>,
    /// Wake the fetches that have not seen a high watermark as far as this.
    pub(crate) wake_fetches: Option<Offset>,
    /// Make everything written durable, then repeat the event, which has changed nothing yet.
    pub(crate) sync_first: bool,
}

/// The marks that waiters wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) high_watermark: Offset,
    pub(crate) durable: Offset,
}

impl Replica {
    /// The replica of a log that was just opened: recovery made all of it durable.
    pub(crate) fn recovered(log: Range<Offset>, policy: FlushPolicy) -> Self {
        let Range { start, end } = log;
        let marks = ReplicaMarks { log_start: start, durable: end, log_end: end, high_watermark: start };
        let replica = Self { epoch: None, policy, marks };
        replica.check();
        replica
    }

    /// Takes in an event. The same events in the same order give the same effects.
    pub(crate) fn apply(&mut self, event: Event) -> Effects {
        let (before, epoch) = (self.marks, self.epoch);
        match event {
            Event::EpochBegun(begun) => {
                assert!(epoch.is_none_or(|epoch| epoch < begun), "epoch {begun} begins after {self:?}");
                self.epoch = Some(begun);
            }
            Event::Appended { log_end } => {
                assert!(before.log_end < log_end, "{log_end} is not beyond the log end of {self:?}");
                self.marks.log_end = log_end;
            }
            Event::Synced { durable } => self.marks.durable = before.durable.max(durable),
            Event::RecordsDropped { log_start } => {
                assert!(before.log_start <= log_start, "the log start falls to {log_start}: {self:?}");
                self.marks.log_start = log_start;
            }
            Event::FlushPolicyChanged(FlushPolicy::Fsync) if before.durable < before.high_watermark => {
                return Effects { sync_first: true, ..Effects::default() };
            }
            Event::FlushPolicyChanged(policy) => self.policy = policy,
        }
        self.advance();
        self.effects_since(before)
    }

    pub(crate) fn marks(&self) -> ReplicaMarks {
        self.marks
    }

    /// The epoch under which it leads, if it does.
    pub(crate) fn epoch(&self) -> Option<LeaderEpoch> {
        self.epoch
    }

    /// Moves the high watermark: the only place where it moves. It never falls.
    fn advance(&mut self) {
        if self.epoch.is_some() {
            self.marks.high_watermark = self.marks.high_watermark.max(self.committed_end());
        }
        self.check();
    }

    /// The end of what every in-sync replica holds as safely as the policy asks. This replica is the only one.
    fn committed_end(&self) -> Offset {
        self.own_end()
    }

    /// The mark of this replica that the policy commits by.
    fn own_end(&self) -> Offset {
        match self.policy {
            FlushPolicy::Fsync => self.marks.durable,
            FlushPolicy::Os => self.marks.log_end,
        }
    }

    /// No release build skips this: a mark that lies would acknowledge records that are not there.
    fn check(&self) {
        let ReplicaMarks { log_start, durable, log_end, high_watermark } = self.marks;
        assert!(log_start <= durable && durable <= log_end, "{self:?}");
        assert!(log_start <= high_watermark && high_watermark <= self.own_end(), "{self:?}");
    }

    fn effects_since(&self, before: ReplicaMarks) -> Effects {
        let reached @ Reached { high_watermark, durable } = self.marks.reached();
        // Nothing waits yet for what this very event wrote.
        let moved = |from: Offset, to: Offset| from < to.min(before.log_end);
        let answer = moved(before.high_watermark, high_watermark) || moved(before.durable, durable);
        Effects {
            answer: answer.then_some(reached),
            wake_fetches: (before.high_watermark < high_watermark).then_some(high_watermark),
            sync_first: false,
        }
    }
}

impl Effects {
    /// The effects of two events, one after the other.
    pub(crate) fn then(self, later: Self) -> Self {
        Self {
            answer: later.answer.or(self.answer),
            wake_fetches: later.wake_fetches.or(self.wake_fetches),
            sync_first: self.sync_first || later.sync_first,
        }
    }
}

impl ReplicaMarks {
    /// The marks that waiters wait for.
    pub(crate) fn reached(self) -> Reached {
        Reached { high_watermark: self.high_watermark, durable: self.durable }
    }
}

impl Reached {
    /// The durability that an ack of written records before `end` claims. `Fsynced` speaks for every in-sync replica,
    /// so both marks must cover the records: with `flush=os` the high watermark is ahead of what is durable, and
    /// another replica that lags holds it back.
    pub(crate) fn durability(self, end: Offset) -> Durability {
        if end <= self.durable.min(self.high_watermark) { Durability::Fsynced } else { Durability::Written }
    }
}

#[cfg(test)]
mod tests;
