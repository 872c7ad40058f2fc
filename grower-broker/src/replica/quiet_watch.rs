//! Tells when a partition has been quiet since its last sync: then a checkpoint of it is due.

use std::time::Duration;

/// The last sync of a partition, and whether its quiet is watched for. Times are of the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct QuietWatch {
    last_sync: Option<Duration>,
    watched: bool,
}

impl QuietWatch {
    /// Notes a sync. True if the watch begins with it.
    pub(super) fn synced(&mut self, now: Duration) -> bool {
        debug_assert!(self.last_sync.is_none_or(|last| last <= now), "the monotonic clock went back to {now:?}");
        self.last_sync = Some(now);
        !std::mem::replace(&mut self.watched, true)
    }

    /// Ends the watch if nothing was synced for `time`. True if it ended.
    pub(super) fn end_if_quiet(&mut self, time: Duration, now: Duration) -> bool {
        let quiet = self.last_sync.is_none_or(|last| time <= now.saturating_sub(last));
        self.watched &= !quiet;
        quiet
    }
}
