//! A sync round: one fsync answers every producer that waits for it.
//!
//! The log names the files to sync. They are synced without the writer's lock, the marks move, and the waiters whose
//! offset a mark has reached are answered. After a failed sync the content of the disk is unknown: no waiter is
//! acknowledged, and the broker stops for good.

use super::{Partition, SyncPool, waiter};
use crate::critical::CriticalSection;
use crate::health::Health;
use crate::replica::{Effects, Event};
use grower_protocol::message::{ErrorCode, Failure};
use grower_storage::disk::DiskError;
use grower_storage::log::{FlushPoint, LogFailed};
use std::sync::Arc;

/// A running round. If a panic ends it, the waiters of the partition are refused: no other round answers them.
struct RoundGuard<'a> {
    section: CriticalSection<&'a Health>,
    partition: &'a Partition,
}

impl<'a> RoundGuard<'a> {
    fn of(partition: &'a Partition, health: &'a Health) -> Self {
        Self { section: CriticalSection::enter(health, "a sync round"), partition }
    }
}

impl Drop for RoundGuard<'_> {
    fn drop(&mut self) {
        if self.section.is_interrupted() {
            let failure = Failure::new(ErrorCode::ShuttingDown, "the broker stops: a panic ended a sync");
            let waiters = self.partition.commit.lock().take_all();
            waiter::refuse(waiters, &failure);
        }
    }
}

impl SyncPool {
    /// Runs the queued round of a partition. True if waiters need another sync: the next round is queued, and
    /// the caller runs it.
    pub(super) fn round(&self, partition: &Arc<Partition>) -> bool {
        let _whole = RoundGuard::of(partition, &self.health);
        let begun = partition.commit.lock().begin(partition.published.durable());
        self.load.round_began(begun);
        let synced = self.sync_written(partition, 0 < begun.waiters).map_err(|failure| self.health.explain(failure));
        match synced {
            Ok(effects) => {
                partition.wake_fetches(effects);
                let now = self.clock.monotonic();
                let mut commit = partition.commit.lock();
                let (answered, ended) = commit.end(partition.reached(), now); // Under the lock: it misses no mark.
                drop(commit);
                if ended.watch {
                    self.idle.watch(partition);
                }
                self.load.round_ended(ended);
                waiter::acknowledge(answered);
                0 < ended.unsynced
            }
            Err(failure) => {
                let (waiters, ended) = partition.commit.lock().fail();
                self.load.round_ended(ended);
                waiter::refuse(waiters, &failure);
                0 < ended.unsynced
            }
        }
    }

    /// Makes everything written so far durable. Blocks.
    pub(crate) fn sync_now(&self, partition: &Partition) -> Result<(), Failure> {
        self.sync_written(partition, false).map(|effects| partition.carry_out(effects))
    }

    fn sync_written(&self, partition: &Partition, awaited: bool) -> Result<Effects, Failure> {
        let mut point = partition.flush_point()?;
        point.awaited = awaited;
        if let Some(reason) = self.health.failure() {
            return Err(Failure::new(ErrorCode::StorageFailed, reason)); // After a failed sync nothing is synced.
        }
        let had_news = !point.files.is_empty() || !partition.is_durable(point.end); // Logs in memory have no files.
        let started = self.clock.monotonic();
        let synced = point.sync(&*self.disk);
        if had_news {
            let took = self.clock.monotonic().saturating_sub(started); // An empty sync says nothing about the disk.
            (self.on_sync)(took);
            self.inline.note_sync(took);
        }
        partition.flushed(&point, synced).map_err(|error| {
            if error.files_gone {
                partition.fetches.wake_all();
            } else {
                self.health.fail(format!("a sync failed, so the content of the disk is unknown: {error}"));
            }
            // Not `PartitionOffline`: the records may be there again once the files are back.
            Failure::new(ErrorCode::StorageFailed, error)
        })
    }
}

impl Partition {
    /// The files to sync for everything written to be durable.
    fn flush_point(&self) -> Result<FlushPoint, Failure> {
        let tail = self.writer.lock();
        tail.check_open()?;
        Ok(tail.log.flush_point())
    }

    fn flushed(&self, point: &FlushPoint, synced: Result<(), DiskError>) -> Result<Effects, LogFailed> {
        let mut tail = self.writer.lock();
        let synced = match synced {
            // The files of a deleted partition were moved away: it needs no sync.
            Err(error) if tail.deleted && error.is_file_gone() => return Ok(Effects::default()),
            synced => synced,
        };
        let durable = tail.log.flushed(point, synced)?;
        debug_assert!(point.end <= durable, "a sync to {} that succeeded made the log durable to {durable}", point.end);
        let effects = tail.replica.apply(Event::Synced { durable });
        self.publish_marks(&tail);
        Ok(effects)
    }
}
