//! The slots of a session that have something to send.

use crate::partition::FetchWaker;
use grower_protocol::message::FetchSlot;
use parking_lot::Mutex;
use std::collections::VecDeque;
use tokio::sync::Notify;

/// A queue of slots that have something to send, each once. Partitions add to it under their own locks, so its lock is
/// the last one taken and no partition is called under it.
#[derive(Default)]
pub(super) struct ReadySlots {
    queue: Mutex<VecDeque<FetchSlot>>,
    woken: Notify,
}

/// The capacity that an empty queue keeps.
const CAPACITY_KEPT: usize = 64;

impl ReadySlots {
    /// Adds a slot behind the others.
    pub(super) fn push(&self, slot: FetchSlot) {
        self.queue.lock().push_back(slot);
        self.woken.notify_one();
    }

    /// Adds slots behind the others.
    pub(super) fn extend(&self, slots: impl IntoIterator<Item = FetchSlot>) {
        self.queue.lock().extend(slots);
        self.woken.notify_one();
    }

    /// Puts a slot before the others.
    pub(super) fn push_first(&self, slot: FetchSlot) {
        self.queue.lock().push_front(slot);
    }

    /// Takes the first slot, and returns it with the number of slots before.
    pub(super) fn pop(&self) -> Option<(FetchSlot, usize)> {
        let mut queue = self.queue.lock();
        let ready = queue.len();
        let first = queue.pop_front();
        shrink(&mut queue);
        first.map(|slot| (slot, ready))
    }

    /// Removes slots that `keep` refuses.
    pub(super) fn retain(&self, keep: impl FnMut(&FetchSlot) -> bool) {
        let mut queue = self.queue.lock();
        queue.retain(keep);
        shrink(&mut queue);
    }

    pub(super) fn len(&self) -> usize {
        self.queue.lock().len()
    }

    pub(super) fn all(&self) -> Vec<FetchSlot> {
        self.queue.lock().iter().copied().collect()
    }

    /// Returns when a slot was added, or after [`ReadySlots::wake_task`].
    pub(super) async fn woken(&self) {
        self.woken.notified().await;
    }

    /// Wakes the task that serves the waiting requests.
    pub(super) fn wake_task(&self) {
        self.woken.notify_one();
    }
}

/// Frees memory that is charged to no slot.
fn shrink(queue: &mut VecDeque<FetchSlot>) {
    if CAPACITY_KEPT < queue.capacity() && 4 * queue.len() < queue.capacity() {
        queue.shrink_to((2 * queue.len()).max(CAPACITY_KEPT));
    }
}

impl FetchWaker for ReadySlots {
    fn wake(&self, slot: u32) {
        self.push(FetchSlot(slot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_that_are_taken_or_dropped_leave_no_memory_behind() {
        for taken in [true, false] {
            let ready = ReadySlots::default();
            ready.extend((0..10_000).map(FetchSlot));
            if taken {
                while ready.pop().is_some() {}
            } else {
                ready.retain(|_| false);
            }
            let capacity = ready.queue.lock().capacity();
            assert!(capacity <= CAPACITY_KEPT, "room for {capacity} is left, taken: {taken}");
        }
    }
}
