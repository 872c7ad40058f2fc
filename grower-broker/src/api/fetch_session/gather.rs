//! Reads ready slots into one answer.
//!
//! The slots take turns. Each gets its share of what the answer has left, but at least one batch. A slot with more
//! records is queued behind the others for the next answer; a slot whose batch does not fit is queued before them.

use super::source::{SlotRead, SlotSource};
use super::state::{RewindPoint, SessionState, SlotProgress};
use crate::api::partition_read::{PartitionRead, ReadLimits, is_damaged_or_diverged};
use crate::partition::FetchWaker;
use grower_protocol::ids::Offset;
use grower_protocol::message::{FetchSlot, FetchedPartition, Part, SlotPart};
use grower_storage::log::Slice;
use std::sync::Arc;

/// The most parts of one answer. It bounds the memory of the answer.
pub(super) const PARTS_MAX: usize = 1_024;
/// A waiting request with this many parts or slices is answered. This bounds its memory and the deleted files that it
/// keeps open.
const WAITING_PARTS_MAX: usize = 64;
/// The least share of a slot: smaller parts would cost more than they carry.
const SHARE_MIN: usize = 64 << 10;

/// The parts gathered so far for one answer.
#[derive(Default)]
pub(super) struct GatheredParts {
    pub(super) parts: Vec<SlotPart>,
    pub(super) slices: Vec<Slice>,
    /// Where each part's slot was before the part.
    pub(super) rewind_points: Vec<RewindPoint>,
    pub(super) bytes: usize,
    /// A part has more than records: answer at once.
    pub(super) urgent: bool,
    /// More slots are ready: answer at once.
    pub(super) full: bool,
}

/// The result of reading a slot.
enum SlotOutcome {
    /// The slot ended, or waits.
    Done,
    /// It has more records.
    More,
    /// Its next batch does not fit.
    TooLarge,
}

impl GatheredParts {
    /// Whether the request is answered without a further wait.
    pub(super) fn is_enough(&self, min_bytes: usize) -> bool {
        self.urgent
            || self.full
            || WAITING_PARTS_MAX <= self.parts.len().max(self.slices.len())
            || min_bytes.max(1) <= self.bytes
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.parts.capacity() * size_of::<SlotPart>()
            + self.slices.capacity() * size_of::<Slice>()
            + self.rewind_points.capacity() * size_of::<RewindPoint>()
    }

    fn bytes_of(&self, slot: FetchSlot) -> usize {
        self.parts.iter().filter(|part| part.slot == slot).map(length).sum()
    }

    fn push(&mut self, before: RewindPoint, fetched: Part<FetchedPartition>, slices: Vec<Slice>) {
        let RewindPoint { slot, offset, .. } = before;
        let part = SlotPart { slot, offset, fetched };
        self.bytes += length(&part);
        self.slices.extend(slices);
        self.parts.push(part);
        self.rewind_points.push(before);
    }
}

fn length(part: &SlotPart) -> usize {
    part.fetched.as_ref().map_or(0, crate::api::partition_read::length)
}

impl SessionState {
    /// Adds parts of ready slots, up to `max_bytes`. Only the first batch may be larger.
    pub(super) fn gather(&mut self, source: &impl SlotSource, max_bytes: usize, gathered: &mut GatheredParts) {
        let (mut with_more, mut slots_not_read_yet) =
            (Vec::new(), if gathered.parts.is_empty() { self.ready.len() } else { 0 });
        loop {
            gathered.full |= gathered.parts.len() == PARTS_MAX || (0 < gathered.bytes && max_bytes <= gathered.bytes);
            if gathered.full {
                break;
            }
            let Some((slot, ready)) = self.ready.pop() else { break };
            let taken = if 0 < slots_not_read_yet { 0 } else { gathered.bytes_of(slot) };
            slots_not_read_yet = slots_not_read_yet.saturating_sub(1);
            match self.read_slot(slot, source, (max_bytes, taken, ready), gathered) {
                SlotOutcome::Done => {}
                SlotOutcome::More => with_more.push(slot),
                SlotOutcome::TooLarge => {
                    gathered.full = true;
                    self.ready.push_first(slot);
                }
            }
        }
        if !with_more.is_empty() {
            gathered.full = true;
            self.ready.extend(with_more);
        }
        debug_assert_eq!(gathered.parts.len(), gathered.rewind_points.len(), "each part moved its slot");
        debug_assert!(gathered.parts.len() <= PARTS_MAX, "an answer has {} parts", gathered.parts.len());
    }

    /// Reads one ready slot. The answer has `taken` bytes of it already; `ready` slots are queued, this one included.
    fn read_slot(
        &mut self,
        slot: FetchSlot,
        source: &impl SlotSource,
        (max_bytes, taken, ready): (usize, usize, usize),
        gathered: &mut GatheredParts,
    ) -> SlotOutcome {
        let Some(state) = self.slots.get_mut(&slot) else {
            self.dropped_in_queue = self.dropped_in_queue.saturating_sub(1);
            return SlotOutcome::Done;
        };
        debug_assert!(!matches!(state.progress, SlotProgress::Ended), "{slot:?} ended and is ready");
        state.progress = SlotProgress::Ready;
        let left = max_bytes.saturating_sub(gathered.bytes);
        let limit = (state.wanted.max_bytes as usize).saturating_sub(taken);
        if limit == 0 && 0 < taken {
            return SlotOutcome::TooLarge;
        }
        let share = (left / ready.max(1)).max(SHARE_MIN).min(left).min(limit);
        let (offset, last_epoch) = (state.wanted.offset, state.wanted.last_epoch);
        let before =
            RewindPoint { slot, high_watermark_sent: state.high_watermark_sent, ended: false, offset, last_epoch };
        let read = source.read(&state.wanted, ReadLimits { target: share, max: (0 < gathered.bytes).then_some(left) });
        let (SlotRead { read, fetches }, seen) = match read.map(|found| (high_watermark_of(&found.read), found)) {
            Ok((Some(seen), found)) => (found, seen),
            Ok((None, found)) => return self.end_slot(before, Ok(found.read.fetched), gathered),
            Err(failure) => return self.end_slot(before, Err(failure), gathered),
        };
        if read.too_large {
            return SlotOutcome::TooLarge;
        }
        let next = read.next;
        if next.is_some() || !state.high_watermark_sent {
            gathered.urgent |= next.is_none();
            state.high_watermark_sent = true;
            if let Some((offset, epoch)) = next {
                debug_assert!(before.offset < offset && offset <= seen, "{slot:?} moves to {offset}, beyond {seen}");
                (state.wanted.offset, state.wanted.last_epoch) = (offset, Some(epoch));
            }
            gathered.push(before, Ok(read.fetched), read.slices);
        }
        if next.is_some_and(|(next, _)| next < seen) {
            return SlotOutcome::More;
        }
        let waker: Arc<dyn FetchWaker> = self.ready.clone();
        fetches.wake_beyond(seen, &waker, slot.0);
        state.progress = SlotProgress::Waiting(fetches);
        SlotOutcome::Done
    }

    fn end_slot(
        &mut self,
        before: RewindPoint,
        fetched: Part<FetchedPartition>,
        gathered: &mut GatheredParts,
    ) -> SlotOutcome {
        gathered.urgent = true;
        gathered.push(RewindPoint { ended: true, ..before }, fetched, Vec::new());
        if let Some(state) = self.slots.get_mut(&before.slot) {
            state.progress = SlotProgress::Ended;
        }
        SlotOutcome::Done
    }
}

/// The high watermark of a read without divergence and damage.
fn high_watermark_of(read: &PartitionRead) -> Option<Offset> {
    match &read.fetched {
        FetchedPartition::Records(fetched) if !is_damaged_or_diverged(&read.fetched) => Some(fetched.high_watermark),
        _ => None,
    }
}
