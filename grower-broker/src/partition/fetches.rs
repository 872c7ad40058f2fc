//! Fetches that wait for the high watermark to pass an offset.

use super::Partition;
use grower_protocol::ids::Offset;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// The waiting fetches of one partition, each once. Each also ends at its deadline, with its connection and with the
/// broker. One append may wake and re-add all of them, so they are found by address.
#[derive(Default)]
pub(super) struct WaitingFetches(Mutex<HashMap<FetchAddress, WaitingFetch>>);

/// The memory address of a fetch, unique while it waits.
type FetchAddress = usize;

fn address(fetch: &Arc<Notify>) -> FetchAddress {
    Arc::as_ptr(fetch).addr()
}

struct WaitingFetch {
    /// The high watermark that the fetch has seen. It is woken when the mark passes this.
    seen: Offset,
    fetch: Arc<Notify>,
}

impl WaitingFetches {
    /// Wakes the fetches that have seen less than this high watermark.
    pub(super) fn wake_below(&self, high_watermark: Offset) {
        let mut waiting = self.0.lock();
        for (_, woken) in waiting.extract_if(|_, waiting| waiting.seen < high_watermark) {
            woken.fetch.notify_one();
        }
        debug_assert!(waiting.values().all(|waiting| high_watermark <= waiting.seen), "a fetch sleeps on");
    }

    /// Wakes all: the partition is deleted or its files are gone.
    pub(super) fn wake_all(&self) {
        self.0.lock().drain().for_each(|(_, woken)| woken.fetch.notify_one());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

impl Partition {
    /// Wakes `fetch` when the high watermark passes `seen`: at once if it has.
    pub(crate) fn notify_beyond(&self, seen: Offset, fetch: &Arc<Notify>) {
        self.fetches.0.lock().insert(address(fetch), WaitingFetch { seen, fetch: fetch.clone() });
        if seen < self.high_watermark() {
            self.fetches.wake_below(self.high_watermark()); // It moved before the fetch was registered.
        }
    }

    /// Removes a fetch that no longer waits.
    pub(crate) fn forget_fetch(&self, fetch: &Arc<Notify>) {
        self.fetches.0.lock().remove(&address(fetch));
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
        let all: Vec<Arc<Notify>> = (0..10).map(|_| Arc::default()).collect();
        for _ in 0..2 {
            for (number, fetch) in all.iter().enumerate() {
                let seen = Offset::new(number as u64);
                fetches.0.lock().insert(address(fetch), WaitingFetch { seen, fetch: fetch.clone() });
            }
        }
        assert_eq!(waiting(&fetches), 10);
        fetches.wake_below(Offset::new(4));
        assert_eq!(waiting(&fetches), 6);
        fetches.0.lock().remove(&address(&all[9]));
        assert_eq!(waiting(&fetches), 5);
        fetches.wake_all();
        assert!(fetches.is_empty() && all.iter().all(|fetch| Arc::strong_count(fetch) == 1));
    }
}
