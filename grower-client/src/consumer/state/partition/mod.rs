//! One partition that is being read: where the reader is, what is at hand, what is on its way. Pure.

mod gaps;
mod hand_out;

pub(crate) use hand_out::{CallNumber, Item};

use super::checked_batches::{Damage, Intake};
use super::gap::Gap;
use crate::backoff;
use crate::consumer::settings::OnDamage;
use crate::error::{ConsumeError, RequestError};
use crate::record::TopicPartition;
use grower_protocol::batch::Batch;
use grower_protocol::ids::{LeaderEpoch, Offset, TopicId};
use grower_protocol::message::ErrorCode;
use hand_out::OpenBatch;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;
use tokio::time::Instant;

/// After an error that was reported, a partition rests for this long.
const REST: Duration = Duration::from_secs(1);

/// Which request's answer is still wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Version {
    /// Counts the moves of all partitions' positions.
    moves: u64,
    /// Counts how often this partition was fetched again from some offset.
    fetches: u64,
}

impl Version {
    /// Before anything was fetched after this move.
    pub(crate) fn of_move(moves: u64) -> Self {
        Self { moves, fetches: 0 }
    }
}

/// A partition being read. `consumed <= position <= taken_in <= fetch_from`, unless a gap lies between.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) place: TopicPartition,
    /// The topic that is fetched.
    pub(crate) topic: TopicId,
    /// The topic that `position` belongs to: another one while records of a deleted topic are held.
    read_topic: TopicId,
    /// Changes when reading goes on elsewhere: what was asked for before does not count any more.
    pub(crate) version: Version,
    /// Where to start is not known yet.
    pub(crate) is_starting: bool,
    pub(crate) paused: bool,
    /// It is going to another member: nothing of it is handed out or fetched any more.
    pub(crate) given_up: bool,
    /// The next offset to hand out.
    pub(crate) position: Offset,
    /// The leader epoch of the record before it; none if that is not known.
    pub(crate) position_epoch: Option<LeaderEpoch>,
    /// The position when the reader last came back for more: what is before it was dealt with.
    pub(crate) consumed: Offset,
    pub(crate) consumed_epoch: Option<LeaderEpoch>,
    pub(crate) committed: Option<Offset>,
    /// Something was handed out, or the position was chosen: there is something to commit.
    pub(crate) touched: bool,
    /// The end of what was fetched and checked.
    taken_in: Offset,
    taken_in_epoch: Option<LeaderEpoch>,
    /// The next offset to ask for: what lies between is here and is being checked.
    pub(crate) fetch_from: Offset,
    pub(crate) fetch_epoch: Option<LeaderEpoch>,
    pub(crate) is_fetching: bool,
    pub(crate) not_before: Option<Instant>,
    pub(crate) high_watermark: Option<Offset>,
    pub(crate) log_start: Option<Offset>,
    /// The topic is compacted.
    pub(crate) gaps_allowed: bool,
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

impl Slot {
    /// A partition whose start is not known yet.
    pub(crate) fn new(place: TopicPartition, topic: TopicId, version: Version) -> Self {
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
    pub(crate) fn move_to(&mut self, offset: Offset, epoch: Option<LeaderEpoch>, version: Version) {
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
    pub(crate) fn is_consumed(&mut self) {
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
    pub(crate) fn is_fetchable(&self, share: usize, now: Instant) -> bool {
        !self.is_starting
            && !self.paused
            && !self.given_up
            && !self.is_fetching
            && self.trouble.is_none()
            && self.held_bytes() < share
            && self.not_before.is_none_or(|not_before| not_before <= now)
    }

    /// When it becomes fetchable by time alone.
    pub(crate) fn wakes_at(&self) -> Option<Instant> {
        self.not_before.filter(|_| !self.is_fetching && !self.paused && !self.given_up && !self.is_starting)
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
    pub(crate) fn foresee(
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
    pub(crate) fn fetched(
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
    pub(crate) fn damaged(&mut self, offsets: Range<Offset>, reason: String, on_damage: OnDamage) {
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
    pub(crate) fn hindered(&mut self, now: Instant) {
        self.is_fetching = false;
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + backoff::jittered(self.failures));
    }

    /// A fetch failed in a way that the reader must know of: once, if the partition is offline until it is served again.
    pub(crate) fn failed(&mut self, source: RequestError, now: Instant) {
        let is_offline = source.code() == Some(ErrorCode::PartitionShut);
        if is_offline && std::mem::replace(&mut self.offline_told, true) {
            (self.is_fetching, self.not_before) = (false, Some(now + REST));
            return;
        }
        self.troubled(ConsumeError::Failed { place: self.place.clone(), source });
    }

    pub(crate) fn troubled(&mut self, error: ConsumeError) {
        self.is_fetching = false;
        self.trouble = Some(error);
    }

    /// Whether [`Slot::next`] or [`Slot::pass_gap`] would give something.
    pub(crate) fn has_something(&self) -> bool {
        self.may_hand_out() && (self.open.is_some() || !self.buffer.is_empty() || self.trouble.is_some())
    }

    fn may_hand_out(&self) -> bool {
        !self.paused && !self.given_up
    }

    /// Whether the reader has got records and not come back from them yet.
    pub(crate) fn is_in_hand(&self) -> bool {
        self.consumed != self.position
    }

    fn forget_buffer(&mut self) {
        self.buffer.clear();
        self.open = None;
        self.buffered_bytes = 0;
    }
}
