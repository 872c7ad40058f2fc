//! A partition that has been quiet for 100 ms writes down how far it is durable.
//!
//! Recovery can then tell damage of old records from a torn tail, and has next to nothing to check. One thread
//! looks after all partitions; those that are busy are looked at again later. Writing it down costs the disk several
//! syncs. So in a rush, which is when producers wait for the disk and a second longer, the thread takes a tenth of the time
//! at most, and a partition must have been quiet for a second: one that gets a little now and then is spared what it would
//! undo at once.

use super::Partition;
use crate::clock::BrokerClock;
use crate::health::Health;
use grower_storage::log::ChangeError;
use parking_lot::{Condvar, Mutex};
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a partition must have been quiet.
const QUIET: Duration = Duration::from_millis(100);
/// The same in a rush, and how long that lasts after producers were last seen waiting for the disk.
const QUIET_IN_A_RUSH: Duration = Duration::from_secs(1);
/// How often the partitions are looked at.
const LOOK_EACH: Duration = Duration::from_millis(50);
/// In a rush, each checkpoint is followed by a pause of this many times its own length.
const PAUSE_FACTOR: u32 = 9;

/// Partitions that were synced and have not written down their durable end since.
#[derive(Default)]
pub(super) struct Idle {
    watched: Mutex<Watched>,
    changed: Condvar,
}

#[derive(Default)]
struct Watched {
    partitions: Vec<Arc<Partition>>,
    stopped: bool,
}

impl Idle {
    /// Looks after a partition until it has been quiet.
    pub(super) fn watch(&self, partition: &Arc<Partition>) {
        let watched_already = {
            let mut commit = partition.commit.lock();
            commit.last_sync = Some(Instant::now());
            std::mem::replace(&mut commit.watched, true)
        };
        if !watched_already {
            self.watched.lock().partitions.push(partition.clone());
            self.changed.notify_one();
        }
    }

    pub(super) fn stop(&self) {
        self.watched.lock().stopped = true;
        self.changed.notify_one();
    }

    /// The thread; ends after [`Idle::stop`]. `contended` says whether producers wait for the disk.
    pub(super) fn run(&self, clock: &BrokerClock, health: &Health, contended: impl Fn() -> bool) {
        let contention = Cell::new(None::<Instant>);
        let in_a_rush = || {
            if contended() {
                contention.set(Some(Instant::now()));
            }
            contention.get().is_some_and(|last| last.elapsed() < QUIET_IN_A_RUSH)
        };
        let time = || if in_a_rush() { QUIET_IN_A_RUSH } else { QUIET };
        let mut watched = self.watched.lock();
        while !watched.stopped {
            if watched.partitions.is_empty() {
                self.changed.wait(&mut watched);
                continue;
            }
            self.changed.wait_for(&mut watched, LOOK_EACH);
            let mut partitions = std::mem::take(&mut watched.partitions);
            drop(watched);
            for quiet in partitions.extract_if(.., |partition| partition.take_if_quiet(time())) {
                let started = Instant::now();
                checkpoint(&quiet, clock, health);
                if in_a_rush() && self.pause(started.elapsed() * PAUSE_FACTOR) {
                    break;
                }
            }
            watched = self.watched.lock();
            watched.partitions.append(&mut partitions);
        }
    }

    /// Waits; `true` if the thread shall end.
    fn pause(&self, time: Duration) -> bool {
        let mut watched = self.watched.lock();
        let until = Instant::now() + time;
        while !watched.stopped && !self.changed.wait_until(&mut watched, until).timed_out() {}
        watched.stopped
    }
}

/// What fails for now is tried again after the partition's next append.
fn checkpoint(partition: &Partition, clock: &BrokerClock, health: &Health) {
    match partition.checkpoint(clock.steady()) {
        Ok(()) => {}
        Err(ChangeError::Failed(error)) => health.log_failed(&error),
        Err(error) => {
            let (topic, number) = (&partition.topic_name, partition.partition);
            tracing::warn!(%topic, partition = %number, %error, "the durable end could not be written down");
        }
    }
}

impl Partition {
    /// Ends the watch if the partition has been quiet for a time: its next sync begins another.
    fn take_if_quiet(&self, time: Duration) -> bool {
        let mut commit = self.commit.lock();
        let quiet = commit.is_resting() && commit.last_sync.is_none_or(|last| time <= last.elapsed());
        commit.watched &= !quiet;
        quiet
    }
}
