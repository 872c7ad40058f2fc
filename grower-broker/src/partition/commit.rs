//! The commit queue of a partition: what waits for its marks, and whether a sync round is on its way.
//!
//! No waiter is forgotten: as long as there is one, a round is queued or runs, or the task that added it is about to ask
//! for one. At most one round runs at a time; what comes meanwhile joins the next.

use crate::api::PendingProduce;
use crate::replica::marks;
use crate::replica::waiters::{Mark, OrderedWaiters};
use grower_protocol::ids::Offset;
use grower_protocol::message::{Durability, Failure, Part, Produced};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

/// A request, or a part of the broker, that waits for a mark.
pub(crate) enum Waiter {
    /// A producer's request, for one of its partitions.
    Produce {
        /// The request.
        request: Arc<PendingProduce>,
        /// Which of the request's partitions this is.
        index: usize,
        /// What the producer will be told; how durable it is, it learns when that is known.
        produced: Produced,
    },
    /// A part of the broker that needs the records to be durable.
    Internal(oneshot::Sender<Part<()>>),
}

impl Waiter {
    /// The mark that has to reach its offset.
    pub(super) fn mark(&self) -> Mark {
        match self {
            Self::Produce { .. } => Mark::HighWatermark,
            Self::Internal(_) => Mark::Durable,
        }
    }

    /// Tells the outcome. Returns the producer's request if that was the last partition it waited for.
    fn settle(self, outcome: Part<Durability>) -> Option<Arc<PendingProduce>> {
        match self {
            Self::Produce { request, index, produced } => {
                let last = request.settle(index, outcome.map(|durability| Produced { durability, ..produced }));
                last.then_some(request)
            }
            Self::Internal(waiting) => {
                let _ = waiting.send(outcome.map(drop)); // One that stopped waiting need not know.
                None
            }
        }
    }
}

/// Where a partition is on its way through the rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Round {
    /// None is asked for.
    #[default]
    None,
    /// One will begin: it covers all that is written by now.
    Queued,
    /// One runs. It may have begun before the last bytes came.
    Running,
}

/// The commit queue of one partition.
#[derive(Default)]
pub(super) struct Commit {
    waiters: OrderedWaiters<Waiter>,
    round: Round,
    /// When the last round ended.
    pub(super) last_sync: Option<Instant>,
    /// Will write down its durable end when it has been quiet.
    pub(super) watched: bool,
    /// In the timer's list, so that bytes without a waiter are flushed as well.
    pub(super) delayed: bool,
}

impl Commit {
    /// Adds a waiter for records that end before `end`.
    pub(super) fn wait(&mut self, end: Offset, waiter: Waiter) {
        self.waiters.push(waiter.mark(), end, waiter);
    }

    /// Takes the partition's turn to be synced; `false` if another has it.
    pub(super) fn claim(&mut self) -> bool {
        let free = self.round == Round::None;
        if free {
            self.round = Round::Queued;
        }
        free
    }

    /// Whether whatever is written by now will be synced without being asked for.
    pub(super) fn will_sync(&self) -> bool {
        self.delayed || self.round == Round::Queued
    }

    pub(super) fn is_resting(&self) -> bool {
        self.round == Round::None
    }

    /// A round begins; says how many wait for it.
    pub(super) fn begin(&mut self) -> usize {
        debug_assert_eq!(self.round, Round::Queued, "a round begins that was not asked for");
        self.round = Round::Running;
        self.waiters.len()
    }

    /// The round has ended, and the marks stand here. Answers the waiters that are settled by that, each with what it is
    /// told. If others are left, the next round is queued, and the caller sees to it.
    pub(super) fn end(&mut self, high_watermark: Offset, durable: Offset) -> (Settled, bool) {
        debug_assert_eq!(self.round, Round::Running, "a round ends that did not begin");
        let covered = self.waiters.take_covered(high_watermark, durable);
        let told = |(end, waiter)| (waiter, Ok(marks::durability(end, durable)));
        (Settled(covered.into_iter().map(told).collect()), self.go_on())
    }

    /// The round has failed, and so do all that wait: nothing will be synced after it.
    pub(super) fn fail(&mut self, failure: &Failure) -> (Settled, bool) {
        debug_assert_eq!(self.round, Round::Running, "a round fails that did not begin");
        (self.abandon(failure), self.go_on())
    }

    /// No round will end any more: all that wait fail.
    pub(super) fn abandon(&mut self, failure: &Failure) -> Settled {
        let told = |(_, waiter)| (waiter, Err(failure.clone()));
        Settled(self.waiters.take_all().into_iter().map(told).collect())
    }

    fn go_on(&mut self) -> bool {
        let more = !self.waiters.is_empty();
        self.round = if more { Round::Queued } else { Round::None };
        more
    }
}

/// Waiters that were taken from the queue, to be told outside its lock.
pub(super) struct Settled(Vec<(Waiter, Part<Durability>)>);

impl Settled {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells them; answers the requests that wait for nothing more.
    pub(super) fn tell(self) -> Vec<Arc<PendingProduce>> {
        self.0.into_iter().filter_map(|(waiter, outcome)| waiter.settle(outcome)).collect()
    }
}
