//! One partition that is being read: where the reader is, what is at hand, what is on its way. Pure.

use super::intake::{Damage, Intake};
use crate::backoff;
use crate::error::{ConsumeError, RequestError};
use crate::record::{ConsumerRecord, TopicPartition};
use grower_protocol::batch::{Batch, Records};
use grower_protocol::ids::{Offset, TopicId};
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

/// A partition being read. `consumed <= position <= taken_in <= fetch_from`.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) place: TopicPartition,
    pub(super) topic: TopicId,
    /// Changes when reading goes on elsewhere: what was asked for before does not count any more.
    pub(super) version: Version,
    /// Where to start is not known yet.
    pub(super) is_starting: bool,
    pub(super) paused: bool,
    /// The next offset to hand out.
    pub(super) position: Offset,
    /// The position when the reader last came back for more: what is before it was dealt with.
    pub(super) consumed: Offset,
    pub(super) committed: Option<Offset>,
    /// Something was handed out, or the position was chosen: there is something to commit.
    pub(super) touched: bool,
    /// The end of what was fetched and checked.
    taken_in: Offset,
    /// The next offset to ask for: what lies between is here and is being checked.
    pub(super) fetch_from: Offset,
    pub(super) is_fetching: bool,
    pub(super) not_before: Option<Instant>,
    pub(super) high_watermark: Option<Offset>,
    pub(super) log_start: Option<Offset>,
    /// The topic is compacted.
    pub(super) gaps_allowed: bool,
    /// Damage here was looked into already: finding it again is reason to report it.
    investigated: Option<Offset>,
    failures: u32,
    buffer: VecDeque<Batch>,
    buffered_bytes: usize,
    unchecked_bytes: usize,
    open: Option<OpenBatch>,
    trouble: Option<ConsumeError>,
}

/// A batch that is being handed out.
#[derive(Debug)]
struct OpenBatch {
    records: Records,
    next_offset: Offset,
    bytes: usize,
}

impl Slot {
    /// A partition whose start is not known yet.
    pub(super) fn new(place: TopicPartition, topic: TopicId, version: Version) -> Self {
        Self {
            place,
            topic,
            version,
            is_starting: true,
            paused: false,
            position: Offset::ZERO,
            consumed: Offset::ZERO,
            committed: None,
            touched: false,
            taken_in: Offset::ZERO,
            fetch_from: Offset::ZERO,
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
        }
    }

    /// Goes on at `offset`; what is at hand or on its way is forgotten.
    pub(super) fn move_to(&mut self, offset: Offset, version: Version) {
        self.version = version;
        self.is_starting = false;
        (self.position, self.consumed) = (offset, offset);
        (self.not_before, self.failures) = (None, 0);
        self.fetch_again_from(offset);
        self.forget_buffer();
        self.trouble = None;
    }

    /// Asks for `offset` next, whatever is on its way or being checked.
    fn fetch_again_from(&mut self, offset: Offset) {
        (self.taken_in, self.fetch_from) = (offset, offset);
        (self.is_fetching, self.unchecked_bytes) = (false, 0);
        self.version.fetches += 1;
    }

    /// Whether something should be fetched now, with at most `share` bytes at hand.
    pub(super) fn is_fetchable(&self, share: usize, now: Instant) -> bool {
        !self.is_starting
            && !self.paused
            && !self.is_fetching
            && self.trouble.is_none()
            && self.held_bytes() < share
            && self.not_before.is_none_or(|not_before| not_before <= now)
    }

    /// When it becomes fetchable by time alone.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        self.not_before.filter(|_| !self.is_fetching && !self.paused && !self.is_starting)
    }

    /// What is at hand, checked or not.
    pub(super) fn held_bytes(&self) -> usize {
        self.buffered_bytes + self.unchecked_bytes
    }

    /// So many bytes from `wanted` on are here and will be checked; unless they are damaged, `next` comes after them. False if
    /// they are not what was to come.
    pub(super) fn foresee(&mut self, wanted: Offset, next: Offset, bytes: usize) -> bool {
        if wanted != self.fetch_from {
            return false;
        }
        (self.is_fetching, self.fetch_from) = (false, next);
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
        (self.failures, self.not_before) = (0, None);
        self.taken_in = intake.next;
        if foreseen == 0 {
            (self.is_fetching, self.fetch_from) = (false, intake.next);
        }
        self.unchecked_bytes -= foreseen;
        for batch in intake.batches {
            self.buffered_bytes += batch.bytes().len();
            self.buffer.push_back(batch);
        }
        let damage = intake.damage?;
        self.fetch_again_from(intake.next);
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
                self.fetch_again_from(self.taken_in.max(offsets.end));
            }
        }
    }

    /// A fetch failed; it is made again after a wait.
    pub(super) fn hindered(&mut self, now: Instant) {
        self.is_fetching = false;
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + backoff::jittered(self.failures));
    }

    /// A fetch failed in a way that the reader must know of.
    pub(super) fn failed(&mut self, source: RequestError) {
        self.troubled(ConsumeError::Failed { place: self.place.clone(), source });
    }

    pub(super) fn troubled(&mut self, error: ConsumeError) {
        self.is_fetching = false;
        self.trouble = Some(error);
    }

    /// Whether [`Slot::next`] would give something.
    pub(super) fn has_something(&self) -> bool {
        !self.paused && (self.open.is_some() || !self.buffer.is_empty() || self.trouble.is_some())
    }

    /// The next record, or what is wrong at this place.
    pub(super) fn next(&mut self, on_damage: OnDamage, now: Instant) -> Option<Result<ConsumerRecord, ConsumeError>> {
        if self.paused {
            return None;
        }
        loop {
            if self.open.is_none() && !self.open_batch(on_damage) {
                break;
            }
            let Some(open) = &mut self.open else { continue };
            match open.records.next() {
                Some(Ok(view)) if view.offset < self.position => {} // Before the wanted offset, in its batch.
                Some(Ok(view)) => {
                    self.touched = true;
                    self.position = view.offset.saturating_add(1);
                    return Some(Ok(ConsumerRecord::new(&self.place, view)));
                }
                Some(Err(error)) => self.unreadable(error.to_string(), on_damage),
                None => self.close_batch(),
            }
        }
        if self.trouble.is_none() {
            self.position = self.position.max(self.taken_in); // Nothing is left before it, skipped or compacted away.
        }
        let error = self.trouble.take()?;
        self.forget_buffer();
        self.fetch_again_from(self.position);
        self.not_before = Some(now + REST);
        Some(Err(error))
    }

    /// Opens the next batch; false if there is none, or only one that cannot be opened and must be reported.
    fn open_batch(&mut self, on_damage: OnDamage) -> bool {
        let Some(batch) = self.buffer.pop_front() else { return false };
        let (next_offset, bytes) = (batch.header().next_offset(), batch.bytes().len());
        match batch.records(PLAIN_BYTES_MAX) {
            Ok(records) => self.open = Some(OpenBatch { records, next_offset, bytes }),
            Err(error) => {
                self.buffered_bytes -= bytes;
                self.report(self.position..next_offset, error.to_string(), on_damage);
            }
        }
        self.trouble.is_none() || self.open.is_some()
    }

    /// The open batch breaks off although its CRC is right: a producer built it wrongly.
    fn unreadable(&mut self, reason: String, on_damage: OnDamage) {
        let Some(open) = self.open.take() else { return };
        self.buffered_bytes -= open.bytes;
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
                self.position = self.position.max(end);
            }
        }
    }

    fn close_batch(&mut self) {
        if let Some(open) = self.open.take() {
            self.buffered_bytes -= open.bytes;
            self.position = self.position.max(open.next_offset); // Compaction may have dropped the last records.
        }
    }

    fn forget_buffer(&mut self) {
        self.buffer.clear();
        self.open = None;
        self.buffered_bytes = 0;
    }
}
