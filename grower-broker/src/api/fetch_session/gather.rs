//! Gathers the news of ready slots into one answer.
//!
//! The slots take turns. Each gets its share of what the answer has left, but at least one batch. A slot with more
//! records stands behind the others for the next answer; a slot whose batch does not fit any more stands before them.

use super::source::{SlotRead, SlotSource};
use super::state::{SessionState, SlotMove, SlotProgress};
use crate::api::partition_read::{PartitionRead, ReadLimits, is_news_without_records};
use crate::partition::FetchWaker;
use grower_protocol::ids::Offset;
use grower_protocol::message::{FetchSlot, FetchedPartition, Part, SlotNews};
use grower_storage::log::Slice;
use std::sync::Arc;

/// The most parts of one answer. It bounds the memory of the answer.
pub(super) const PARTS_MAX: usize = 1_024;
/// A request that has this many parts or slices waits for no more bytes. It bounds what waiting requests hold: memory, and
/// files that were removed meanwhile.
const WAITING_PARTS_MAX: usize = 64;
/// The least share of a slot: smaller parts would cost more than they carry.
const SHARE_MIN: usize = 64 << 10;

/// An answer as far as it is gathered.
#[derive(Default)]
pub(super) struct GatheredNews {
    pub(super) parts: Vec<SlotNews>,
    pub(super) slices: Vec<Slice>,
    /// The slots before each part.
    pub(super) moves: Vec<SlotMove>,
    pub(super) bytes: usize,
    /// It tells more than records: a client must learn that at once.
    pub(super) urgent: bool,
    /// Ready slots are left for the next answer.
    pub(super) full: bool,
}

/// What a look at a slot leads to.
enum Look {
    /// The slot ended, or waits.
    Done,
    /// It has more records.
    More,
    /// Its next batch does not fit.
    TooLarge,
}

impl GatheredNews {
    /// Whether it need not wait for more.
    pub(super) fn is_enough(&self, min_bytes: usize) -> bool {
        self.urgent
            || self.full
            || WAITING_PARTS_MAX <= self.parts.len().max(self.slices.len())
            || min_bytes.max(1) <= self.bytes
    }

    /// Bytes of memory that it takes.
    pub(super) fn memory(&self) -> usize {
        self.parts.capacity() * size_of::<SlotNews>()
            + self.slices.capacity() * size_of::<Slice>()
            + self.moves.capacity() * size_of::<SlotMove>()
    }

    /// Bytes of a slot.
    fn bytes_of(&self, slot: FetchSlot) -> usize {
        self.parts.iter().filter(|part| part.slot == slot).map(length).sum()
    }

    fn push(&mut self, before: SlotMove, fetched: Part<FetchedPartition>, slices: Vec<Slice>) {
        let SlotMove { slot, offset, .. } = before;
        let part = SlotNews { slot, offset, fetched };
        self.bytes += length(&part);
        self.slices.extend(slices);
        self.parts.push(part);
        self.moves.push(before);
    }
}

fn length(part: &SlotNews) -> usize {
    part.fetched.as_ref().map_or(0, crate::api::partition_read::length)
}

impl SessionState {
    /// Adds the news of ready slots, up to `most` bytes. Only the first batch may pass them.
    pub(super) fn gather(&mut self, source: &impl SlotSource, most: usize, news: &mut GatheredNews) {
        let (mut again, mut first_looks) = (Vec::new(), if news.parts.is_empty() { self.ready.len() } else { 0 });
        loop {
            news.full |= news.parts.len() == PARTS_MAX || (0 < news.bytes && most <= news.bytes);
            if news.full {
                break;
            }
            let Some((slot, ready)) = self.ready.pop() else { break };
            let taken = if 0 < first_looks { 0 } else { news.bytes_of(slot) };
            first_looks = first_looks.saturating_sub(1);
            match self.look(slot, source, (most, taken, ready), news) {
                Look::Done => {}
                Look::More => again.push(slot),
                Look::TooLarge => {
                    news.full = true;
                    self.ready.push_first(slot);
                }
            }
        }
        if !again.is_empty() {
            news.full = true;
            self.ready.extend(again);
        }
        debug_assert_eq!(news.parts.len(), news.moves.len(), "each part moved its slot");
        debug_assert!(news.parts.len() <= PARTS_MAX, "an answer has {} parts", news.parts.len());
    }

    /// Reads one ready slot. `taken` bytes of it are in the answer already, and `ready` slots are left.
    fn look(
        &mut self,
        slot: FetchSlot,
        source: &impl SlotSource,
        (most, taken, ready): (usize, usize, usize),
        news: &mut GatheredNews,
    ) -> Look {
        let Some(state) = self.slots.get_mut(&slot) else {
            self.stale = self.stale.saturating_sub(1);
            return Look::Done;
        };
        debug_assert!(!matches!(state.progress, SlotProgress::Ended), "{slot:?} ended and is ready");
        state.progress = SlotProgress::Ready;
        let left = most.saturating_sub(news.bytes);
        let limit = (state.wanted.max_bytes as usize).saturating_sub(taken);
        if limit == 0 && 0 < taken {
            return Look::TooLarge;
        }
        let share = (left / ready.max(1)).max(SHARE_MIN).min(left).min(limit);
        let (offset, last_epoch) = (state.wanted.offset, state.wanted.last_epoch);
        let before = SlotMove { slot, told: state.told, ended: false, offset, last_epoch };
        let read = source.read(&state.wanted, ReadLimits { share, most: (0 < news.bytes).then_some(left) });
        let (SlotRead { read, fetches }, seen) = match read.map(|found| (plain_mark(&found.read), found)) {
            Ok((Some(seen), found)) => (found, seen),
            Ok((None, found)) => return self.end_slot(before, Ok(found.read.fetched), news),
            Err(failure) => return self.end_slot(before, Err(failure), news),
        };
        if read.too_large {
            return Look::TooLarge;
        }
        let next = read.next;
        if next.is_some() || !state.told {
            news.urgent |= next.is_none();
            state.told = true;
            if let Some((offset, epoch)) = next {
                debug_assert!(before.offset < offset && offset <= seen, "{slot:?} moves to {offset}, beyond {seen}");
                (state.wanted.offset, state.wanted.last_epoch) = (offset, Some(epoch));
            }
            news.push(before, Ok(read.fetched), read.slices);
        }
        if next.is_some_and(|(next, _)| next < seen) {
            return Look::More;
        }
        let waker: Arc<dyn FetchWaker> = self.ready.clone();
        fetches.wake_beyond(seen, &waker, slot.0);
        state.progress = SlotProgress::Waiting(fetches);
        Look::Done
    }

    fn end_slot(&mut self, before: SlotMove, fetched: Part<FetchedPartition>, news: &mut GatheredNews) -> Look {
        news.urgent = true;
        news.push(SlotMove { ended: true, ..before }, fetched, Vec::new());
        if let Some(state) = self.slots.get_mut(&before.slot) {
            state.progress = SlotProgress::Ended;
        }
        Look::Done
    }
}

/// The high watermark of a read that found plain records, or none yet.
fn plain_mark(read: &PartitionRead) -> Option<Offset> {
    match &read.fetched {
        FetchedPartition::Records(fetched) if !is_news_without_records(&read.fetched) => Some(fetched.high_watermark),
        _ => None,
    }
}
