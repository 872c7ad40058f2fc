//! Fetches that wait for the high watermark to pass an offset.

use super::Partition;
use grower_protocol::ids::Offset;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// The waiting fetches of one partition, each once. Each also has a deadline of its own, and ends with its connection and
/// the broker. All of them may come and go with one append, so none is searched for.
#[derive(Default)]
pub(super) struct WaitingFetches(Mutex<HashMap<FetchAddress, WaitingFetch>>);

/// Where a fetch lies in memory, which nothing else does as long as it is waiting.
type FetchAddress = usize;

fn address(fetch: &Arc<Notify>) -> FetchAddress {
    Arc::as_ptr(fetch).addr()
}

struct WaitingFetch {
    /// It is woken once the high watermark is beyond this.
    seen: Offset,
    fetch: Arc<Notify>,
}

impl WaitingFetches {
    /// Wakes those that have not seen a high watermark as far as this.
    pub(super) fn wake_below(&self, high_watermark: Offset) {
        for (_, woken) in self.0.lock().extract_if(|_, waiting| waiting.seen < high_watermark) {
            woken.fetch.notify_one();
        }
    }

    /// Wakes all: the partition is gone.
    pub(super) fn wake_all(&self) {
        self.0.lock().drain().for_each(|(_, woken)| woken.fetch.notify_one());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

impl Partition {
    /// Wakes `fetch` once the high watermark is beyond `seen`, be that already so.
    pub(crate) fn notify_beyond(&self, seen: Offset, fetch: &Arc<Notify>) {
        self.fetches.0.lock().insert(address(fetch), WaitingFetch { seen, fetch: fetch.clone() });
        if seen < self.high_watermark() {
            self.fetches.wake_below(self.high_watermark()); // It moved before this one was there to be woken.
        }
    }

    /// Forgets a fetch that was answered otherwise.
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
    fn each_fetch_waits_once_and_is_woken_by_what_it_has_not_seen() {
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
