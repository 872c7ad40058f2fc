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
    /// An upper bound of the dropped slots in the ready queue.
    pub(super) dropped_in_queue: usize,
    /// All slots below it were used.
    pub(super) next_slot: u64,
    /// The number of the next request.
    pub(super) next_number: u64,
    pub(super) received_below: u64,
    /// Answers that the client has not acknowledged, oldest first.
    pub(super) unacknowledged: VecDeque<UnacknowledgedAnswer>,
    /// The number of rewind points in `unacknowledged`.
    pub(super) rewind_point_count: usize,
}

/// A slot of a session.
pub(super) struct SlotState {
    /// The partition, and the position after the answers so far.
    pub(super) wanted: FetchPartition,
    pub(super) progress: SlotProgress,
    /// An answer had its high watermark.
    pub(super) high_watermark_sent: bool,
}

/// Whether a slot is ready, waits or has ended.
pub(super) enum SlotProgress {
    /// In the ready queue.
    Ready,
    /// Registered with its partition; or woken since, and in the ready queue.
    Waiting(Arc<WaitingFetches>),
    /// Its last part was a failure, a divergence or damage.
    Ended,
}

/// An answer that the client may not have received.
pub(super) struct UnacknowledgedAnswer {
    pub(super) number: u64,
    pub(super) rewind_points: Vec<RewindPoint>,
}

/// The state of a slot before one part of an answer, to return to if the answer is lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct RewindPoint {
    pub(super) slot: FetchSlot,
    pub(super) high_watermark_sent: bool,
    /// The part ended the slot.
    pub(super) ended: bool,
    pub(super) offset: Offset,
    pub(super) last_epoch: Option<LeaderEpoch>,
}

impl SessionState {
    pub(super) fn new(ready: Arc<ReadySlots>) -> Self {
        Self {
            slots: BTreeMap::new(),
            ready,
            dropped_in_queue: 0,
            next_slot: 0,
            next_number: 0,
            received_below: 0,
            unacknowledged: VecDeque::new(),
            rewind_point_count: 0,
        }
    }

    /// Wakes slots of this session.
    fn waker(&self) -> Arc<dyn FetchWaker> {
        self.ready.clone()
    }

    /// Records an answer as unacknowledged.
    pub(super) fn record_answer(&mut self, number: u64, rewind_points: Vec<RewindPoint>) {
        if rewind_points.is_empty() {
            return;
        }
        debug_assert!(self.unacknowledged.back().is_none_or(|last| last.number < number), "answers are in order");
        debug_assert!(self.received_below <= number, "the client acknowledged answer {number} before it was sent");
        self.rewind_point_count += rewind_points.len();
        self.unacknowledged.push_back(UnacknowledgedAnswer { number, rewind_points });
    }

    /// Acknowledges the answers below a number, and forgets the slots that they ended.
    pub(super) fn acknowledge(&mut self, received_below: u64) {
        debug_assert!(self.received_below <= received_below, "received_below never decreases");
        self.received_below = received_below;
        while let Some(answer) = self.unacknowledged.pop_front_if(|answer| answer.number < received_below) {
            self.rewind_point_count -= answer.rewind_points.len();
            for ended in answer.rewind_points.iter().filter(|point| point.ended) {
                let slot = self.slots.remove(&ended.slot);
                let ends = slot.is_none_or(|slot| matches!(slot.progress, SlotProgress::Ended));
                debug_assert!(ends, "{ended:?} did not end");
            }
        }
    }

    /// Adds new slots to the set and to the ready queue.
    pub(super) fn add(&mut self, slots: Vec<(FetchSlot, FetchPartition)>) {
        let mut added = Vec::with_capacity(slots.len());
        for (slot, wanted) in slots {
            debug_assert!(self.next_slot <= u64::from(slot.0), "slot {slot:?} was used before");
            self.next_slot = u64::from(slot.0) + 1;
            self.slots.insert(slot, SlotState { wanted, progress: SlotProgress::Ready, high_watermark_sent: false });
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
            self.dropped_in_queue += usize::from(queued);
        }
        if self.slots.len() + 64 < 2 * self.dropped_in_queue {
            self.ready.retain(|slot| self.slots.contains_key(slot)); // Amortised: runs after at least as many drops.
            self.dropped_in_queue = 0;
        }
    }

    /// Moves slots back to before lost parts, the last part first.
    pub(super) fn rewind(&mut self, rewind_points: Vec<RewindPoint>) {
        let (mut ready, waker) = (Vec::new(), self.waker());
        for RewindPoint { slot, high_watermark_sent, offset, last_epoch, .. } in rewind_points.into_iter().rev() {
            let Some(state) = self.slots.get_mut(&slot) else { continue }; // Dropped since.
            debug_assert!(offset <= state.wanted.offset, "a part moved {slot:?} back");
            (state.wanted.offset, state.wanted.last_epoch, state.high_watermark_sent) =
                (offset, last_epoch, high_watermark_sent);
            let unqueued = match std::mem::replace(&mut state.progress, SlotProgress::Ready) {
                SlotProgress::Ready => false,
                SlotProgress::Waiting(fetches) => fetches.forget(&waker, slot.0),
                SlotProgress::Ended => true,
            };
            ready.extend(unqueued.then_some(slot));
        }
        self.ready.extend(ready);
    }

    /// Moves slots back to before all unacknowledged answers.
    pub(super) fn rewind_unacknowledged(&mut self) {
        while let Some(answer) = self.unacknowledged.pop_back() {
            self.rewind(answer.rewind_points);
        }
        self.rewind_point_count = 0;
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
        (self.dropped_in_queue, self.rewind_point_count) = (0, 0);
        self.unacknowledged.clear();
    }
}
