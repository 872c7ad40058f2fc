//! Fetches that wait for the high watermark to pass an offset.

use super::Partition;
use grower_protocol::ids::Offset;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::Notify;

/// The waiting fetches of one partition. Each also has a deadline of its own, and ends with its connection and the broker.
#[derive(Default)]
pub(super) struct WaitingFetches(Mutex<Vec<WaitingFetch>>);

struct WaitingFetch {
    /// It is woken once the high watermark is beyond this.
    seen: Offset,
    fetch: Arc<Notify>,
}

impl WaitingFetches {
    /// Wakes those that have not seen a high watermark as far as this.
    pub(super) fn wake_below(&self, high_watermark: Offset) {
        for woken in self.0.lock().extract_if(.., |waiting| waiting.seen < high_watermark) {
            woken.fetch.notify_one();
        }
    }

    /// Wakes all: the partition is gone.
    pub(super) fn wake_all(&self) {
        self.0.lock().drain(..).for_each(|woken| woken.fetch.notify_one());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

impl Partition {
    /// Wakes `fetch` once the high watermark is beyond `seen`, be that already so.
    pub(crate) fn notify_beyond(&self, seen: Offset, fetch: &Arc<Notify>) {
        self.fetches.0.lock().push(WaitingFetch { seen, fetch: fetch.clone() });
        if seen < self.high_watermark() {
            self.fetches.wake_below(self.high_watermark()); // It moved before this one was there to be woken.
        }
    }

    /// Forgets a fetch that was answered otherwise.
    pub(crate) fn forget_fetch(&self, fetch: &Arc<Notify>) {
        self.fetches.0.lock().retain(|waiting| !Arc::ptr_eq(&waiting.fetch, fetch));
    }
}
