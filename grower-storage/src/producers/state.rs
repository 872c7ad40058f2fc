//! One producer of a log: its epoch, and its latest batches.

use super::SequenceCheck;
use grower_protocol::ids::{LastWritten, Offset, ProducerEpoch, ProducerId, ProducerIdentity, Sequence, Timestamp};
use std::collections::VecDeque;

/// How many batches of a producer are remembered: as many as a client keeps in flight.
const BATCHES_REMEMBERED: usize = 5;

/// The state of one producer.
///
/// The batches of earlier epochs end with the record before the epoch; all later ones are of the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProducerState {
    /// The latest epoch that a batch or a fence began.
    pub(super) epoch: ProducerEpoch,
    /// When it last appended or was fenced, by the clock of this process.
    pub(super) seen: Timestamp,
    /// The last record before the epoch began. Most producers have one epoch, so it takes no memory of theirs.
    pub(super) previous: Option<Box<LastWritten>>,
    /// The latest batches of all epochs, oldest first.
    pub(super) batches: VecDeque<RecentBatch>,
}

/// One batch that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecentBatch {
    pub(super) epoch: ProducerEpoch,
    pub(super) base_sequence: Sequence,
    pub(super) base_offset: Offset,
    /// The number of records, at least 1.
    pub(super) records: u32,
}

impl ProducerState {
    pub(super) fn new(epoch: ProducerEpoch, seen: Timestamp) -> Self {
        Self { epoch, seen, previous: None, batches: VecDeque::with_capacity(BATCHES_REMEMBERED) }
    }

    /// The last record of all epochs.
    pub(super) fn last_written(&self, id: ProducerId) -> Option<LastWritten> {
        self.batches.back().map_or_else(|| self.previous(), |batch| Some(batch.last_record(id)))
    }

    /// The last record before the epoch began.
    pub(super) fn previous(&self) -> Option<LastWritten> {
        self.previous.as_deref().copied()
    }

    /// Begins a newer epoch.
    pub(super) fn begin(&mut self, producer: ProducerIdentity) {
        debug_assert!(self.epoch < producer.epoch, "an epoch begins once");
        self.previous = self.last_written(producer.id).map(Box::new);
        self.epoch = producer.epoch;
    }

    /// The remembered batch with these numbers. Another epoch's batch with the same sequences is another batch.
    pub(super) fn find(&self, epoch: ProducerEpoch, base: Sequence, records: u32) -> Option<&RecentBatch> {
        let is_same =
            |batch: &&RecentBatch| batch.base_sequence == base && batch.records == records && batch.epoch == epoch;
        self.batches.iter().find(is_same)
    }

    /// Whether a batch of this epoch may come next. An epoch begins at 0, or continues the sequences of the one before.
    pub(super) fn check_next(&self, id: ProducerId, epoch: ProducerEpoch, base: Sequence) -> SequenceCheck {
        let expected = self.last_written(id).map_or(Sequence::ZERO, |last| last.sequence.wrapping_add(1));
        let begins = || self.batches.back().is_none_or(|last| last.epoch < epoch);
        let follows = base == expected || (base == Sequence::ZERO && begins());
        if follows { SequenceCheck::Accept } else { SequenceCheck::OutOfOrder { expected } }
    }

    /// Remembers a batch of the epoch.
    pub(super) fn remember(&mut self, batch: RecentBatch) {
        debug_assert_eq!(batch.epoch, self.epoch, "a batch of an earlier epoch was appended");
        if self.batches.len() == BATCHES_REMEMBERED {
            self.batches.pop_front();
        }
        let latest = self.batches.back().map_or(Offset::ZERO, RecentBatch::next_offset);
        debug_assert!(latest <= batch.base_offset, "batches are noted in the order of the log");
        self.batches.push_back(batch);
    }

    /// Whether it is remembered by a few batches in the order of the log, all of them before `end`.
    pub(super) fn is_sound(&self, id: ProducerId, end: Offset) -> bool {
        let in_order = |a: &&RecentBatch, b: &&RecentBatch| a.next_offset() <= b.base_offset && a.epoch <= b.epoch;
        let whole = |batch: &RecentBatch| 0 < batch.records && batch.next_offset() <= end;
        self.batches.len() <= BATCHES_REMEMBERED
            && self.batches.iter().is_sorted_by(in_order)
            && self.batches.iter().all(whole)
            && self.divides_batches(id, end)
    }

    /// Whether the record before the epoch stands between the batches of earlier epochs and those of the epoch.
    fn divides_batches(&self, id: ProducerId, end: Offset) -> bool {
        let earlier = self.batches.iter().rfind(|batch| batch.epoch < self.epoch);
        let of_epoch = self.batches.iter().find(|batch| batch.epoch == self.epoch);
        let first_of_epoch = of_epoch.map_or(end, |batch| batch.base_offset);
        self.batches.back().is_none_or(|last| last.epoch <= self.epoch)
            && earlier.is_none_or(|batch| self.previous() == Some(batch.last_record(id)))
            && self.previous().is_none_or(|previous| previous.offset < first_of_epoch)
    }
}

impl RecentBatch {
    /// The offset after its last record.
    pub(super) fn next_offset(&self) -> Offset {
        self.base_offset.saturating_add(self.records.into())
    }

    fn last_record(&self, id: ProducerId) -> LastWritten {
        let later = self.records.saturating_sub(1);
        LastWritten {
            producer: ProducerIdentity { id, epoch: self.epoch },
            sequence: self.base_sequence.wrapping_add(later),
            offset: self.base_offset.saturating_add(later.into()),
        }
    }
}
