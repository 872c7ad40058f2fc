//! One partition that is being read: where the reader is, what is at hand, what is on its way. Pure.

mod gaps;
mod hand_out;

pub(crate) use hand_out::{CallNumber, PartitionItem};

use super::checked_batches::{CheckedBatches, FetchDamage};
use super::gap::Gap;
use crate::backoff;
use crate::consumer::settings::OnDamage;
use crate::error::{ConsumeError, RequestError};
use crate::record::TopicPartition;
use grower_protocol::batch::Batch;
use grower_protocol::ids::{LeaderEpoch, Offset, TopicId};
use grower_protocol::message::ErrorCode;
use hand_out::BatchCursor;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;
use tokio::time::Instant;

/// After an error that was reported, a partition rests for this long.
const ERROR_PAUSE: Duration = Duration::from_secs(1);

/// Which request's answer is still wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FetchVersion {
    /// Counts the moves of all partitions' positions.
    moves: u64,
    /// Counts how often this partition was fetched again from some offset.
    fetches: u64,
}

impl FetchVersion {
    /// Before anything was fetched after this move.
    pub(crate) fn of_move(moves: u64) -> Self {
        Self { moves, fetches: 0 }
    }
}

/// A partition being read. `consumed <= position <= fetched <= next_fetch`, unless a gap lies between.
#[derive(Debug)]
pub(crate) struct PartitionFetchState {
    pub(crate) topic_partition: TopicPartition,
    /// The topic that is fetched.
    pub(crate) topic: TopicId,
    /// The topic that `position` belongs to: another one while records of a deleted topic are held.
    read_topic: TopicId,
    /// Changes when reading goes on elsewhere: what was asked for before does not count any more.
    pub(crate) version: FetchVersion,
    /// Where to start is not known yet.
    pub(crate) is_starting: bool,
    pub(crate) paused: bool,
    /// It is going to another member: nothing of it is handed out or fetched any more.
    pub(crate) is_revoking: bool,
    /// The next offset to hand out.
    pub(crate) position: Offset,
    /// The leader epoch of the record before it; none if that is not known.
    pub(crate) position_epoch: Option<LeaderEpoch>,
    /// The position when the reader last came back for more: what is before it was dealt with.
    pub(crate) consumed: Offset,
    pub(crate) consumed_epoch: Option<LeaderEpoch>,
    pub(crate) committed: Option<Offset>,
    /// Something was handed out, or the position was chosen: there is something to commit.
    pub(crate) has_progress: bool,
    /// The end of what was fetched and checked.
    fetched: Offset,
    fetched_epoch: Option<LeaderEpoch>,
    /// The next offset to ask for: what lies between is here and is being checked.
    pub(crate) next_fetch: Offset,
    pub(crate) next_fetch_epoch: Option<LeaderEpoch>,
    pub(crate) is_fetching: bool,
    pub(crate) not_before: Option<Instant>,
    pub(crate) high_watermark: Option<Offset>,
    pub(crate) log_start: Option<Offset>,
    /// The topic is compacted.
    pub(crate) gaps_allowed: bool,
    /// Damage here was looked into already: finding it again is reason to report it.
    investigated_at: Option<Offset>,
    failures: u32,
    buffer: VecDeque<BufferedItem>,
    buffered_bytes: usize,
    unchecked_bytes: usize,
    open: Option<BatchCursor>,
    error: Option<ConsumeError>,
    /// The reader knows that the partition is offline.
    offline_reported: bool,
}

/// What waits to be handed out.
#[derive(Debug)]
enum BufferedItem {
    Batch(Batch),
    /// And the leader epoch of the record before the place where reading goes on, if that is known.
    Gap(Gap, Option<LeaderEpoch>),
}

impl PartitionFetchState {
    /// A partition whose start is not known yet.
    pub(crate) fn new(topic_partition: TopicPartition, topic: TopicId, version: FetchVersion) -> Self {
        Self {
            topic_partition,
            topic,
            read_topic: topic,
            version,
            is_starting: true,
            paused: false,
            is_revoking: false,
            position: Offset::ZERO,
            position_epoch: None,
            consumed: Offset::ZERO,
            consumed_epoch: None,
            committed: None,
            has_progress: false,
            fetched: Offset::ZERO,
            fetched_epoch: None,
            next_fetch: Offset::ZERO,
            next_fetch_epoch: None,
            is_fetching: false,
            not_before: None,
            high_watermark: None,
            log_start: None,
            gaps_allowed: false,
            investigated_at: None,
            failures: 0,
            buffer: VecDeque::new(),
            buffered_bytes: 0,
            unchecked_bytes: 0,
            open: None,
            error: None,
            offline_reported: false,
        }
    }

    /// Goes on at `offset`, after a record of this leader epoch; what is at hand or on its way is forgotten.
    pub(crate) fn move_to(&mut self, offset: Offset, epoch: Option<LeaderEpoch>, version: FetchVersion) {
        self.version = version;
        self.is_starting = false;
        self.read_topic = self.topic;
        (self.position, self.position_epoch) = (offset, epoch);
        self.mark_consumed();
        (self.not_before, self.failures) = (None, 0);
        self.refetch_from(offset, epoch);
        self.forget_buffer();
        if self.error.take().is_some() {
            self.offline_reported = false; // The reader was not told.
        }
    }

    /// The reader is done with all that was handed out.
    pub(crate) fn mark_consumed(&mut self) {
        (self.consumed, self.consumed_epoch) = (self.position, self.position_epoch);
    }

    /// Asks for `offset` next, after a record of this leader epoch, whatever is on its way or being checked.
    fn refetch_from(&mut self, offset: Offset, epoch: Option<LeaderEpoch>) {
        (self.fetched, self.next_fetch) = (offset, offset);
        (self.fetched_epoch, self.next_fetch_epoch) = (epoch, epoch);
        (self.is_fetching, self.unchecked_bytes) = (false, 0);
        self.version.fetches += 1;
    }

    /// Whether something should be fetched now, with at most `share` bytes at hand.
    pub(crate) fn is_fetchable(&self, share: usize, now: Instant) -> bool {
        !self.is_starting
            && !self.paused
            && !self.is_revoking
            && !self.is_fetching
            && self.error.is_none()
            && self.held_bytes() < share
            && self.not_before.is_none_or(|not_before| not_before <= now)
    }

    /// When it becomes fetchable by time alone.
    pub(crate) fn wakes_at(&self) -> Option<Instant> {
        self.not_before.filter(|_| !self.is_fetching && !self.paused && !self.is_revoking && !self.is_starting)
    }

    /// What is at hand, checked or not, as it lies in memory: the open batch is decompressed.
    pub(crate) fn held_bytes(&self) -> usize {
        self.buffered_bytes + self.unchecked_bytes + self.open_bytes()
    }

    /// What the batch that is being handed out takes of memory.
    pub(crate) fn open_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.bytes)
    }

    /// Whether its next record keeps nothing in memory that the records of this call do not keep already.
    pub(crate) fn is_kept_by(&self, call: CallNumber) -> bool {
        self.open.as_ref().is_some_and(|open| open.counted_in == Some(call))
    }

    /// The topic that the position belongs to, if that topic is still there.
    pub(crate) fn topic_of_position(&self) -> Option<TopicId> {
        (self.read_topic == self.topic).then_some(self.topic)
    }

    /// So many bytes from `wanted` on are here and will be checked; unless they are damaged, `next` comes after them. False if
    /// they are not what was to come.
    pub(crate) fn begin_prefetch(
        &mut self,
        wanted: Offset,
        (next, epoch): (Offset, Option<LeaderEpoch>),
        bytes: usize,
    ) -> bool {
        if wanted != self.next_fetch {
            return false;
        }
        (self.is_fetching, self.next_fetch, self.next_fetch_epoch) = (false, next, epoch);
        self.unchecked_bytes += bytes;
        true
    }

    /// Takes in what a fetch from `wanted` on brought, of which so many bytes were foreseen; returns damage that nobody
    /// has looked into yet.
    pub(crate) fn accept(
        &mut self,
        wanted: Offset,
        unchecked_bytes: usize,
        checked: CheckedBatches,
        on_damage: OnDamage,
    ) -> Option<FetchDamage> {
        if wanted != self.fetched {
            return None; // It was asked for twice.
        }
        (self.failures, self.not_before, self.offline_reported) = (0, None, false);
        self.fetched = checked.next;
        if let Some(last) = checked.batches.last() {
            self.fetched_epoch = last.header().leader_epoch;
        }
        if unchecked_bytes == 0 {
            (self.is_fetching, self.next_fetch, self.next_fetch_epoch) = (false, checked.next, self.fetched_epoch);
        }
        self.unchecked_bytes -= unchecked_bytes;
        for batch in checked.batches {
            self.buffered_bytes += batch.bytes().len();
            self.buffer.push_back(BufferedItem::Batch(batch));
        }
        let damage = checked.damage?;
        self.refetch_from(checked.next, self.fetched_epoch);
        if self.investigated_at == Some(damage.offsets.start) {
            self.damaged(damage.offsets, damage.reason, on_damage);
            return None;
        }
        self.investigated_at = Some(damage.offsets.start);
        self.is_fetching = true; // Until the investigation has ended.
        Some(damage)
    }

    /// These offsets, the next to be fetched, cannot be read.
    pub(crate) fn damaged(&mut self, offsets: Range<Offset>, reason: String, on_damage: OnDamage) {
        (self.is_fetching, self.failures) = (false, 0);
        match on_damage {
            OnDamage::Fail => {
                self.error =
                    Some(ConsumeError::Damaged { topic_partition: self.topic_partition.clone(), offsets, reason });
            }
            OnDamage::Skip => {
                tracing::warn!(partition = %self.topic_partition, start = %offsets.start, end = %offsets.end, reason, "skipping damaged offsets");
                let is_behind = self.fetched < offsets.end;
                let epoch = if is_behind { None } else { self.fetched_epoch }; // Nobody knows that of a damaged record.
                self.refetch_from(self.fetched.max(offsets.end), epoch);
            }
        }
    }

    /// A fetch failed; it is made again after a wait.
    pub(crate) fn retry_later(&mut self, now: Instant) {
        self.is_fetching = false;
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + backoff::jittered(self.failures));
    }

    /// A fetch failed in a way that the reader must know of: once, if the partition is offline until it is served again.
    pub(crate) fn fail(&mut self, source: RequestError, now: Instant) {
        let is_offline = source.code() == Some(ErrorCode::PartitionShut);
        if is_offline && std::mem::replace(&mut self.offline_reported, true) {
            (self.is_fetching, self.not_before) = (false, Some(now + ERROR_PAUSE));
            return;
        }
        self.set_error(ConsumeError::Failed { topic_partition: self.topic_partition.clone(), source });
    }

    pub(crate) fn set_error(&mut self, error: ConsumeError) {
        self.is_fetching = false;
        self.error = Some(error);
    }

    /// Whether [`PartitionFetchState::next`] or [`PartitionFetchState::take_gap`] would give something.
    pub(crate) fn has_something(&self) -> bool {
        self.may_hand_out() && (self.open.is_some() || !self.buffer.is_empty() || self.error.is_some())
    }

    fn may_hand_out(&self) -> bool {
        !self.paused && !self.is_revoking
    }

    /// Whether the reader has got records and not come back from them yet.
    pub(crate) fn has_unconsumed(&self) -> bool {
        self.consumed != self.position
    }

    fn forget_buffer(&mut self) {
        self.buffer.clear();
        self.open = None;
        self.buffered_bytes = 0;
    }
}
