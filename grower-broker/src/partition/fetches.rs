//! Fetches that wait for the high watermark to pass an offset.

use super::Partition;
use grower_protocol::ids::Offset;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// Learns that a fetch has news.
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

/// The waiting fetches of one partition, each once. Each also ends at its deadline, with its connection and with the
/// broker. One append may wake and re-add all of them, so they are found by address.
#[derive(Default)]
pub(super) struct WaitingFetches(Mutex<HashMap<FetchAddress, WaitingFetch>>);

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
    /// Wakes the fetches that have seen less than this high watermark.
    pub(super) fn wake_below(&self, high_watermark: Offset) {
        let mut waiting = self.0.lock();
        for ((_, slot), woken) in waiting.extract_if(|_, waiting| waiting.seen < high_watermark) {
            woken.waker.wake(slot);
        }
        debug_assert!(waiting.values().all(|waiting| high_watermark <= waiting.seen), "a fetch sleeps on");
    }

    /// Wakes all: the partition is deleted or its files are gone.
    pub(super) fn wake_all(&self) {
        self.0.lock().drain().for_each(|((_, slot), woken)| woken.waker.wake(slot));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

impl Partition {
    /// Wakes `slot` of `waker` when the high watermark passes `seen`: at once if it has.
    pub(crate) fn wake_beyond(&self, seen: Offset, waker: &Arc<dyn FetchWaker>, slot: u32) {
        self.fetches.0.lock().insert(address(waker, slot), WaitingFetch { seen, waker: waker.clone() });
        if seen < self.high_watermark() {
            self.fetches.wake_below(self.high_watermark()); // It moved before the fetch was registered.
        }
    }

    /// Ends the wait of a fetch. True if it still waited; else it has been woken.
    pub(crate) fn forget_fetch(&self, waker: &Arc<dyn FetchWaker>, slot: u32) -> bool {
        self.fetches.0.lock().remove(&address(waker, slot)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(fetches: &WaitingFetches) -> usize {
        fetches.0.lock().len()
    }

    #[test]
    fn a_fetch_waits_once_and_is_woken_by_a_high_watermark_it_has_not_seen() {
        let fetches = WaitingFetches::default();
        let all: Vec<Arc<dyn FetchWaker>> = (0..10).map(|_| Arc::new(Notify::new()) as _).collect();
        for _ in 0..2 {
            for (number, waker) in all.iter().enumerate() {
                let seen = Offset::new(number as u64);
                fetches.0.lock().insert(address(waker, 0), WaitingFetch { seen, waker: waker.clone() });
            }
        }
        assert_eq!(waiting(&fetches), 10);
        fetches.wake_below(Offset::new(4));
        assert_eq!(waiting(&fetches), 6);
        fetches.0.lock().remove(&address(&all[9], 0));
        assert_eq!(waiting(&fetches), 5);
        fetches.wake_all();
        assert!(fetches.is_empty() && all.iter().all(|waker| Arc::strong_count(waker) == 1));
    }
}
