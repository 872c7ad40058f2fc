//! One decision about one group: made, appended, answered.
//!
//! A decision is made under the shard's lock, which is held only for a moment. Its records are appended without that
//! lock, since the log may have to wait for the disk. Meanwhile the request keeps the lock of its group; other groups
//! do not wait. The answer waits until the group's own records are durable.

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

/// A batch is closed at this size of keys and values. A start reads batch by batch: no decision, however large,
/// becomes a batch that cannot be loaded.
const BATCH_BYTES: usize = 4 << 20;

impl Groups {
    /// Makes a decision about `group` when its turn comes, and answers once everything behind the answer is durable.
    pub(crate) async fn decide<T>(
        &self,
        ticket: QueueTicket,
        group: &GroupId,
        make: impl FnOnce(&mut GroupShard, DecisionTime, &Image) -> GroupDecision<T>,
    ) -> Result<T, Failure> {
        let log = self.log_for(shard_of(group)).await?;
        let (answer, end) = self.decide_and_append(ticket, group, &log, make).await?;
        self.durable(&log, end).await?;
        answer
    }

    /// Makes a decision and appends its records. Returns the answer, and the end up to which the log must be durable
    /// first.
    pub(super) async fn decide_and_append<T>(
        &self,
        ticket: QueueTicket,
        group: &GroupId,
        log: &Arc<Partition>,
        make: impl FnOnce(&mut GroupShard, DecisionTime, &Image) -> GroupDecision<T>,
    ) -> Result<(Result<T, Failure>, Offset), Failure> {
        let _lock = ticket.lock().await;
        // Between decision and append, memory is ahead of the log.
        let _whole = CriticalSection::enter(self.sync_pool.health(), "a change of a group");
        let live = self.live(shard_of(group));
        let image = self.topics.image();
        let mut decision = make(&mut live.lock_for_decision(), self.decision_time(), &image);
        self.refusals.lock().note(group, decision.refusal(), self.now());
        let changed = decision.take_changed_groups();
        let written = self.write(&mut decision, live, Some(group), log).await;
        live.count_memory();
        // Also after a failed append: the change is written with the next decision.
        changed.iter().for_each(|group| self.waiters.wake(group));
        written?;
        let end = live.written.lock().of(group);
        Ok((decision.into_answer(), end))
    }

    /// Appends the records of a decision, and tells the shard which are in its log. The caller holds the locks of
    /// their groups.
    pub(super) async fn write<T>(
        &self,
        decision: &mut GroupDecision<T>,
        live: &ServedShard,
        group: Option<&GroupId>,
        log: &Arc<Partition>,
    ) -> Result<(), Failure> {
        if decision.records().is_empty() {
            return Ok(());
        }
        let _alone = live.appending.lock().await;
        let records = decision.take_records(&live.shard.lock());
        let (log, wall, now) = (log.clone(), self.clock.wall(), self.clock.steady());
        let appending = background::blocking(move || AppendedRecords::append(&log, records, wall, now)).await;
        let written = appending.map_err(|error| Failure::new(ErrorCode::Internal, error))?;
        let mut shard = live.shard.lock();
        let mut activity = live.activity.lock();
        written.records.iter().for_each(|record| activity.note(record, wall, now));
        if let Some((end, durable)) = written.end {
            live.written.lock().note(group, end, durable);
        }
        debug_assert!(written.records.is_empty() || written.end.is_some(), "records without an end were appended");
        shard.appended(written.records);
        written.failure.map_or(Ok(()), Err)
    }

    /// Returns when the shard's log is durable up to `end`.
    pub(super) async fn durable(&self, log: &Arc<Partition>, end: Offset) -> Result<(), Failure> {
        self.sync_pool.durable_up_to(log, end).await
    }
}

/// The result of appending records.
pub(super) struct AppendedRecords {
    /// The records that are in the log: not all of them after a failure.
    pub(super) records: Vec<GroupRecord>,
    /// The end of the records, and of the durable part of the log at that time.
    end: Option<(Offset, Offset)>,
    pub(super) failure: Option<Failure>,
}

impl AppendedRecords {
    /// Appends records in batches that a start can load. May wait for the disk.
    pub(super) fn append(log: &Partition, records: Vec<GroupRecord>, wall: Timestamp, now: Timestamp) -> Self {
        let mut written = Self { records: Vec::new(), end: None, failure: None };
        let mut rest = records.into_iter().peekable();
        while rest.peek().is_some() && written.failure.is_none() {
            let (mut batch, mut bytes, mut appended) = (BatchBuilder::new(Codec::None), 0, Vec::new());
            while bytes < BATCH_BYTES
                && let Some(record) = rest.next()
            {
                let encoded = record.to_record(wall);
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
