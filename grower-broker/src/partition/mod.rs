//! One partition on its leader: the writer's lock, the commit queue, and the high watermark.
//!
//! A short lock around the log is the partition's single writer; whoever has a batch takes it. A batch that must be
//! fsynced before its ack leaves a waiter behind *after* its write, and a flusher's next round answers all waiters
//! with one sync. Readers see records below the high watermark only: `log_start <= high_watermark <= log_end`.
//! After a crash the log recovers everything up to its last completed sync; what nobody was told about may be gone.

mod age;
mod backup;
mod commit;
mod compaction;
mod flusher;
mod idle;
mod lone;
mod producers;

pub(crate) use commit::Waiter;
pub(crate) use compaction::{CompactError, Shrunk};
pub(crate) use flusher::Flushers;
pub(crate) use lone::Lone;

use crate::config::topic::{FlushPolicy, TopicConfig};
use crate::disk_failure::code_of;
use crate::memory::Remembered;
use crate::metrics::Traffic;
use crate::topic::IndexKind;
use arc_swap::ArcSwap;
use commit::Commit;
use grower_protocol::batch::UnplacedBatch;
use grower_protocol::ids::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicId, TopicName};
use grower_protocol::message::{Durability, ErrorCode, Failure};
use grower_storage::log::{AppendError, Appended, ChangeError, Log, LogReader, RetentionLimits};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// A partition that this broker leads.
pub(crate) struct Partition {
    pub(crate) topic: TopicId,
    pub(crate) topic_name: TopicName,
    pub(crate) partition: PartitionId,
    /// This leadership's number. The log makes it durable before the first append under it, and not earlier: a
    /// partition that nobody writes to has no files.
    epoch: LeaderEpoch,
    /// Held by whoever drops or replaces segments, before the writer's lock: so a backup can keep them where they are while
    /// producers go on.
    dropping: Mutex<()>,
    tail: Mutex<Tail>,
    reader: LogReader,
    commit: Mutex<Commit>,
    /// The high watermark; only ever raised.
    high_watermark: AtomicU64,
    config: ArcSwap<TopicConfig>,
    /// Fetches that wait for the high watermark to move.
    fetches: Mutex<Vec<Arc<Notify>>>,
    /// What clients appended and read.
    pub(crate) traffic: Traffic,
}

/// What the single writer owns.
struct Tail {
    log: Box<dyn Log>,
    deleted: bool,
    /// What its producers are remembered by.
    producers: Remembered,
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
    /// Leads a log that was just recovered: all of it is durable, so all of it is committed.
    pub(crate) fn lead(
        (topic, topic_name, partition): (TopicId, TopicName, PartitionId),
        log: Box<dyn Log>,
        epoch: LeaderEpoch,
        config: TopicConfig,
        producers: Remembered,
    ) -> Self {
        let end = log.span().end;
        let reader = log.reader();
        let mut tail = Tail { log, deleted: false, producers };
        tail.count_producers();
        Self {
            topic,
            topic_name,
            partition,
            reader,
            dropping: Mutex::default(),
            tail: Mutex::new(tail),
            commit: Mutex::default(),
            high_watermark: AtomicU64::new(end.value()),
            config: ArcSwap::from_pointee(config),
            epoch,
            fetches: Mutex::default(),
            traffic: Traffic::default(),
        }
    }

    /// Appends a batch. It is written when this returns, and durable after the next sync round.
    pub(crate) fn append(&self, batch: UnplacedBatch, now: Timestamp) -> Result<Appended, Failure> {
        let appended = {
            let mut tail = self.tail.lock(); // Holding this is being the partition's single writer.
            tail.check_open()?;
            let appended = tail.log.append(batch, self.epoch, now).map_err(|error| self.refusal(&error))?;
            tail.bound_producers(now);
            appended
        };
        if self.config().flush == FlushPolicy::Os {
            self.raise_high_watermark(appended.next_offset);
        }
        Ok(appended)
    }

    /// Whether the offsets before `end` are committed.
    pub(crate) fn is_committed(&self, end: Offset) -> bool {
        end <= self.high_watermark()
    }

    /// Whether it is among those that are synced soon although nobody waits.
    #[cfg(test)]
    pub(crate) fn is_to_be_synced(&self) -> bool {
        self.commit.lock().delayed
    }

    /// The first offset that is not committed.
    pub(crate) fn high_watermark(&self) -> Offset {
        Offset::new(self.high_watermark.load(Ordering::Acquire))
    }

    fn raise_high_watermark(&self, to: Offset) {
        let before = self.high_watermark.fetch_max(to.value(), Ordering::AcqRel);
        if before < to.value() {
            for fetch in std::mem::take(&mut *self.fetches.lock()) {
                fetch.notify_one();
            }
        }
    }

    /// Wakes `fetch` when the high watermark moves next. Look again after this: it may have moved before.
    pub(crate) fn notify_on_progress(&self, fetch: &Arc<Notify>) {
        self.fetches.lock().push(fetch.clone());
    }

    /// Forgets a fetch that was answered otherwise.
    pub(crate) fn forget_fetch(&self, fetch: &Arc<Notify>) {
        self.fetches.lock().retain(|waiting| !Arc::ptr_eq(waiting, fetch));
    }

    fn has_waiting_fetches(&self) -> bool {
        !self.fetches.lock().is_empty()
    }

    pub(crate) fn reader(&self) -> &LogReader {
        &self.reader
    }

    pub(crate) fn config(&self) -> Arc<TopicConfig> {
        self.config.load_full()
    }

    /// What an ack of this partition can vouch for at best.
    pub(crate) fn durability(&self) -> Durability {
        match self.config.load().flush {
            FlushPolicy::Fsync => Durability::Fsynced,
            FlushPolicy::Os => Durability::Written,
        }
    }

    /// Takes over a changed config; the log learns of its part.
    pub(crate) fn configure(&self, config: &TopicConfig, index: &IndexKind) {
        self.tail.lock().log.configure(config.log_options(index));
        self.config.store(Arc::new(config.clone()));
    }

    /// This leadership's number.
    pub(crate) fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    pub(crate) fn span(&self) -> Span {
        let tail = self.tail.lock();
        let span = tail.log.span();
        let high_watermark = self.high_watermark().clamp(span.start, span.end);
        Span { log_start: span.start, high_watermark, log_end: span.end, epoch: self.epoch }
    }

    /// Drops the oldest segments that the topic's limits no longer cover.
    pub(crate) fn retain(&self, now: Timestamp) -> Result<(), ChangeError> {
        let limits = self.config().retention_limits();
        let _dropping = self.dropping.lock();
        let mut tail = self.tail.lock();
        if tail.deleted || limits == RetentionLimits::default() {
            return Ok(());
        }
        let before = tail.log.span().start;
        let start = tail.log.retain(now, &limits)?;
        if before < start {
            tracing::info!(topic = %self.topic_name, partition = %self.partition, %before, log_start = %start, "retention dropped old records");
        }
        Ok(())
    }

    /// Drops everything before `start`, by whoever knows that it is not needed any more.
    pub(crate) fn trim(&self, start: Offset) -> Result<(), ChangeError> {
        let _dropping = self.dropping.lock();
        let mut tail = self.tail.lock();
        if tail.deleted { Ok(()) } else { tail.log.trim(start) }
    }

    /// Makes everything durable and lets the log write down that it is: at a clean stop.
    pub(crate) fn checkpoint(&self, now: Timestamp) -> Result<(), ChangeError> {
        let mut tail = self.tail.lock();
        if tail.deleted {
            return Ok(());
        }
        tail.log.checkpoint(now)?;
        let end = tail.log.durable_end();
        drop(tail);
        self.raise_high_watermark(end);
        Ok(())
    }

    /// From now on the partition answers as if it had never been. Its files may be moved away.
    pub(crate) fn delete(&self) {
        let _dropping = self.dropping.lock();
        let mut tail = self.tail.lock();
        tail.deleted = true;
        tail.producers.set(0);
        drop(tail);
        for fetch in std::mem::take(&mut *self.fetches.lock()) {
            fetch.notify_one();
        }
    }

    fn refusal(&self, error: &AppendError) -> Failure {
        let code = match error {
            AppendError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequence,
            AppendError::FencedProducer { .. } => ErrorCode::FencedProducer,
            AppendError::Disk(error) => code_of(error),
            AppendError::StaleEpoch { .. } => ErrorCode::NotLeader,
            AppendError::NoOffsetsLeft { .. } => ErrorCode::LimitReached,
            AppendError::Failed(_) => ErrorCode::StorageFailed,
        };
        Failure::new(code, format_args!("{}/{}: {error}", self.topic_name, self.partition))
    }
}

impl Tail {
    fn check_open(&self) -> Result<(), Failure> {
        if self.deleted {
            return Err(Failure::new(ErrorCode::UnknownTopicId, "the topic was deleted"));
        }
        Ok(())
    }
}
