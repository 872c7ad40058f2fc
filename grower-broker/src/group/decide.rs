//! One step of one group: decided, written down, answered.
//!
//! A step is decided under the shard's lock, which is held for a moment only. Its records are appended without that lock,
//! for the log may have to wait for the disk; meanwhile the group is in the hand of this step alone, and all other groups
//! go on. The answer waits until the group's own records are durable.

use super::queues::QueueTicket;
use super::{DecisionTime, Groups, ServedShard};
use crate::background;
use crate::critical::CriticalSection;
use crate::group::state::{GroupDecision, GroupRecord, GroupShard, shard_of};
use crate::metadata::Image;
use crate::partition::Partition;
use grower_protocol::batch::{BatchBuilder, UnplacedBatch};
use grower_protocol::compression::Codec;
use grower_protocol::ids::{GroupId, Offset, Timestamp};
use grower_protocol::message::{ErrorCode, Failure};
use std::sync::Arc;

/// A batch of records is closed when its keys and values come to this. A start reads batch by batch, so no step, however
/// large, becomes a batch that cannot be loaded.
const BATCH_BYTES: usize = 4 << 20;

impl Groups {
    /// Takes a step of `group` and gives its answer once all it relies on is durable. A request that has a ticket since it
    /// arrived waits for that; else it waits behind those that are there now.
    pub(crate) async fn decide<T>(
        &self,
        ticket: Option<QueueTicket>,
        group: &GroupId,
        take: impl FnOnce(&mut GroupShard, DecisionTime, &Image) -> GroupDecision<T>,
    ) -> Result<T, Failure> {
        let ticket = ticket.unwrap_or_else(|| self.enter(group));
        let log = self.log_for(shard_of(group)).await?;
        let (answer, end) = self.decide_and_append(ticket, group, &log, take).await?;
        self.durable(&log, end).await?;
        answer
    }

    /// Takes a step and writes it down. Returns its answer, and up to where the log must be durable before it is given.
    pub(super) async fn decide_and_append<T>(
        &self,
        ticket: QueueTicket,
        group: &GroupId,
        log: &Arc<Partition>,
        take: impl FnOnce(&mut GroupShard, DecisionTime, &Image) -> GroupDecision<T>,
    ) -> Result<(Result<T, Failure>, Offset), Failure> {
        let _lock = ticket.lock().await;
        // Between decision and record the group is as nothing on disk says.
        let _whole = CriticalSection::enter(self.flushers.health(), "a step of a group");
        let live = self.live(shard_of(group));
        let image = self.topics.image();
        let mut step = {
            let mut shard = live.shard.lock();
            shard.set_memory_left(live.remembered.lock().room());
            take(&mut shard, self.moment(), &image)
        };
        self.refusals.lock().note(group, step.refusal(), self.now());
        let changed = step.take_changed_groups();
        let written = self.write(&mut step, live, Some(group), log).await;
        live.remembered.lock().set(live.shard.lock().bytes());
        // Also if that failed: it is written down with what they do.
        changed.iter().for_each(|group| self.waiters.wake(group));
        written?;
        let end = live.written.lock().of(group);
        Ok((step.into_answer(), end))
    }

    /// Appends the records of a step, and has the shard know what is in its log. Nobody else may change the groups that
    /// they are about meanwhile.
    pub(super) async fn write<T>(
        &self,
        step: &mut GroupDecision<T>,
        live: &ServedShard,
        group: Option<&GroupId>,
        log: &Arc<Partition>,
    ) -> Result<(), Failure> {
        if step.records().is_empty() {
            return Ok(());
        }
        let _alone = live.appending.lock().await;
        let records = step.take_records(&live.shard.lock());
        let (log, date, now) = (log.clone(), self.clock.wall(), self.clock.steady());
        let appending = background::blocking(move || AppendedRecords::append(&log, records, date, now)).await;
        let written = appending.map_err(|error| Failure::new(ErrorCode::Internal, error))?;
        let mut shard = live.shard.lock();
        let mut activity = live.activity.lock();
        written.records.iter().for_each(|record| activity.note(record, date, now));
        if let Some((end, durable)) = written.end {
            live.written.lock().note(group, end, durable);
        }
        shard.appended(written.records);
        written.failure.map_or(Ok(()), Err)
    }

    /// Returns when the shard's log is durable up to `end`.
    pub(super) async fn durable(&self, log: &Arc<Partition>, end: Offset) -> Result<(), Failure> {
        self.flushers.durable_up_to(log, end).await
    }
}

/// What became of the records of a step.
pub(super) struct AppendedRecords {
    /// Those that are in the log. Fewer than there were if it failed.
    pub(super) records: Vec<GroupRecord>,
    /// Where they end, and up to where the log was durable then.
    end: Option<(Offset, Offset)>,
    pub(super) failure: Option<Failure>,
}

impl AppendedRecords {
    /// Appends records in batches that a start can load. May wait for the disk.
    pub(super) fn append(log: &Partition, records: Vec<GroupRecord>, date: Timestamp, now: Timestamp) -> Self {
        let mut written = Self { records: Vec::new(), end: None, failure: None };
        let mut rest = records.into_iter().peekable();
        while rest.peek().is_some() && written.failure.is_none() {
            let (mut batch, mut bytes, mut appended) = (BatchBuilder::new(Codec::None), 0, Vec::new());
            while bytes < BATCH_BYTES
                && let Some(record) = rest.next()
            {
                let encoded = record.to_record(date);
                bytes += [&encoded.key, &encoded.value].into_iter().flatten().map(|part| part.len()).sum::<usize>();
                batch.push(&encoded);
                appended.push(record);
            }
            match log.append(UnplacedBatch::built(batch.build(None)), now) {
                Ok(at) => {
                    written.end = Some((at.next_offset, log.high_watermark()));
                    written.records.append(&mut appended);
                }
                Err(failure) => written.failure = Some(failure),
            }
        }
        written
    }
}
