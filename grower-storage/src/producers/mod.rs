//! The idempotence state of a log: enough to answer a retry with the offsets of the first time.
//!
//! The batches alone define the state, so recovery rebuilds it from their headers; a snapshot only saves time.
//!
//! Ages are differences between times of one clock, which never jumps while the process runs. Another process has
//! another clock: stored times are [moved](ProducerStates::restart) so that the latest of them is now. So producers do
//! not age while no process runs, and a wrong wall clock in one run expires nothing in the next.
//!
//! **Fences.** An epoch begins with its first batch or with a [fence](ProducerStates::fence), and from then on batches
//! of earlier epochs are refused, except those that are in the log already: a retry of one of them still gets its
//! offsets. So after a fence each batch of an earlier epoch is in the log or never will be. Alone among the state, a
//! fence is in no batch: it lives in memory and in the snapshot, and a crash or a truncation may forget it. That breaks
//! no promise, because the batches that it refuses wait in connections and queues of this process and end with it.
//! A producer without a name may be forgotten earlier, with its fence: then a batch of an earlier epoch can pass only if
//! it is the first of its epoch, with sequence 0.
//! Another process that continues the log while those connections live (a new leader in a cluster) needs the fences of
//! the old one.

mod snapshot;
mod state;

pub(crate) use snapshot::{PREVIOUS_NAME, ProducerSnapshot, ProducerSnapshots};

use crate::options::LogOptions;
use grower_protocol::batch::{BatchHeader, ProducerStamp};
use grower_protocol::ids::{LastWritten, Offset, ProducerEpoch, ProducerId, ProducerIdentity, Sequence, Timestamp};
use state::{ProducerState, RecentBatch};
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

/// The producers of one log.
///
/// A named producer is remembered until its name is gone: its last record tells the next holder of the name where to
/// continue. All others expire, and their number is limited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerStates {
    unnamed: BTreeMap<ProducerId, ProducerState>,
    named: BTreeMap<ProducerId, ProducerState>,
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
    /// A newer epoch of the producer has begun.
    Fenced { current: ProducerEpoch },
}

impl ProducerStates {
    /// Checks a batch. A producer without state begins at 0. A later sequence is of one that was forgotten: the batch may
    /// be in the log, the batches before it may be missing, and its epoch may be fenced. The producer's next fence makes
    /// its outcome definite, or tells that it is unknown.
    pub(crate) fn check(&self, header: &BatchHeader) -> SequenceCheck {
        let Some((stamp, base_sequence)) = numbered(header) else { return SequenceCheck::Accept };
        let Some(producer) = self.get(stamp.id) else {
            let expected = Sequence::ZERO;
            let begins = base_sequence == expected;
            return if begins { SequenceCheck::Accept } else { SequenceCheck::OutOfOrder { expected } };
        };
        // Before the epoch: the fence may have told the producer that the batch is in the log.
        if let Some(batch) = producer.find(stamp.epoch, base_sequence, records(header)) {
            return SequenceCheck::Duplicate(batch.base_offset..batch.next_offset());
        }
        if stamp.epoch < producer.epoch {
            return SequenceCheck::Fenced { current: producer.epoch };
        }
        producer.check_next(stamp.id, stamp.epoch, base_sequence)
    }

    /// Begins an epoch of a producer, and returns the last record of its earlier epochs; if it has none, the last
    /// record of its `former` ids. An epoch that has begun already is not changed. Returns the current epoch as the
    /// error if that is newer.
    pub(crate) fn fence(
        &mut self,
        producer: ProducerIdentity,
        former: &[ProducerId],
        now: Timestamp,
    ) -> Result<Option<LastWritten>, ProducerEpoch> {
        let ProducerIdentity { id, epoch } = producer;
        let begun = self.get(id).map(|state| state.epoch);
        if let Some(current) = begun.filter(|current| epoch < *current) {
            return Err(current);
        }
        let of_former = former.iter().filter_map(|id| self.last_written(*id)).max_by_key(|last| last.offset);
        let state = self.map_of(id).entry(id).or_insert_with(|| ProducerState::new(epoch, now));
        state.seen = now;
        if begun != Some(epoch) {
            if state.epoch < epoch {
                state.begin(producer);
            }
            state.previous = state.previous.take().or(of_former.map(Box::new));
        }
        Ok(state.previous())
    }

    /// The last record that a producer wrote, in any epoch; none if it is not remembered.
    pub fn last_written(&self, id: ProducerId) -> Option<LastWritten> {
        self.get(id)?.last_written(id)
    }

    /// The offsets of a batch that is in the log already, if it is one of its producer's latest.
    pub fn retry_of(&self, header: &BatchHeader) -> Option<Range<Offset>> {
        match self.check(header) {
            SequenceCheck::Duplicate(offsets) => Some(offsets),
            _ => None,
        }
    }

    /// Whether a producer is remembered.
    pub fn remembers(&self, id: ProducerId) -> bool {
        self.get(id).is_some()
    }

    /// The named producers, and when each last appended or was fenced, by the clock of this process.
    pub fn named(&self) -> impl ExactSizeIterator<Item = (ProducerId, Timestamp)> {
        self.named.iter().map(|(id, producer)| (*id, producer.seen))
    }

    /// Remembers a batch that is now in the log.
    pub(crate) fn note(&mut self, header: &BatchHeader, now: Timestamp) {
        let Some((stamp, base_sequence)) = numbered(header) else { return };
        let producer = self.map_of(stamp.id).entry(stamp.id).or_insert_with(|| ProducerState::new(stamp.epoch, now));
        match producer.epoch.cmp(&stamp.epoch) {
            Ordering::Less => producer.begin(ProducerIdentity { id: stamp.id, epoch: stamp.epoch }),
            Ordering::Equal => {}
            // Only when batches are replayed: it was forgotten in between.
            Ordering::Greater => *producer = ProducerState::new(stamp.epoch, now),
        }
        producer.seen = now;
        producer.remember(RecentBatch {
            epoch: stamp.epoch,
            base_sequence,
            base_offset: header.base_offset,
            records: records(header),
        });
        debug_assert!(producer.is_sound(stamp.id, header.next_offset()), "a snapshot of it is taken for damaged");
    }

    /// Moves times of another process's clock to this one's.
    pub(crate) fn restart(&mut self, now: Timestamp) {
        let Some(last) = self.iter().map(|(_, producer)| producer.seen).max() else { return };
        for producer in self.unnamed.values_mut().chain(self.named.values_mut()) {
            let age = last.millis_since(producer.seen);
            producer.seen = Timestamp::from_millis(now.as_millis().saturating_sub_unsigned(age));
        }
    }

    /// Forgets producers without a name that were silent too long, and the longest silent ones beyond `most`.
    pub(crate) fn expire(&mut self, now: Timestamp, expiry_ms: u64, most: usize) {
        self.unnamed.retain(|_, producer| now.millis_since(producer.seen) <= expiry_ms);
        if self.unnamed.len() <= most {
            return;
        }
        // Replayed producers all appended at the same time: then their last offsets decide. A producer that was only
        // fenced comes last.
        let last_offset =
            |producer: &ProducerState| producer.batches.back().map_or(Offset::MAX, RecentBatch::next_offset);
        let mut by_age: Vec<_> = self.unnamed.iter().map(|(id, p)| (p.seen, last_offset(p), *id)).collect();
        by_age.sort_unstable();
        for (.., id) in &by_age[..self.unnamed.len() - most] {
            self.unnamed.remove(id);
        }
        debug_assert_eq!(self.unnamed.len(), most, "each producer has one state");
    }

    /// Forgets named producers, except those to keep.
    pub(crate) fn forget_named(&mut self, is_kept: impl Fn(ProducerId) -> bool) {
        self.named.retain(|id, _| is_kept(*id));
    }

    /// Keeps the producers within their limit. Dropping an eighth at once, it need not scan them often.
    pub(crate) fn bound(&mut self, now: Timestamp, options: &LogOptions) {
        let most = options.producers_max;
        if most < self.unnamed.len() {
            self.expire(now, options.producer_expiry_ms, most - most / 8);
        }
    }

    /// Base offsets of the batches that are remembered.
    pub(crate) fn remembered(&self) -> HashSet<Offset> {
        self.iter().flat_map(|(_, producer)| &producer.batches).map(|batch| batch.base_offset).collect()
    }

    /// How many producers are remembered.
    pub fn len(&self) -> usize {
        self.unnamed.len() + self.named.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn get(&self, id: ProducerId) -> Option<&ProducerState> {
        if id.is_named() { self.named.get(&id) } else { self.unnamed.get(&id) }
    }

    fn map_of(&mut self, id: ProducerId) -> &mut BTreeMap<ProducerId, ProducerState> {
        if id.is_named() { &mut self.named } else { &mut self.unnamed }
    }

    fn iter(&self) -> impl Iterator<Item = (&ProducerId, &ProducerState)> {
        self.unnamed.iter().chain(&self.named)
    }
}

impl FromIterator<(ProducerId, ProducerState)> for ProducerStates {
    fn from_iter<T: IntoIterator<Item = (ProducerId, ProducerState)>>(states: T) -> Self {
        let (named, unnamed) = states.into_iter().partition(|(id, _)| id.is_named());
        Self { unnamed, named }
    }
}

/// The producer's stamp and the batch's first sequence; control batches have none.
fn numbered(header: &BatchHeader) -> Option<(ProducerStamp, Sequence)> {
    let stamp = header.producer?;
    Some((stamp, stamp.base_sequence?))
}

/// How many offsets and sequences the batch takes, also if compaction removed records of it.
fn records(header: &BatchHeader) -> u32 {
    header.last_offset_delta.saturating_add(1)
}

#[cfg(test)]
mod tests;
