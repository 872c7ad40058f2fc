//! A sync round: one fsync answers every producer that waited for it.
//!
//! The log names what must reach the disk, that is synced outside the writer's lock, the marks move, and exactly those
//! waiters are answered whose offset a mark has reached. After a failed sync nothing is known of the disk, so no waiter is
//! acknowledged and the broker stops for good.

use super::{Partition, SyncPool};
use crate::api::send_settled;
use crate::critical::CriticalSection;
use crate::health::Health;
use grower_protocol::message::{ErrorCode, Failure};
use grower_storage::disk::DiskError;
use grower_storage::log::{FlushPoint, LogFailed};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// A round that was begun. Cut short by a panic, it tells those who wait for the partition: no other round will.
struct BegunRound<'a> {
    section: CriticalSection<&'a Health>,
    partition: &'a Partition,
}

impl<'a> BegunRound<'a> {
    fn of(partition: &'a Partition, health: &'a Health) -> Self {
        Self { section: CriticalSection::enter(health, "a sync round"), partition }
    }
}

impl Drop for BegunRound<'_> {
    fn drop(&mut self) {
        if self.section.is_cut() {
            let failure = Failure::new(ErrorCode::ShuttingDown, "the broker stops: a sync was cut short by a panic");
            let waiters = self.partition.commit.lock().abandon(&failure);
            send_settled(waiters.tell());
        }
    }
}

impl SyncPool {
    /// One sync of one partition; `true` if more waiters came meanwhile, and the partition must be queued again.
    pub(super) fn round(&self, partition: &Arc<Partition>) -> bool {
        let _whole = BegunRound::of(partition, &self.health);
        let awaiting = partition.commit.lock().begin();
        if 0 < awaiting {
            self.waiting.fetch_sub(awaiting, Ordering::Relaxed);
            self.last_round.store(awaiting, Ordering::Relaxed);
        }
        let outcome = self.sync_written(partition, 0 < awaiting).map_err(|failure| self.health.explain(failure));
        if outcome.is_ok() {
            self.idle.watch(partition);
        }
        // In this order: where the policy commits what is durable, the durable mark is at least as far.
        let (high_watermark, durable) = (partition.high_watermark(), partition.durable_end());
        let (settled, more) = match &outcome {
            Ok(()) => partition.commit.lock().end(high_watermark, durable),
            Err(failure) => partition.commit.lock().fail(failure),
        };
        // Those that came after its beginning were counted as waiting for the next.
        match settled.len().checked_sub(awaiting) {
            Some(late) => self.waiting.fetch_sub(late, Ordering::Relaxed),
            None => self.waiting.fetch_add(awaiting - settled.len(), Ordering::Relaxed),
        };
        send_settled(settled.tell());
        more
    }

    /// Makes everything written to the partition so far durable. Blocks.
    pub(crate) fn sync_now(&self, partition: &Partition) -> Result<(), Failure> {
        self.sync_written(partition, false)
    }

    fn sync_written(&self, partition: &Partition, awaited: bool) -> Result<(), Failure> {
        let mut point = partition.flush_point()?;
        point.awaited = awaited;
        if let Some(reason) = self.health.failure() {
            return Err(Failure::new(ErrorCode::StorageFailed, reason)); // Nothing is synced after a sync failed.
        }
        let had_news = !point.files.is_empty() || !partition.is_durable(point.end); // Logs in memory have no files.
        let started = Instant::now();
        let synced = point.sync(&*self.disk);
        if had_news {
            let took = started.elapsed(); // No time at all says nothing of the disk.
            self.health.metrics().synced(took);
            self.lone.synced(took);
        }
        partition.flushed(&point, synced).map_err(|error| {
            if error.files_gone {
                partition.fetches.wake_all();
            } else {
                self.health.fail(format!("a sync failed, so what is on disk is no longer known: {error}"));
            }
            // Not that it is shut: what was written may be there again once the files are back.
            Failure::new(ErrorCode::StorageFailed, error)
        })
    }
}

impl Partition {
    /// What must be synced for everything written to be durable.
    fn flush_point(&self) -> Result<FlushPoint, Failure> {
        let tail = self.writer.lock();
        tail.check_open()?;
        Ok(tail.log.flush_point())
    }

    fn flushed(&self, point: &FlushPoint, synced: Result<(), DiskError>) -> Result<(), LogFailed> {
        let mut tail = self.writer.lock();
        let synced = match synced {
            // Its files were moved away: what was deleted is as durable as it has to be.
            Err(error) if tail.deleted && error.is_file_gone() => return Ok(()),
            synced => synced,
        };
        let end = tail.log.flushed(point, synced)?;
        tail.marks.synced(end);
        let moved = self.publish_marks(&tail);
        drop(tail);
        self.wake_fetches(moved);
        Ok(())
    }
}
