//! One partition on its leader: the shell around its [`Replica`], which decides, and its log.
//!
//! A short lock around the log is the partition's single writer. Under it the replica takes in what happened to the
//! log, and its marks are [published] for everyone else. A batch that must be durable before its ack leaves a waiter in
//! the [`CommitQueue`] *after* its write; the next sync round answers all waiters that a mark covers. Readers see the
//! records below the high watermark.
//!
//! After a crash the log recovers everything up to its last completed sync. Records that no ack covered may be gone.

mod age;
mod backup;
mod checkpoint_pace;
mod compaction;
mod configure;
mod damage_check;
mod divergence;
mod fetches;
mod idle_checkpoints;
mod inline_sync;
mod job_queue;
mod producers;
mod published;
mod refusal;
mod registry;
mod sync_load;
mod sync_pool;
mod sync_pool_owner;
mod sync_round;
mod traffic;
mod waiter;
mod writer;

pub(crate) use compaction::CompactError;
pub(crate) use damage_check::DamageCheck;
pub(crate) use fetches::{FetchWaker, WaitingFetches};
pub(crate) use grower_storage::log::TryAppend;
pub(crate) use inline_sync::InlineSyncHint;
pub(crate) use producers::PartitionFence;
pub(crate) use registry::ProducerRegistry;
pub(crate) use sync_pool::SyncPool;
pub(crate) use sync_pool_owner::SyncPoolOwner;
pub(crate) use traffic::TrafficTotals;
pub(crate) use waiter::{CommitWaiter, PendingCommit, SendGathered};
pub(crate) use writer::{QueuedAppend, QueuedFence};

use crate::config::topic::TopicConfig;
use crate::critical::{CriticalSection, StateGuard, StateMutex};
use crate::health::Health;
use crate::memory::StateReservation;
use crate::replica::{CommitQueue, Effects, Event, Reached, Replica, ReplicaMarks};
use crate::reserve_file::KeepReserve;
use arc_swap::ArcSwap;
use grower_protocol::batch::UnplacedBatch;
use grower_protocol::ids::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicId, TopicName};
use grower_protocol::message::{Durability, ErrorCode, Failure};
use grower_storage::log::{Appended, ChangeError, Log, LogReader, RetentionLimits};
use parking_lot::Mutex;
use published::PublishedMarks;
use std::sync::Arc;
use traffic::TrafficCounters;
use writer::{PartitionTail, PartitionWriter};

/// A partition that this broker leads.
pub(crate) struct Partition {
    pub(crate) topic: TopicId,
    pub(crate) topic_name: TopicName,
    pub(crate) partition: PartitionId,
    /// Held while segments are dropped or replaced, and taken before the writer's lock. A backup holds it to keep the
    /// segments in place while producers append.
    dropping: Mutex<()>,
    writer: PartitionWriter,
    reader: LogReader,
    commit: StateMutex<CommitQueue<CommitWaiter>>,
    published: PublishedMarks,
    health: Health,
    registry: Arc<dyn ProducerRegistry>,
    config: ArcSwap<TopicConfig>,
    /// Fetches that wait for the high watermark to move.
    fetches: Arc<WaitingFetches>,
    /// Records and bytes that clients appended and read.
    pub(crate) traffic: TrafficCounters,
    /// The last check of reported damage; locked by the task that checks.
    pub(crate) last_check: tokio::sync::Mutex<Option<DamageCheck>>,
}

/// The decision on a batch.
enum BatchAdmission {
    /// It is appended under this epoch.
    Append(LeaderEpoch),
    /// Its producer may not write any more, and the batch is in the log already.
    Retry(Appended),
}

/// Offsets of a partition, taken together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) log_start: Offset,
    pub(crate) high_watermark: Offset,
    pub(crate) log_end: Offset,
    pub(crate) epoch: LeaderEpoch,
}

impl Partition {
    /// Leads a log that was just recovered: all of it is durable. The log makes the epoch durable with the first append
    /// under it, not earlier: an empty partition has no files.
    pub(crate) fn lead(
        (topic, topic_name, partition): (TopicId, TopicName, PartitionId),
        health: &Health,
        log: Box<dyn Log>,
        epoch: LeaderEpoch,
        config: TopicConfig,
        producers: StateReservation,
        registry: Arc<dyn ProducerRegistry>,
    ) -> Self {
        debug_assert_eq!(log.durable_end(), log.span().end, "recovery left bytes that are not durable");
        let mut replica = Replica::recovered(log.span(), config.flush);
        let _ = replica.apply(Event::EpochBegun(epoch)); // No waiter or fetch exists yet.
        let (reader, published) = (log.reader(), PublishedMarks::of(&replica));
        let fetches = Arc::new(WaitingFetches::default());
        let ended = fetches.clone();
        reader.when_gone(move || ended.end());
        let mut tail = PartitionTail { log, replica, deleted: false, producers };
        tail.count_producers();
        Self {
            topic,
            topic_name,
            partition,
            reader,
            dropping: Mutex::default(),
            writer: PartitionWriter::new(tail, health),
            commit: StateMutex::new(health, "the commit queue of a partition", CommitQueue::default()),
            published,
            health: health.clone(),
            registry,
            config: ArcSwap::from_pointee(config),
            fetches,
            traffic: TrafficCounters::default(),
            last_check: tokio::sync::Mutex::default(),
        }
    }

    /// Appends a batch: written when this returns, durable after the next sync round. May wait for the disk, so network
    /// threads use [`Partition::offer`].
    pub(crate) fn append(&self, batch: UnplacedBatch, now: Timestamp) -> Result<Appended, Failure> {
        let batch = match self.try_append(self.writer.lock(), batch, now)? {
            TryAppend::Appended(appended) => return Ok(appended),
            TryAppend::WouldWait(batch) => batch,
        };
        let mut tail = self.writer.lock_slowly();
        let appended = match self.admit(&mut tail, &batch)? {
            BatchAdmission::Append(epoch) => {
                tail.log.append(batch, epoch, now).map_err(|error| refusal::of_append(&error))?
            }
            BatchAdmission::Retry(appended) => appended,
        };
        let effects = self.record_append(&mut tail, &appended, now);
        drop(tail);
        self.carry_out(effects);
        Ok(appended)
    }

    /// Appends a batch if that takes one write and no wait for slow work. Else the batch comes back, and the caller
    /// queues it at once: batches of one connection keep their order.
    pub(crate) fn offer(&self, batch: UnplacedBatch, now: Timestamp) -> Result<TryAppend, Failure> {
        match self.writer.lock_unless_slow() {
            Some(tail) => self.try_append(tail, batch, now),
            None => Ok(TryAppend::WouldWait(batch)),
        }
    }

    fn try_append(
        &self,
        mut tail: StateGuard<'_, PartitionTail>,
        batch: UnplacedBatch,
        now: Timestamp,
    ) -> Result<TryAppend, Failure> {
        let tried = match self.admit(&mut tail, &batch)? {
            BatchAdmission::Append(epoch) => {
                let _keep_reserve = KeepReserve::begin();
                tail.log.try_append(batch, epoch, now).map_err(|error| refusal::of_append(&error))?
            }
            BatchAdmission::Retry(appended) => TryAppend::Appended(appended),
        };
        if let TryAppend::Appended(appended) = &tried {
            let effects = self.record_append(&mut tail, appended, now);
            drop(tail);
            self.carry_out(effects);
        }
        Ok(tried)
    }

    /// Decides whether a batch is appended. Only batches of named producers are looked up.
    fn admit(&self, tail: &mut PartitionTail, batch: &UnplacedBatch) -> Result<BatchAdmission, Failure> {
        let epoch = tail.writable_epoch()?;
        let Some(identity) = registry::named_producer(batch.header()) else { return Ok(BatchAdmission::Append(epoch)) };
        if let Err(fenced) = self.registry.check(identity) {
            let retry = tail.log.producers().retry_of(batch.header());
            return retry.map(|offsets| BatchAdmission::Retry(Appended::retry(offsets))).ok_or(fenced);
        }
        tail.admit_named(identity.id)?;
        Ok(BatchAdmission::Append(epoch))
    }

    fn record_append(&self, tail: &mut PartitionTail, appended: &Appended, now: Timestamp) -> Effects {
        let mut effects = Effects::default();
        if !appended.duplicate {
            effects = tail.replica.apply(Event::Appended { log_end: appended.next_offset });
        }
        if appended.rolled {
            effects = effects.then(tail.replica.apply(Event::Synced { durable: tail.log.durable_end() }));
        }
        // A retry is acknowledged with the offsets that its batch got before: the log must have them.
        let log_end = tail.replica.marks().log_end;
        assert!(appended.next_offset <= log_end, "a batch ends at {} in a log of {log_end}", appended.next_offset);
        debug_assert!(appended.base_offset < appended.next_offset, "a batch without offsets was appended");
        tail.bound_producers(now);
        self.publish_marks(tail);
        effects
    }

    /// Publishes the replica's marks.
    fn publish_marks(&self, tail: &PartitionTail) {
        let ReplicaMarks { log_start, log_end, .. } = tail.replica.marks();
        debug_assert_eq!(tail.log.span(), log_start..log_end, "the replica's ends are not those of its log");
        self.published.store(&tail.replica);
    }

    /// Tells the replica how a longer operation moved the ends of the log.
    fn follow_log(&self, tail: &mut PartitionTail) -> Effects {
        let synced = tail.replica.apply(Event::Synced { durable: tail.log.durable_end() });
        let effects = synced.then(tail.replica.apply(Event::RecordsDropped { log_start: tail.log.span().start }));
        self.publish_marks(tail);
        effects
    }

    /// Carries out the effects of events after their marks are published. Not under the writer's lock: answers go to
    /// sockets.
    fn carry_out(&self, effects: Effects) {
        debug_assert!(!effects.sync_first, "the event was not repeated after a sync");
        self.wake_fetches(effects);
        if let Some(reached) = effects.answer {
            let _whole = CriticalSection::enter(&self.health, "answering producers");
            let answered = self.commit.lock().take_covered(reached);
            match self.health.failure() {
                None => waiter::acknowledge(answered),
                // After a failed sync no later success proves anything. No round may be left to refuse them.
                Some(reason) => {
                    let waiters = answered.into_iter().map(|(waiter, _)| waiter).collect();
                    waiter::refuse(waiters, &Failure::new(ErrorCode::ShuttingDown, reason));
                }
            }
        }
    }

    fn wake_fetches(&self, effects: Effects) {
        if let Some(high_watermark) = effects.wake_fetches {
            self.fetches.wake_below(high_watermark);
        }
    }

    /// Whether all offsets before `end` are committed.
    pub(crate) fn is_committed(&self, end: Offset) -> bool {
        end <= self.high_watermark()
    }

    /// Whether all offsets before `end` are durable.
    pub(crate) fn is_durable(&self, end: Offset) -> bool {
        end <= self.published.durable()
    }

    /// The durability that an ack of written records before `end` claims.
    pub(crate) fn durability(&self, end: Offset) -> Durability {
        self.reached().durability(end)
    }

    /// Whether the flush timer has it.
    #[cfg(test)]
    pub(crate) fn is_to_be_synced(&self) -> bool {
        self.commit.lock().awaits_timer()
    }

    /// The first offset that is not committed.
    pub(crate) fn high_watermark(&self) -> Offset {
        self.published.high_watermark()
    }

    /// The current marks that waiters wait for.
    fn reached(&self) -> Reached {
        let high_watermark = self.published.high_watermark(); // First: it is not ahead of `durable` with `flush=fsync`.
        Reached { high_watermark, durable: self.published.durable() }
    }

    fn has_waiting_fetches(&self) -> bool {
        0 < self.fetches.len()
    }

    pub(crate) fn reader(&self) -> &LogReader {
        &self.reader
    }

    pub(crate) fn config(&self) -> Arc<TopicConfig> {
        self.config.load_full()
    }

    /// The epoch under which this broker leads.
    pub(crate) fn epoch(&self) -> LeaderEpoch {
        self.published.epoch()
    }

    /// Its offsets, without the writer's lock.
    pub(crate) fn span(&self) -> Span {
        let ReplicaMarks { log_start, high_watermark, log_end, .. } = self.published.marks();
        Span { log_start, high_watermark, log_end, epoch: self.epoch() }
    }

    /// Rolls the active segment if it is old, although nothing is appended. True if it rolled. Only then slow work
    /// holds the writer's lock; appends are queued meanwhile.
    pub(crate) fn roll_if_old(&self, now: Timestamp) -> Result<bool, ChangeError> {
        let mut tail = self.writer.lock();
        if tail.deleted || !tail.log.is_old(now) {
            return Ok(false);
        }
        drop(tail);
        let mut rolled = false;
        self.change_slowly(|tail| tail.log.roll_if_old(now).map(|did| rolled = did))?;
        Ok(rolled)
    }

    /// Drops the oldest segments beyond the topic's retention limits.
    pub(crate) fn retain(&self, now: Timestamp) -> Result<(), ChangeError> {
        let limits = self.config().retention_limits();
        let _dropping = self.dropping.lock();
        if limits == RetentionLimits::default() {
            return Ok(());
        }
        let mut tail = self.writer.lock_slowly();
        if tail.deleted {
            return Ok(());
        }
        let before = tail.log.span().start;
        let retained = tail.log.retain(now, &limits, self.high_watermark());
        let effects = self.follow_log(&mut tail);
        drop(tail);
        self.carry_out(effects);
        let start = retained?;
        debug_assert!(before <= start, "retention lowered the log start from {before} to {start}");
        if before < start {
            tracing::info!(topic = %self.topic_name, partition = %self.partition, %before, log_start = %start, "retention dropped old records");
        }
        Ok(())
    }

    /// Drops everything before `start`, durably.
    pub(crate) fn trim(&self, start: Offset) -> Result<(), ChangeError> {
        debug_assert!(start <= self.published.log_end(), "offset {start} was never written");
        let _dropping = self.dropping.lock();
        self.change_slowly(|tail| tail.log.trim(start))
    }

    /// Makes everything durable, and a checkpoint of it: at a clean stop.
    pub(crate) fn checkpoint(&self, now: Timestamp) -> Result<(), ChangeError> {
        self.change_slowly(|tail| {
            tail.log.checkpoint(now)?;
            let (durable, end) = (tail.log.durable_end(), tail.log.span().end);
            assert_eq!(durable, end, "a checkpoint left records that are not durable");
            Ok(())
        })
    }

    /// The error of a partition whose files were removed or moved while they were open.
    pub(crate) fn gone(&self) -> Option<Arc<str>> {
        self.reader.gone()
    }

    /// Checks that its files are still in place: without appends nothing else notices. Else it is offline.
    pub(crate) fn check_in_place(&self) {
        let mut tail = self.writer.lock_slowly();
        if tail.deleted {
            return;
        }
        if let Some(files) = tail.log.files() {
            let _ = files.check_in_place(); // The log tells its readers.
        }
    }

    /// Changes the log under the lock for slow work. A deleted partition is left alone.
    fn change_slowly(
        &self,
        change: impl FnOnce(&mut PartitionTail) -> Result<(), ChangeError>,
    ) -> Result<(), ChangeError> {
        let mut tail = self.writer.lock_slowly();
        if tail.deleted {
            return Ok(());
        }
        let changed = change(&mut tail);
        let effects = self.follow_log(&mut tail);
        drop(tail);
        self.carry_out(effects);
        changed
    }

    /// Ends the partition: from now on it answers as if it never existed. Its files may be moved away.
    pub(crate) fn delete(&self) {
        let dropping = self.dropping.lock();
        let mut tail = self.writer.lock_slowly();
        tail.deleted = true;
        if let Some(files) = tail.log.files() {
            files.detach();
        }
        tail.producers.set(0);
        drop((tail, dropping));
        self.fetches.end();
        let _whole = CriticalSection::enter(&self.health, "ending the waiters of a deleted partition");
        let waiters = self.commit.lock().take_all(); // No mark moves any more.
        waiter::refuse(waiters, &writer::deleted());
    }
}
