//! The state of a session: its slots, the number of its next request, and the answers that may be lost. It knows no
//! request, no clock and no connection.

use super::ready::ReadySlots;
use crate::partition::{FetchWaker, WaitingFetches};
use grower_protocol::ids::{LeaderEpoch, Offset};
use grower_protocol::message::{FetchPartition, FetchSlot};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A session without its waiting requests.
pub(super) struct SessionState {
    pub(super) slots: BTreeMap<FetchSlot, SlotState>,
    pub(super) ready: Arc<ReadySlots>,
    /// Dropped slots that are still in the ready queue, at most.
    pub(super) stale: usize,
    /// All slots below it were used.
    pub(super) next_slot: u64,
    /// The number of the next request.
    pub(super) next_number: u64,
    pub(super) received_below: u64,
    /// Answers that the client has not taken in, as far as it said, oldest first.
    pub(super) unacknowledged: VecDeque<UnacknowledgedAnswer>,
    /// The moves of all of them.
    pub(super) unacknowledged_moves: usize,
}

/// A slot of a session.
pub(super) struct SlotState {
    /// The partition, and the position after the answers so far.
    pub(super) wanted: FetchPartition,
    pub(super) progress: SlotProgress,
    /// An answer told its high watermark.
    pub(super) told: bool,
}

/// Where a slot is.
pub(super) enum SlotProgress {
    /// In the ready queue.
    Ready,
    /// With its partition, or woken by it: then it is in the ready queue.
    Waiting(Arc<WaitingFetches>),
    /// Nowhere: its last part has no plain records.
    Ended,
}

/// An answer that the client may not have received.
pub(super) struct UnacknowledgedAnswer {
    pub(super) number: u64,
    pub(super) moves: Vec<SlotMove>,
}

/// A slot before one part of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotMove {
    pub(super) slot: FetchSlot,
    pub(super) told: bool,
    /// The part ended it.
    pub(super) ended: bool,
    pub(super) offset: Offset,
    pub(super) last_epoch: Option<LeaderEpoch>,
}

impl SessionState {
    pub(super) fn new(ready: Arc<ReadySlots>) -> Self {
        Self {
            slots: BTreeMap::new(),
            ready,
            stale: 0,
            next_slot: 0,
            next_number: 0,
            received_below: 0,
            unacknowledged: VecDeque::new(),
            unacknowledged_moves: 0,
        }
    }

    /// Wakes its slots.
    fn waker(&self) -> Arc<dyn FetchWaker> {
        self.ready.clone()
    }

    /// An answer with these parts leaves.
    pub(super) fn answered(&mut self, number: u64, moves: Vec<SlotMove>) {
        if moves.is_empty() {
            return;
        }
        debug_assert!(self.unacknowledged.back().is_none_or(|last| last.number < number), "answers are in order");
        debug_assert!(self.received_below <= number, "the client took in an answer before it left");
        self.unacknowledged_moves += moves.len();
        self.unacknowledged.push_back(UnacknowledgedAnswer { number, moves });
    }

    /// The client has taken in the answers below a number: their ended slots are forgotten.
    pub(super) fn acknowledge(&mut self, received_below: u64) {
        debug_assert!(self.received_below <= received_below, "a client takes in more and more");
        self.received_below = received_below;
        while let Some(answer) = self.unacknowledged.pop_front_if(|answer| answer.number < received_below) {
            self.unacknowledged_moves -= answer.moves.len();
            for ended in answer.moves.iter().filter(|moved| moved.ended) {
                let slot = self.slots.remove(&ended.slot);
                let ends = slot.is_none_or(|slot| matches!(slot.progress, SlotProgress::Ended));
                debug_assert!(ends, "{ended:?} did not end");
            }
        }
    }

    /// Adds slots, which are news. They are new to the session.
    pub(super) fn add(&mut self, slots: Vec<(FetchSlot, FetchPartition)>) {
        let mut added = Vec::with_capacity(slots.len());
        for (slot, wanted) in slots {
            debug_assert!(self.next_slot <= u64::from(slot.0), "slot {slot:?} was used before");
            self.next_slot = u64::from(slot.0) + 1;
            self.slots.insert(slot, SlotState { wanted, progress: SlotProgress::Ready, told: false });
            added.push(slot);
        }
        self.ready.extend(added);
    }

    /// Drops slots. Unknown ones are ignored.
    pub(super) fn drop_slots(&mut self, slots: &[FetchSlot]) {
        let waker = self.waker();
        for slot in slots {
            let Some(state) = self.slots.remove(slot) else { continue };
            let queued = match state.progress {
                SlotProgress::Ready => true,
                SlotProgress::Waiting(fetches) => !fetches.forget(&waker, slot.0),
                SlotProgress::Ended => false,
            };
            self.stale += usize::from(queued);
        }
        if self.slots.len() + 64 < 2 * self.stale {
            self.ready.retain(|slot| self.slots.contains_key(slot)); // Costs no more than the drops did.
            self.stale = 0;
        }
    }

    /// Takes back parts of answers that were lost, the latest first: their slots stand before them again.
    pub(super) fn take_back(&mut self, moves: Vec<SlotMove>) {
        let (mut ready, waker) = (Vec::new(), self.waker());
        for SlotMove { slot, told, offset, last_epoch, .. } in moves.into_iter().rev() {
            let Some(state) = self.slots.get_mut(&slot) else { continue }; // Dropped since.
            debug_assert!(offset <= state.wanted.offset, "a part moved {slot:?} back");
            (state.wanted.offset, state.wanted.last_epoch, state.told) = (offset, last_epoch, told);
            let unqueued = match std::mem::replace(&mut state.progress, SlotProgress::Ready) {
                SlotProgress::Ready => false,
                SlotProgress::Waiting(fetches) => fetches.forget(&waker, slot.0),
                SlotProgress::Ended => true,
            };
            ready.extend(unqueued.then_some(slot));
        }
        self.ready.extend(ready);
    }

    /// Takes back all answers that the client may not have.
    pub(super) fn take_back_unacknowledged(&mut self) {
        while let Some(answer) = self.unacknowledged.pop_back() {
            self.take_back(answer.moves);
        }
        self.unacknowledged_moves = 0;
    }

    /// Ends the waits of all slots.
    pub(super) fn end(&mut self) {
        let waker = self.waker();
        for (slot, state) in std::mem::take(&mut self.slots) {
            if let SlotProgress::Waiting(fetches) = state.progress {
                fetches.forget(&waker, slot.0);
            }
        }
        self.ready.retain(|_| false);
        (self.stale, self.unacknowledged_moves) = (0, 0);
        self.unacknowledged.clear();
    }
}
