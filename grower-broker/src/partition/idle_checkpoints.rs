//! Checkpoints of idle partitions: each records how far the log is durable.
//!
//! Recovery can then tell damage of old records from a torn tail, and has little to check. One thread serves all
//! partitions and skips the busy ones. [`CheckpointPace`] decides how much of the disk's time it takes.

use super::Partition;
use super::checkpoint_pace::CheckpointPace;
use crate::clock::BrokerClock;
use crate::health::Health;
use grower_storage::log::ChangeError;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::time::Duration;

/// How often partitions are checked.
const LOOK_EACH: Duration = Duration::from_millis(50);

/// Partitions that were synced since their last checkpoint.
#[derive(Default)]
pub(super) struct IdleCheckpoints {
    watched: Mutex<WatchList>,
    changed: Condvar,
}

#[derive(Default)]
struct WatchList {
    partitions: Vec<Arc<Partition>>,
    stopped: bool,
}

impl IdleCheckpoints {
    /// Watches a partition, which is not watched yet, until it has been checkpointed.
    pub(super) fn watch(&self, partition: &Arc<Partition>) {
        self.watched.lock().partitions.push(partition.clone());
        self.changed.notify_one();
    }

    pub(super) fn stop(&self) {
        self.watched.lock().stopped = true;
        self.changed.notify_one();
    }

    /// The thread's work until [`IdleCheckpoints::stop`]. `contended` tells whether producers wait for the disk.
    pub(super) fn run(&self, clock: &BrokerClock, health: &Health, contended: impl Fn() -> bool) {
        let mut pace = CheckpointPace::default();
        while let Some(mut partitions) = self.next_look() {
            let mut at = 0;
            while let Some(partition) = partitions.get(at) {
                let started = clock.monotonic();
                if !partition.commit.lock().take_if_quiet(pace.quiet_time(contended(), started), started) {
                    at += 1;
                    continue;
                }
                checkpoint(&partitions.swap_remove(at), clock, health);
                let now = clock.monotonic();
                if self.pause(pace.pause_after(now.saturating_sub(started), contended(), now)) {
                    break;
                }
            }
            self.watched.lock().partitions.append(&mut partitions);
        }
    }

    /// Waits until partitions are to be checked, and takes them; none after a stop.
    fn next_look(&self) -> Option<Vec<Arc<Partition>>> {
        let mut watched = self.watched.lock();
        while watched.partitions.is_empty() && !watched.stopped {
            self.changed.wait(&mut watched);
        }
        if !watched.stopped {
            self.changed.wait_for(&mut watched, LOOK_EACH);
        }
        if watched.stopped { None } else { Some(std::mem::take(&mut watched.partitions)) }
    }

    /// Pauses the thread; `true` if it has to end.
    fn pause(&self, time: Duration) -> bool {
        let mut watched = self.watched.lock();
        if !time.is_zero() {
            self.changed.wait_while_for(&mut watched, |watched| !watched.stopped, time);
        }
        watched.stopped
    }
}

/// A failed checkpoint is retried after the partition's next append.
fn checkpoint(partition: &Partition, clock: &BrokerClock, health: &Health) {
    match partition.checkpoint(clock.steady()) {
        Ok(()) => {}
        Err(ChangeError::Failed(error)) => health.log_failed(&error),
        Err(error) => {
            let (topic, number) = (&partition.topic_name, partition.partition);
            tracing::warn!(%topic, partition = %number, %error, "checkpoint failed");
        }
    }
}
