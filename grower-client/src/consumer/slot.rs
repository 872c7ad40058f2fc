//! One partition that is being read: where the reader is, what is at hand, what is on its way. Pure.

mod gaps;

use super::gap::Gap;
use super::intake::{Damage, Intake};
use crate::backoff;
use crate::error::{ConsumeError, RequestError};
use crate::record::{ConsumerRecord, TopicPartition};
use grower_protocol::batch::{Batch, Records};
use grower_protocol::ids::{LeaderEpoch, Offset, TopicId};
use grower_protocol::message::ErrorCode;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;
use tokio::time::Instant;

/// The most that one batch may decompress to, in bytes.
const PLAIN_BYTES_MAX: usize = 128 << 20;
/// After an error that was reported, a partition rests for this long.
const REST: Duration = Duration::from_secs(1);

/// What a consumer does about damaged records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDamage {
    /// Reports them as an error and stays there; the next attempt is made a second later.
    #[default]
    Fail,
    /// Logs them and goes on behind them.
    Skip,
}

/// Which request's answer is still wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Version {
    /// Counts the moves of all partitions' positions.
    moves: u64,
    /// Counts how often this partition was fetched again from some offset.
    fetches: u64,
}

impl Version {
    /// Before anything was fetched after this move.
    pub(super) fn of_move(moves: u64) -> Self {
        Self { moves, fetches: 0 }
    }
}

/// A partition being read. `consumed <= position <= taken_in <= fetch_from`, unless a gap lies between.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) place: TopicPartition,
    /// The topic that is fetched.
    pub(super) topic: TopicId,
    /// The topic that `position` belongs to: another one while records of a deleted topic are held.
    read_topic: TopicId,
    /// Changes when reading goes on elsewhere: what was asked for before does not count any more.
    pub(super) version: Version,
    /// Where to start is not known yet.
    pub(super) is_starting: bool,
    pub(super) paused: bool,
    /// It is going to another member: nothing of it is handed out or fetched any more.
    pub(super) given_up: bool,
    /// The next offset to hand out.
    pub(super) position: Offset,
    /// The leader epoch of the record before it; none if that is not known.
    pub(super) position_epoch: Option<LeaderEpoch>,
    /// The position when the reader last came back for more: what is before it was dealt with.
    pub(super) consumed: Offset,
    pub(super) consumed_epoch: Option<LeaderEpoch>,
    pub(super) committed: Option<Offset>,
    /// Something was handed out, or the position was chosen: there is something to commit.
    pub(super) touched: bool,
    /// The end of what was fetched and checked.
    taken_in: Offset,
    taken_in_epoch: Option<LeaderEpoch>,
    /// The next offset to ask for: what lies between is here and is being checked.
    pub(super) fetch_from: Offset,
    pub(super) fetch_epoch: Option<LeaderEpoch>,
    pub(super) is_fetching: bool,
    pub(super) not_before: Option<Instant>,
    pub(super) high_watermark: Option<Offset>,
    pub(super) log_start: Option<Offset>,
    /// The topic is compacted.
    pub(super) gaps_allowed: bool,
    /// Damage here was looked into already: finding it again is reason to report it.
    investigated: Option<Offset>,
    failures: u32,
    buffer: VecDeque<Held>,
    buffered_bytes: usize,
    unchecked_bytes: usize,
    open: Option<OpenBatch>,
    trouble: Option<ConsumeError>,
    /// The reader knows that the partition is offline.
    offline_told: bool,
}

/// What waits to be handed out.
#[derive(Debug)]
enum Held {
    Batch(Batch),
    /// And the leader epoch of the record before the place where reading goes on, if that is known.
    Gap(Gap, Option<LeaderEpoch>),
}

/// What a partition hands out.
#[derive(Debug)]
pub(super) enum Item {
    /// A record, and how many bytes it newly keeps in memory: those of its batch, for the first record that is taken in
    /// a call.
    Record(ConsumerRecord, usize),
    Error(ConsumeError),
}

/// A batch that is being handed out.
#[derive(Debug)]
struct OpenBatch {
    records: Records,
    next_offset: Offset,
    epoch: Option<LeaderEpoch>,
    /// What it takes of memory, decompressed.
    bytes: usize,
    /// The call that its bytes were last counted for.
    counted_in: Option<CallNumber>,
}

/// Counts the reader's calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CallNumber(pub(super) u64);

impl Slot {
    /// A partition whose start is not known yet.
    pub(super) fn new(place: TopicPartition, topic: TopicId, version: Version) -> Self {
        Self {
            place,
            topic,
            read_topic: topic,
            version,
            is_starting: true,
            paused: false,
            given_up: false,
            position: Offset::ZERO,
            position_epoch: None,
            consumed: Offset::ZERO,
            consumed_epoch: None,
            committed: None,
            touched: false,
            taken_in: Offset::ZERO,
            taken_in_epoch: None,
            fetch_from: Offset::ZERO,
            fetch_epoch: None,
            is_fetching: false,
            not_before: None,
            high_watermark: None,
            log_start: None,
            gaps_allowed: false,
            investigated: None,
            failures: 0,
            buffer: VecDeque::new(),
            buffered_bytes: 0,
            unchecked_bytes: 0,
            open: None,
            trouble: None,
            offline_told: false,
        }
    }

    /// Goes on at `offset`, after a record of this leader epoch; what is at hand or on its way is forgotten.
    pub(super) fn move_to(&mut self, offset: Offset, epoch: Option<LeaderEpoch>, version: Version) {
        self.version = version;
        self.is_starting = false;
        self.read_topic = self.topic;
        (self.position, self.position_epoch) = (offset, epoch);
        self.is_consumed();
        (self.not_before, self.failures) = (None, 0);
        self.fetch_again_from(offset, epoch);
        self.forget_buffer();
        if self.trouble.take().is_some() {
            self.offline_told = false; // The reader was not told.
        }
    }

    /// The reader is done with all that was handed out.
    pub(super) fn is_consumed(&mut self) {
        (self.consumed, self.consumed_epoch) = (self.position, self.position_epoch);
    }

    /// Asks for `offset` next, after a record of this leader epoch, whatever is on its way or being checked.
    fn fetch_again_from(&mut self, offset: Offset, epoch: Option<LeaderEpoch>) {
        (self.taken_in, self.fetch_from) = (offset, offset);
        (self.taken_in_epoch, self.fetch_epoch) = (epoch, epoch);
        (self.is_fetching, self.unchecked_bytes) = (false, 0);
        self.version.fetches += 1;
    }

    /// Whether something should be fetched now, with at most `share` bytes at hand.
    pub(super) fn is_fetchable(&self, share: usize, now: Instant) -> bool {
        !self.is_starting
            && !self.paused
            && !self.given_up
            && !self.is_fetching
            && self.trouble.is_none()
            && self.held_bytes() < share
            && self.not_before.is_none_or(|not_before| not_before <= now)
    }

    /// When it becomes fetchable by time alone.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        self.not_before.filter(|_| !self.is_fetching && !self.paused && !self.given_up && !self.is_starting)
    }

    /// What is at hand, checked or not, as it lies in memory: the open batch is decompressed.
    pub(super) fn held_bytes(&self) -> usize {
        self.buffered_bytes + self.unchecked_bytes + self.open_bytes()
    }

    /// What the batch that is being handed out takes of memory.
    pub(super) fn open_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.bytes)
    }

    /// Whether its next record keeps nothing in memory that the records of this call do not keep already.
    pub(super) fn is_kept_by(&self, call: CallNumber) -> bool {
        self.open.as_ref().is_some_and(|open| open.counted_in == Some(call))
    }

    /// The topic that the position belongs to, if that topic is still there.
    pub(super) fn topic_of_position(&self) -> Option<TopicId> {
        (self.read_topic == self.topic).then_some(self.topic)
    }

    /// So many bytes from `wanted` on are here and will be checked; unless they are damaged, `next` comes after them. False if
    /// they are not what was to come.
    pub(super) fn foresee(
        &mut self,
        wanted: Offset,
        (next, epoch): (Offset, Option<LeaderEpoch>),
        bytes: usize,
    ) -> bool {
        if wanted != self.fetch_from {
            return false;
        }
        (self.is_fetching, self.fetch_from, self.fetch_epoch) = (false, next, epoch);
        self.unchecked_bytes += bytes;
        true
    }

    /// Takes in what a fetch from `wanted` on brought, of which so many bytes were foreseen; returns damage that nobody
    /// has looked into yet.
    pub(super) fn fetched(
        &mut self,
        wanted: Offset,
        foreseen: usize,
        intake: Intake,
        on_damage: OnDamage,
    ) -> Option<Damage> {
        if wanted != self.taken_in {
            return None; // It was asked for twice.
        }
        (self.failures, self.not_before, self.offline_told) = (0, None, false);
        self.taken_in = intake.next;
        if let Some(last) = intake.batches.last() {
            self.taken_in_epoch = last.header().leader_epoch;
        }
        if foreseen == 0 {
            (self.is_fetching, self.fetch_from, self.fetch_epoch) = (false, intake.next, self.taken_in_epoch);
        }
        self.unchecked_bytes -= foreseen;
        for batch in intake.batches {
            self.buffered_bytes += batch.bytes().len();
            self.buffer.push_back(Held::Batch(batch));
        }
        let damage = intake.damage?;
        self.fetch_again_from(intake.next, self.taken_in_epoch);
        if self.investigated == Some(damage.offsets.start) {
            self.damaged(damage.offsets, damage.reason, on_damage);
            return None;
        }
        self.investigated = Some(damage.offsets.start);
        self.is_fetching = true; // Until the investigation has ended.
        Some(damage)
    }

    /// These offsets, the next to be fetched, cannot be read.
    pub(super) fn damaged(&mut self, offsets: Range<Offset>, reason: String, on_damage: OnDamage) {
        (self.is_fetching, self.failures) = (false, 0);
        match on_damage {
            OnDamage::Fail => {
                self.trouble = Some(ConsumeError::Damaged { place: self.place.clone(), offsets, reason });
            }
            OnDamage::Skip => {
                tracing::warn!(place = %self.place, start = %offsets.start, end = %offsets.end, reason, "skipping damaged offsets");
                let is_behind = self.taken_in < offsets.end;
                let epoch = if is_behind { None } else { self.taken_in_epoch }; // Nobody knows that of a damaged record.
                self.fetch_again_from(self.taken_in.max(offsets.end), epoch);
            }
        }
    }

    /// A fetch failed; it is made again after a wait.
    pub(super) fn hindered(&mut self, now: Instant) {
        self.is_fetching = false;
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + backoff::jittered(self.failures));
    }

    /// A fetch failed in a way that the reader must know of: once, if the partition is offline until it is served again.
    pub(super) fn failed(&mut self, source: RequestError, now: Instant) {
        let is_offline = source.code() == Some(ErrorCode::PartitionShut);
        if is_offline && std::mem::replace(&mut self.offline_told, true) {
            (self.is_fetching, self.not_before) = (false, Some(now + REST));
            return;
        }
        self.troubled(ConsumeError::Failed { place: self.place.clone(), source });
    }

    pub(super) fn troubled(&mut self, error: ConsumeError) {
        self.is_fetching = false;
        self.trouble = Some(error);
    }

    /// Whether [`Slot::next`] or [`Slot::pass_gap`] would give something.
    pub(super) fn has_something(&self) -> bool {
        self.may_hand_out() && (self.open.is_some() || !self.buffer.is_empty() || self.trouble.is_some())
    }

    fn may_hand_out(&self) -> bool {
        !self.paused && !self.given_up
    }

    /// Whether the reader has got records and not come back from them yet.
    pub(super) fn is_in_hand(&self) -> bool {
        self.consumed != self.position
    }

    /// The next record, or what is wrong at this place. None at a gap.
    pub(super) fn next(&mut self, call: CallNumber, on_damage: OnDamage, now: Instant) -> Option<Item> {
        if !self.may_hand_out() {
            return None;
        }
        loop {
            if self.is_at_gap() {
                return None;
            }
            if self.open.is_none() && !self.open_batch(on_damage) {
                break;
            }
            if let Some(item) = self.next_of_open_batch(call, on_damage) {
                return Some(item);
            }
        }
        if self.trouble.is_none() && self.position < self.taken_in {
            // Nothing is left before it, skipped or compacted away.
            (self.position, self.position_epoch) = (self.taken_in, self.taken_in_epoch);
        }
        let error = self.trouble.take()?;
        if self.is_starting {
            return Some(Item::Error(error)); // Whoever finds out where it begins looks for this version.
        }
        self.forget_buffer();
        self.topic = self.read_topic; // Should a gap to another topic be forgotten, it is found again.
        self.fetch_again_from(self.position, self.position_epoch);
        self.not_before = Some(now + REST);
        Some(Item::Error(error))
    }

    fn next_of_open_batch(&mut self, call: CallNumber, on_damage: OnDamage) -> Option<Item> {
        let open = self.open.as_mut()?;
        match open.records.next() {
            Some(Ok(view)) if view.offset < self.position => None, // Before the wanted offset, in its batch.
            Some(Ok(view)) => {
                let newly_kept = if open.counted_in.replace(call) == Some(call) { 0 } else { open.bytes };
                self.touched = true;
                let epoch = open.epoch;
                (self.position, self.position_epoch) = (view.offset.saturating_add(1), epoch);
                if open.next_offset <= self.position {
                    self.finish_batch(on_damage); // At once: its memory goes with its last record.
                }
                Some(Item::Record(ConsumerRecord::new(&self.place, epoch, view), newly_kept))
            }
            Some(Err(error)) => {
                self.unreadable(error.to_string(), on_damage);
                None
            }
            None => {
                self.close_batch();
                None
            }
        }
    }

    /// Closes the open batch after its last offset. More records than its header says are damage.
    fn finish_batch(&mut self, on_damage: OnDamage) {
        match self.open.as_mut().and_then(|open| open.records.next()) {
            Some(Err(error)) => self.unreadable(error.to_string(), on_damage),
            Some(Ok(_)) | None => self.close_batch(),
        }
    }

    /// Opens the next batch; false if there is none, or only one that cannot be opened and must be reported.
    fn open_batch(&mut self, on_damage: OnDamage) -> bool {
        let Some(Held::Batch(batch)) = self.buffer.pop_front() else { return false };
        let (next_offset, epoch) = (batch.header().next_offset(), batch.header().leader_epoch);
        self.buffered_bytes -= batch.bytes().len();
        match batch.records(PLAIN_BYTES_MAX) {
            Ok(records) => {
                let bytes = records.bytes_held();
                self.open = Some(OpenBatch { records, next_offset, epoch, bytes, counted_in: None });
            }
            Err(error) => self.report(self.position..next_offset, error.to_string(), on_damage),
        }
        self.trouble.is_none() || self.open.is_some()
    }

    /// The open batch breaks off although its CRC is right: a producer built it wrongly.
    fn unreadable(&mut self, reason: String, on_damage: OnDamage) {
        let Some(open) = self.open.take() else { return };
        self.report(self.position..open.next_offset, reason, on_damage);
    }

    fn report(&mut self, offsets: Range<Offset>, reason: String, on_damage: OnDamage) {
        let end = offsets.end;
        match on_damage {
            OnDamage::Fail => {
                self.forget_buffer(); // The error comes before everything behind it.
                self.trouble = Some(ConsumeError::Damaged { place: self.place.clone(), offsets, reason });
            }
            OnDamage::Skip => {
                tracing::warn!(place = %self.place, start = %offsets.start, %end, reason, "skipping damaged offsets");
                if self.position < end {
                    (self.position, self.position_epoch) = (end, None);
                }
            }
        }
    }

    fn close_batch(&mut self) {
        if let Some(open) = self.open.take()
            && self.position < open.next_offset
        {
            // Compaction may have dropped the last records.
            (self.position, self.position_epoch) = (open.next_offset, open.epoch);
        }
    }

    fn forget_buffer(&mut self) {
        self.buffer.clear();
        self.open = None;
        self.buffered_bytes = 0;
    }
}
