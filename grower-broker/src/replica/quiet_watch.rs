//! Tells when a partition has been quiet since its last sync: then a checkpoint of it is due.

use std::time::Duration;

/// Checkpoints of one partition are at least this far apart: a record each second would undo each of them, and a
/// checkpoint takes several syncs.
const CHECKPOINT_EACH: Duration = Duration::from_secs(10);

/// The last sync of a partition, and whether its quiet is watched for. Times are of the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct QuietWatch {
    last_sync: Option<Duration>,
    last_checkpoint: Option<Duration>,
    watched: bool,
}

impl QuietWatch {
    /// Notes a sync. True if the watch begins with it.
    pub(super) fn synced(&mut self, now: Duration) -> bool {
        debug_assert!(self.last_sync.is_none_or(|last| last <= now), "the monotonic clock went back to {now:?}");
        self.last_sync = Some(now);
        !std::mem::replace(&mut self.watched, true)
    }

    /// Ends the watch if nothing was synced for `time`, and no watch ended for longer. True if it ended.
    pub(super) fn end_if_quiet(&mut self, time: Duration, now: Duration) -> bool {
        let is_past = |last: Option<Duration>, time| last.is_none_or(|last| time <= now.saturating_sub(last));
        let is_due = is_past(self.last_sync, time) && is_past(self.last_checkpoint, CHECKPOINT_EACH);
        if is_due {
            (self.watched, self.last_checkpoint) = (false, Some(now));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_each_second_costs_one_checkpoint_in_ten_seconds() {
        let mut watch = QuietWatch::default();
        let quiet = Duration::from_millis(100);
        let mut checkpoints = Vec::new();
        for tenth in 0..400 {
            let now = tenth * quiet;
            if tenth < 300 && tenth % 10 == 0 {
                watch.synced(now);
            }
            if watch.watched && watch.end_if_quiet(quiet, now) {
                checkpoints.push(tenth);
            }
        }
        assert_eq!(checkpoints, [1, 101, 201, 301], "the last record, at 290, has a checkpoint too");
    }
}
