//! The fetch state of one partition: the reader's position, the buffered records, and the fetch in flight. Pure.

mod announcement;
mod gaps;
mod hand_out;
mod held_bytes;
mod progress;
mod read_end;
mod revocation;

pub(crate) use announcement::{Announcement, EventNumber, RevocationNotice};
pub(crate) use hand_out::{CallNumber, PartitionItem};
pub(crate) use held_bytes::HeldBytes;
pub(crate) use progress::Progress;

use super::checked_batches::{CheckedBatches, FetchDamage};
use super::offset_and_epoch::OffsetAndEpoch;
use crate::consumer::settings::OnDamage;
use crate::error::{ConsumeError, RequestError};
use crate::gap::Gap;
use crate::record::TopicPartition;
use crate::retry::{self, FetchAction};
use grower_protocol::batch::Batch;
use grower_protocol::ids::{LeaderEpoch, Offset, TopicId};
use hand_out::BatchCursor;
use revocation::Revocation;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;
use tokio::time::Instant;

/// The pause of a partition after a reported error.
const ERROR_PAUSE: Duration = Duration::from_secs(1);

/// Identifies a partition's current fetches: an answer with another version is discarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FetchVersion {
    /// Counts the position changes of all partitions.
    moves: u64,
    /// Counts how often this partition restarted its fetches.
    fetches: u64,
}

impl FetchVersion {
    /// Creates the version for a new position.
    pub(crate) fn of_move(moves: u64) -> Self {
        Self { moves, fetches: 0 }
    }
}

/// The fetch state of a partition. `consumed <= position <= fetched`, except at a gap.
#[derive(Debug)]
pub(crate) struct PartitionFetchState {
    pub(crate) topic_partition: TopicPartition,
    /// The topic to fetch.
    pub(crate) topic: TopicId,
    /// The topic that `position` belongs to: the old one while records of a recreated topic's predecessor are buffered.
    read_topic: TopicId,
    /// Changes with the position: the records of earlier slots are then discarded.
    pub(crate) version: FetchVersion,
    /// The start position is not known yet.
    pub(crate) is_starting: bool,
    /// A lookup of the start has failed; others follow.
    pub(crate) start_failed: bool,
    pub(crate) paused: bool,
    /// The partition moves to another member: it is neither handed out nor fetched any more.
    revocation: Option<Revocation>,
    /// The reader reads up to here for now: nothing at or behind it is handed out.
    pub(crate) read_end: Option<Offset>,
    pub(crate) announcement: Announcement,
    /// The next offset to hand out.
    position: OffsetAndEpoch,
    /// The position at the reader's last call: all earlier records are processed.
    consumed: OffsetAndEpoch,
    /// The reader moved away from records that it may still work on: it has not called since.
    has_left_records: bool,
    pub(crate) committed: Option<Offset>,
    progress: Progress,
    /// The end of the fetched records: the next offset to fetch.
    fetched: OffsetAndEpoch,
    /// A task investigates a failed fetch. Until it ends, the partition is not fetched.
    pub(crate) is_recovering: bool,
    not_before: Option<Instant>,
    pub(crate) high_watermark: Option<Offset>,
    pub(crate) high_watermark_at: Option<Instant>,
    pub(crate) log_start: Option<Offset>,
    /// The topic is compacted.
    pub(crate) gaps_allowed: bool,
    /// The offset of investigated damage: finding it again reports it.
    investigated_at: Option<Offset>,
    failures: u32,
    buffer: VecDeque<BufferedItem>,
    buffered_bytes: usize,
    open: Option<BatchCursor>,
    error: Option<ConsumeError>,
    /// The reader knows that the partition is offline.
    offline_reported: bool,
}

/// An item in the buffer.
#[derive(Debug)]
enum BufferedItem {
    Batch(Batch),
    /// A gap, and the leader epoch of the record before `resumes_at` if it is known.
    Gap(Gap, Option<LeaderEpoch>),
}

impl BufferedItem {
    fn bytes(&self) -> usize {
        match self {
            Self::Batch(batch) => batch.bytes().len(),
            Self::Gap(..) => 0,
        }
    }
}

impl PartitionFetchState {
    /// Creates the state of a partition with an unknown start.
    pub(crate) fn new(topic_partition: TopicPartition, topic: TopicId, version: FetchVersion) -> Self {
        Self {
            topic_partition,
            topic,
            read_topic: topic,
            version,
            is_starting: true,
            start_failed: false,
            paused: false,
            revocation: None,
            read_end: None,
            announcement: Announcement::Open,
            position: OffsetAndEpoch::ZERO,
            consumed: OffsetAndEpoch::ZERO,
            has_left_records: false,
            committed: None,
            progress: Progress::None,
            fetched: OffsetAndEpoch::ZERO,
            is_recovering: false,
            not_before: None,
            high_watermark: None,
            high_watermark_at: None,
            log_start: None,
            gaps_allowed: false,
            investigated_at: None,
            failures: 0,
            buffer: VecDeque::new(),
            buffered_bytes: 0,
            open: None,
            error: None,
            offline_reported: false,
        }
    }

    /// Moves the reader to `position`; drops all buffered records and fetches in flight.
    pub(crate) fn move_to(&mut self, position: OffsetAndEpoch, version: FetchVersion) {
        self.version = version;
        self.is_starting = false;
        self.read_topic = self.topic;
        self.position = position;
        self.mark_consumed();
        (self.not_before, self.failures) = (None, 0);
        self.refetch_from(position);
        self.forget_buffer();
        self.check();
    }

    /// Asserts the order of the offsets. Follows every change that could break it.
    fn check(&self) {
        debug_assert!(
            self.consumed.offset <= self.position.offset,
            "{}: consumed beyond the position: {self:?}",
            self.topic_partition
        );
        debug_assert!(
            self.position.offset <= self.fetched.offset || self.has_gap(),
            "{}: the position is beyond the fetched end: {self:?}",
            self.topic_partition
        );
    }

    /// Asserts the memory account of the buffer. Follows every change of the buffer.
    fn check_memory(&self) {
        debug_assert_eq!(
            self.buffered_bytes,
            self.buffer.iter().map(BufferedItem::bytes).sum::<usize>(),
            "{}: the memory account of the buffer is wrong",
            self.topic_partition
        );
    }

    fn has_gap(&self) -> bool {
        self.buffer.iter().any(|item| matches!(item, BufferedItem::Gap(..)))
    }

    /// The next offset to hand out.
    pub(crate) fn position(&self) -> OffsetAndEpoch {
        self.position
    }

    /// The next offset to fetch, after all fetched records.
    pub(crate) fn next_fetch(&self) -> OffsetAndEpoch {
        self.fetched
    }

    /// Restarts the fetches at `start`.
    fn refetch_from(&mut self, start: OffsetAndEpoch) {
        self.fetched = start;
        self.is_recovering = false;
        self.version.fetches += 1;
        self.check();
    }

    /// The version to fetch now; `None` if nothing is to be fetched.
    pub(crate) fn wanted_version(&self) -> Option<FetchVersion> {
        (self.not_before.is_none() && self.is_fetchable()).then_some(self.version)
    }

    /// Whether to fetch, now or after a wait.
    fn is_fetchable(&self) -> bool {
        !self.is_starting && !self.is_recovering && self.may_hand_out() && self.error.is_none()
    }

    /// The time at which the partition becomes fetchable without an event.
    pub(crate) fn wakes_at(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.is_fetchable())
    }

    /// Ends the wait of a partition that is fetchable by `now`.
    pub(crate) fn end_wait(&mut self, now: Instant) {
        self.not_before = self.not_before.filter(|not_before| now < *not_before);
    }

    /// The memory of the buffer and of the open batch.
    pub(crate) fn held(&self) -> HeldBytes {
        HeldBytes { buffered: self.buffered_bytes, open: self.open_bytes() }
    }

    /// The memory of the open batch.
    pub(crate) fn open_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.bytes)
    }

    /// Whether the open batch's memory is already counted for this call.
    pub(crate) fn is_counted_in(&self, call: CallNumber) -> bool {
        self.open.as_ref().is_some_and(|open| open.counted_in == Some(call))
    }

    /// The topic of the position, if it still exists.
    pub(crate) fn topic_of_position(&self) -> Option<TopicId> {
        (self.read_topic == self.topic).then_some(self.topic)
    }

    /// Adds the checked batches of a fetch from `wanted` on; returns damage that was not investigated yet.
    pub(crate) fn accept(
        &mut self,
        wanted: Offset,
        checked: CheckedBatches,
        on_damage: OnDamage,
    ) -> Option<FetchDamage> {
        debug_assert_eq!(wanted, self.fetched.offset, "{}: a fetch at an unexpected offset", self.topic_partition);
        if wanted != self.fetched.offset {
            // Its records would repeat or skip others.
            tracing::error!(partition = %self.topic_partition, %wanted, fetched = %self.fetched.offset, "dropped a fetch at an unexpected offset");
            self.refetch_from(self.fetched);
            return None;
        }
        (self.failures, self.not_before, self.offline_reported) = (0, None, false);
        let epoch = checked.batches.last().map_or(self.fetched.epoch, |last| last.header().leader_epoch);
        self.fetched = OffsetAndEpoch::new(checked.next, epoch);
        for batch in checked.batches {
            self.buffered_bytes += batch.bytes().len();
            self.buffer.push_back(BufferedItem::Batch(batch));
        }
        self.check_memory();
        match checked.damage {
            Some(damage) => self.find_damage(damage, on_damage),
            None => {
                self.check();
                None
            }
        }
    }

    /// Handles damage behind the checked batches: the first time at an offset it is returned for an investigation,
    /// which fetches it again; the second time it is reported.
    fn find_damage(&mut self, damage: FetchDamage, on_damage: OnDamage) -> Option<FetchDamage> {
        self.refetch_from(self.fetched);
        if self.investigated_at == Some(damage.offsets.start) {
            self.damaged(damage.offsets, damage.reason, on_damage);
            return None;
        }
        self.investigated_at = Some(damage.offsets.start);
        self.is_recovering = true; // Until the investigation ends.
        Some(damage)
    }

    /// Handles unreadable offsets, which are the next to be fetched.
    pub(crate) fn damaged(&mut self, offsets: Range<Offset>, reason: String, on_damage: OnDamage) {
        (self.is_recovering, self.failures) = (false, 0);
        match on_damage {
            OnDamage::Fail => {
                self.error =
                    Some(ConsumeError::Damaged { topic_partition: self.topic_partition.clone(), offsets, reason });
            }
            OnDamage::Skip => {
                tracing::warn!(partition = %self.topic_partition, start = %offsets.start, end = %offsets.end, reason, "skipping damaged offsets");
                let is_behind = self.fetched.offset < offsets.end;
                let end = OffsetAndEpoch::of_unknown_epoch(offsets.end);
                self.refetch_from(if is_behind { end } else { self.fetched });
            }
        }
    }

    /// Schedules another fetch after a wait with jitter by `random`.
    pub(crate) fn retry_later(&mut self, cause: Option<&RequestError>, now: Instant, random: u64) {
        self.is_recovering = false;
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + retry::wait(cause, self.failures, random));
    }

    /// Reports a failed fetch to the reader; an offline partition only once until it is served again.
    pub(crate) fn fail(&mut self, source: RequestError, now: Instant) {
        if retry::after_fetch(&source) == FetchAction::ReportOnce && std::mem::replace(&mut self.offline_reported, true)
        {
            (self.is_recovering, self.not_before) = (false, Some(now + ERROR_PAUSE));
            return;
        }
        self.set_error(ConsumeError::Failed { topic_partition: self.topic_partition.clone(), source });
    }

    pub(crate) fn set_error(&mut self, error: ConsumeError) {
        self.is_recovering = false;
        self.error = Some(error);
    }

    /// Whether [`PartitionFetchState::next`] or [`PartitionFetchState::take_gap`] returns something.
    pub(crate) fn has_something(&self) -> bool {
        self.may_hand_out() && (self.open.is_some() || !self.buffer.is_empty() || self.error.is_some())
    }

    /// Whether the reader may get records of the partition.
    pub(crate) fn may_hand_out(&self) -> bool {
        !self.paused && !self.is_revoking() && !self.is_at_read_end()
    }

    /// Drops all fetched items that are not handed out, and the error behind them; they are fetched again.
    pub(crate) fn discard_fetched(&mut self) {
        self.forget_buffer();
        self.topic = self.read_topic; // The next fetch finds a dropped gap between topics again.
        self.refetch_from(self.position);
    }

    /// Moves the reader's position forward.
    fn advance_to(&mut self, next: OffsetAndEpoch) {
        debug_assert!(
            self.position.offset <= next.offset,
            "{}: {next:?} is behind the position: {self:?}",
            self.topic_partition
        );
        self.position = next;
        self.check();
    }

    /// Drops the buffer, and the error behind it.
    fn forget_buffer(&mut self) {
        self.buffer.clear();
        if self.error.take().is_some() {
            self.offline_reported = false; // The reader has not seen the error.
        }
        self.open = None;
        self.buffered_bytes = 0;
        self.check_memory();
    }
}
