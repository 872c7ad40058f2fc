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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProducerStates(BTreeMap<ProducerId, ProducerState>);

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
    /// Checks a batch. A producer without state may begin with any sequence: its state expired, or it is new here.
    pub(crate) fn check(&self, header: &BatchHeader) -> SequenceCheck {
        let Some((stamp, base_sequence)) = numbered(header) else { return SequenceCheck::Accept };
        let Some(producer) = self.0.get(&stamp.id) else { return SequenceCheck::Accept };
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
        let begun = self.0.get(&id).map(|state| state.epoch);
        if let Some(current) = begun.filter(|current| epoch < *current) {
            return Err(current);
        }
        let of_former = former.iter().filter_map(|id| self.last_written(*id)).max_by_key(|last| last.offset);
        let state = self.0.entry(id).or_insert_with(|| ProducerState::new(epoch, now));
        state.seen = now;
        if begun != Some(epoch) {
            if state.epoch < epoch {
                state.begin(producer);
            }
            state.previous = state.previous.take().or(of_former.map(Box::new));
        }
        Ok(state.previous())
    }

    /// The last record that a producer wrote, in any epoch.
    pub(crate) fn last_written(&self, id: ProducerId) -> Option<LastWritten> {
        self.0.get(&id)?.last_written(id)
    }

    /// Remembers a batch that is now in the log.
    pub(crate) fn note(&mut self, header: &BatchHeader, now: Timestamp) {
        let Some((stamp, base_sequence)) = numbered(header) else { return };
        let producer = self.0.entry(stamp.id).or_insert_with(|| ProducerState::new(stamp.epoch, now));
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
        // Replayed producers all appended at the same time: then their last offsets decide. A producer that was only
        // fenced comes last.
        let last_offset =
            |producer: &ProducerState| producer.batches.back().map_or(Offset::MAX, RecentBatch::next_offset);
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
