//! Fetches that wait for the high watermark to pass an offset.

use super::Partition;
use grower_protocol::ids::Offset;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// Is woken when a fetch may have records.
pub(crate) trait FetchWaker: Send + Sync {
    /// Wakes the fetch. `slot` is the number under which it waits. Called under a lock of the partition, so it calls no
    /// partition.
    fn wake(&self, slot: u32);
}

/// A request that waits as a whole, with one slot.
impl FetchWaker for Notify {
    fn wake(&self, _slot: u32) {
        self.notify_one();
    }
}

/// The waiting fetches of one partition object, each once. A one-shot fetch leaves the set at the end of its wait, a
/// slot of a session when it is dropped. The key is an address: one append may wake and re-add all of them.
///
/// They end with their partition object: when its topic is deleted, its files are gone, or another object takes its
/// place. A waiting fetch keeps its set: an object that takes this one's place has another set.
#[derive(Default)]
pub(crate) struct WaitingFetches(Mutex<WaitingSet>);

#[derive(Default)]
struct WaitingSet {
    waiting: HashMap<FetchAddress, WaitingFetch>,
    /// All fetches that had seen less than this were woken.
    woken_below: Offset,
    /// The partition object has ended: fetches do not wait for it.
    ended: bool,
}

/// The capacity that an empty set keeps.
const CAPACITY_KEPT: usize = 16;

/// The memory address of a waker, unique while it waits, and the slot.
type FetchAddress = (usize, u32);

fn address(waker: &Arc<dyn FetchWaker>, slot: u32) -> FetchAddress {
    (Arc::as_ptr(waker).addr(), slot)
}

struct WaitingFetch {
    /// The high watermark that the fetch has seen. It is woken when the mark passes this.
    seen: Offset,
    waker: Arc<dyn FetchWaker>,
}

impl WaitingFetches {
    /// Wakes `slot` of `waker` when the high watermark passes `seen`, or when the partition object ends: at once if
    /// either has happened.
    pub(crate) fn wake_beyond(&self, seen: Offset, waker: &Arc<dyn FetchWaker>, slot: u32) {
        let mut set = self.0.lock();
        if set.ended || seen < set.woken_below {
            waker.wake(slot);
        } else {
            set.waiting.insert(address(waker, slot), WaitingFetch { seen, waker: waker.clone() });
        }
    }

    /// Ends the wait of a fetch. True if it still waited; else it has been woken.
    pub(crate) fn forget(&self, waker: &Arc<dyn FetchWaker>, slot: u32) -> bool {
        let mut set = self.0.lock();
        let waited = set.waiting.remove(&address(waker, slot)).is_some();
        set.shrink();
        waited
    }

    /// Wakes the fetches that have seen less than this high watermark, which is published.
    pub(crate) fn wake_below(&self, high_watermark: Offset) {
        let mut set = self.0.lock();
        set.woken_below = set.woken_below.max(high_watermark);
        for ((_, slot), woken) in set.waiting.extract_if(|_, waiting| waiting.seen < high_watermark) {
            woken.waker.wake(slot);
        }
        set.shrink();
        debug_assert!(set.waiting.values().all(|waiting| set.woken_below <= waiting.seen), "a fetch sleeps on");
    }

    /// Wakes all, now and in future. The partition object is found offline, or not found, from now on.
    pub(crate) fn end(&self) {
        let mut set = self.0.lock();
        set.ended = true;
        std::mem::take(&mut set.waiting).into_iter().for_each(|((_, slot), woken)| woken.waker.wake(slot));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().waiting.len()
    }

    /// Whether a fetch still waits.
    pub(crate) fn holds(&self, waker: &Arc<dyn FetchWaker>, slot: u32) -> bool {
        self.0.lock().waiting.contains_key(&address(waker, slot))
    }
}

impl WaitingSet {
    /// Frees memory that is charged to no fetch. A wake-up scans the whole capacity, so this keeps it short, too.
    fn shrink(&mut self) {
        if CAPACITY_KEPT < self.waiting.capacity() && 4 * self.waiting.len() < self.waiting.capacity() {
            self.waiting.shrink_to((2 * self.waiting.len()).max(CAPACITY_KEPT));
        }
    }
}

impl Partition {
    /// Fetches that wait for the high watermark to move.
    pub(crate) fn fetches(&self) -> &Arc<WaitingFetches> {
        &self.fetches
    }
}

/// Another object may take its place.
impl Drop for Partition {
    fn drop(&mut self) {
        self.fetches.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_waits_once_and_is_woken_by_a_high_watermark_it_has_not_seen() {
        let fetches = WaitingFetches::default();
        let all: Vec<Arc<dyn FetchWaker>> = (0..10).map(|_| Arc::new(Notify::new()) as _).collect();
        for _ in 0..2 {
            for (number, waker) in all.iter().enumerate() {
                fetches.wake_beyond(Offset::new(number as u64), waker, 0);
            }
        }
        assert_eq!(fetches.len(), 10);
        fetches.wake_below(Offset::new(4));
        assert_eq!(fetches.len(), 6);
        fetches.wake_beyond(Offset::new(3), &all[0], 0);
        assert_eq!(fetches.len(), 6, "it missed the mark");
        assert!(fetches.forget(&all[9], 0) && !fetches.forget(&all[9], 0));
        assert_eq!(fetches.len(), 5);
        fetches.end();
        fetches.wake_beyond(Offset::new(9), &all[9], 0);
        assert!(fetches.len() == 0 && all.iter().all(|waker| Arc::strong_count(waker) == 1));
    }

    #[test]
    fn fetches_that_are_gone_leave_no_memory_behind() {
        let waker: Arc<dyn FetchWaker> = Arc::new(Notify::new());
        for woken in [true, false] {
            let fetches = WaitingFetches::default();
            (0..10_000).for_each(|slot| fetches.wake_beyond(Offset::ZERO, &waker, slot));
            if woken {
                fetches.wake_below(Offset::new(1));
            } else {
                (0..10_000).for_each(|slot| assert!(fetches.forget(&waker, slot)));
            }
            let capacity = fetches.0.lock().waiting.capacity();
            assert!(capacity <= 4 * CAPACITY_KEPT, "room for {capacity} is left, woken: {woken}");
        }
    }
}
