//! The idempotence state of a log: enough to answer a retry with the offsets of the first time.
//!
//! The batches alone define the state, so recovery rebuilds it from their headers; a snapshot only saves time.
//!
//! Ages are differences between times of one clock, which never jumps while the process runs. Another process has
//! another clock: stored times are [moved](ProducerStates::restart) so that the latest of them is now. So producers do
//! not age while no process runs, and a wrong wall clock in one run expires nothing in the next.

mod snapshot;

pub(crate) use snapshot::{PREVIOUS_NAME, ProducerSnapshot, ProducerSnapshots};

use crate::options::LogOptions;
use grower_protocol::batch::{BatchHeader, ProducerStamp};
use grower_protocol::ids::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Range;

/// How many batches of a producer are remembered: as many as a client keeps in flight.
const BATCHES_REMEMBERED: usize = 5;

/// The producers of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProducerStates(BTreeMap<ProducerId, ProducerState>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct ProducerState {
    epoch: ProducerEpoch,
    /// When it last appended, by the clock of this process.
    seen: Timestamp,
    /// The latest batches of this epoch, oldest first.
    batches: VecDeque<RecentBatch>,
}

/// One batch that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RecentBatch {
    base_sequence: Sequence,
    last_sequence: Sequence,
    base_offset: Offset,
    next_offset: Offset,
}

/// The outcome of checking a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SequenceCheck {
    /// It is to be appended.
    Accept,
    /// It was appended before, at these offsets.
    Duplicate(Range<Offset>),
    /// At least one batch before it is missing.
    OutOfOrder { expected: Sequence },
    /// A newer incarnation has appended.
    Fenced { current: ProducerEpoch },
}

impl ProducerState {
    /// Whether it is remembered by a few batches in the order of the log, all of them before `end`.
    fn is_before(&self, end: Offset) -> bool {
        let in_order = self.batches.iter().is_sorted_by(|a, b| a.next_offset <= b.base_offset);
        let whole = self.batches.iter().all(|batch| batch.base_offset < batch.next_offset && batch.next_offset <= end);
        self.batches.len() <= BATCHES_REMEMBERED && in_order && whole
    }
}

impl ProducerStates {
    /// Checks a batch. A producer without state may begin with any sequence: its state expired, or it is new here.
    pub(crate) fn check(&self, header: &BatchHeader) -> SequenceCheck {
        let Some((stamp, base_sequence)) = numbered(header) else { return SequenceCheck::Accept };
        let Some(producer) = self.0.get(&stamp.id) else { return SequenceCheck::Accept };
        if stamp.epoch < producer.epoch {
            return SequenceCheck::Fenced { current: producer.epoch };
        }
        if producer.epoch < stamp.epoch {
            return accept_if(base_sequence == Sequence::ZERO, Sequence::ZERO);
        }
        let last_sequence = base_sequence.wrapping_add(header.last_offset_delta);
        let same = |b: &&RecentBatch| b.base_sequence == base_sequence && b.last_sequence == last_sequence;
        if let Some(batch) = producer.batches.iter().find(same) {
            return SequenceCheck::Duplicate(batch.base_offset..batch.next_offset);
        }
        match producer.batches.back() {
            Some(last) => {
                let expected = last.last_sequence.wrapping_add(1);
                accept_if(base_sequence == expected, expected)
            }
            None => SequenceCheck::Accept,
        }
    }

    /// Remembers a batch that is now in the log.
    pub(crate) fn note(&mut self, header: &BatchHeader, now: Timestamp) {
        let Some((stamp, base_sequence)) = numbered(header) else { return };
        let fresh =
            || ProducerState { epoch: stamp.epoch, seen: now, batches: VecDeque::with_capacity(BATCHES_REMEMBERED) };
        let producer = self.0.entry(stamp.id).or_insert_with(fresh);
        if producer.epoch != stamp.epoch {
            *producer = fresh();
        }
        producer.seen = now;
        if producer.batches.len() == BATCHES_REMEMBERED {
            producer.batches.pop_front();
        }
        let latest = producer.batches.back().map_or(Offset::ZERO, |batch| batch.next_offset);
        debug_assert!(latest <= header.base_offset, "batches are noted in the order of the log");
        producer.batches.push_back(RecentBatch {
            base_sequence,
            last_sequence: base_sequence.wrapping_add(header.last_offset_delta),
            base_offset: header.base_offset,
            next_offset: header.next_offset(),
        });
        debug_assert!(producer.is_before(header.next_offset()), "a snapshot of it is taken for damaged");
    }

    /// Moves times of another process's clock to this one's.
    pub(crate) fn restart(&mut self, now: Timestamp) {
        let Some(last) = self.0.values().map(|producer| producer.seen).max() else { return };
        for producer in self.0.values_mut() {
            let age = last.millis_since(producer.seen);
            producer.seen = Timestamp::from_millis(now.as_millis().saturating_sub_unsigned(age));
        }
    }

    /// Forgets producers that were silent too long, and the longest silent ones beyond `most`.
    pub(crate) fn expire(&mut self, now: Timestamp, expiry_ms: u64, most: usize) {
        self.0.retain(|_, producer| now.millis_since(producer.seen) <= expiry_ms);
        if self.0.len() <= most {
            return;
        }
        // Replayed producers all appended at the same time: then their last offsets decide.
        let last_offset = |producer: &ProducerState| producer.batches.back().map(|batch| batch.next_offset);
        let mut by_age: Vec<_> = self.0.iter().map(|(id, p)| (p.seen, last_offset(p), *id)).collect();
        by_age.sort_unstable();
        for (.., id) in &by_age[..self.0.len() - most] {
            self.0.remove(id);
        }
        debug_assert_eq!(self.0.len(), most, "each producer has one state");
    }

    /// Keeps the producers within their limit. Dropping an eighth at once, it need not scan them often.
    pub(crate) fn bound(&mut self, now: Timestamp, options: &LogOptions) {
        let most = options.producers_max;
        if most < self.len() {
            self.expire(now, options.producer_expiry_ms, most - most / 8);
        }
    }

    /// Base offsets of the batches that are remembered.
    pub(crate) fn remembered(&self) -> HashSet<Offset> {
        self.0.values().flat_map(|producer| &producer.batches).map(|batch| batch.base_offset).collect()
    }

    /// How many producers are remembered.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

fn accept_if(follows: bool, expected: Sequence) -> SequenceCheck {
    if follows { SequenceCheck::Accept } else { SequenceCheck::OutOfOrder { expected } }
}

/// The producer's stamp and the batch's first sequence; control batches have none.
fn numbered(header: &BatchHeader) -> Option<(ProducerStamp, Sequence)> {
    let stamp = header.producer?;
    Some((stamp, stamp.base_sequence?))
}

#[cfg(test)]
mod tests;
