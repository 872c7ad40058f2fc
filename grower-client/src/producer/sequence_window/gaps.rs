//! Gaps in the sequences (rule 3): how they pause the window, and how batches get new sequences.

use super::SequenceWindow;
use super::fences::NextIdentity;
use crate::error::ProduceError;
use crate::producer::in_flight::{BatchState, InFlightBatch, SequenceGap, SettledRecords, follows};
use crate::producer::split::part;
use grower_protocol::ids::{Sequence, TopicId};
use grower_protocol::message::Outcome;
use std::ops::Range;

impl SequenceWindow {
    /// Sets the topic's id. If it changed, the old log is deleted, so nothing is in doubt. A batch in flight is
    /// renumbered if its attempt fails.
    pub(in crate::producer) fn set_topic_id(&mut self, topic_id: TopicId) {
        if topic_id == self.topic_id {
            return;
        }
        self.topic_id = topic_id;
        self.open_doubt = false;
        self.last_written = None;
        if let (true, Some(identity)) = (self.is_named, self.identity) {
            self.next_identity = NextIdentity::Given(identity); // The epoch has not begun in the new log.
        }
        let first_missing = self.batches.front().map_or(self.next_sequence, |batch| batch.first);
        self.pause_at(SequenceGap { first_missing, unusable: true });
        for batch in self.batches.iter_mut().filter(|batch| batch.state == BatchState::Waiting) {
            batch.state = BatchState::NeedsSequence;
            (batch.in_doubt, batch.in_log) = (false, false);
        }
    }

    /// Removes a batch that failed and pauses the window at its sequence. `gap_unusable` forbids to use that one again.
    pub(super) fn give_up(&mut self, at: usize, gap_unusable: bool, error: ProduceError) -> SettledRecords {
        let batch = &self.batches[at];
        if !batch.in_log {
            let first_missing = batch.first;
            let acked_after = self.batches.iter().skip(at).any(|later| later.state == BatchState::Acked);
            self.pause_at(SequenceGap { first_missing, unusable: gap_unusable || acked_after });
            self.open_doubt |= self.identity.is_some() && error.outcome() == Outcome::Unknown;
        }
        self.remove(at, error)
    }

    /// Removes a batch that failed.
    pub(super) fn remove(&mut self, at: usize, error: ProduceError) -> SettledRecords {
        let batch = self.batches.remove(at).expect("the caller found it there");
        SettledRecords { promise: batch.promise, reserved: batch.reserved, outcome: Err(error) }
    }

    /// Fails all batches that are certainly not in the log, after the failure `first`.
    pub(in crate::producer) fn stop_behind(&mut self, first: &ProduceError) -> Vec<SettledRecords> {
        let is_unwritten = |batch: &InFlightBatch| batch.is_unresolved() && batch.may_renumber();
        let mut settled = Vec::new();
        while let Some(at) = self.batches.iter().position(is_unwritten) {
            let error = ProduceError::stopped(self.batches[at].promise.topic_partition(), first);
            settled.push(self.give_up(at, false, error));
        }
        self.pop_acked();
        settled
    }

    /// Pauses the window at a gap. The earlier of two gaps counts.
    pub(super) fn pause_at(&mut self, new: SequenceGap) {
        let new = SequenceGap { unusable: new.unusable && self.identity.is_some(), ..new };
        self.gap = Some(match self.gap {
            None => new,
            Some(old) => SequenceGap {
                first_missing: if follows(new.first_missing, old.first_missing) {
                    old.first_missing
                } else {
                    new.first_missing
                },
                unusable: old.unusable || new.unusable,
            },
        });
    }

    /// Replaces a batch that the broker refuses by its two halves.
    pub(super) fn split(&mut self, at: usize) {
        let mut batch = self.batches.remove(at).expect("the caller found it there");
        debug_assert!(batch.is_divisible() && !batch.in_doubt, "{batch:?} cannot be split");
        self.pause_at(SequenceGap { first_missing: batch.first, unusable: false });
        batch.state = BatchState::NeedsSequence;
        if batch.withdraw_settled(self.codec) {
            return self.batches.insert(at, batch); // It is smaller already.
        }
        let count = batch.count / 2;
        let tail_promise = batch.promise.split_off(count);
        let half = |positions: Range<u32>| part(&batch.bytes, self.codec, std::slice::from_ref(&positions));
        let (head, tail) = (half(0..count), half(count..batch.count));
        (batch.bytes, batch.plain_bytes) = head;
        let tail = InFlightBatch {
            id: self.next_id,
            promise: tail_promise,
            reserved: 0, // The first half holds the memory of both.
            count: batch.count - count,
            bytes: tail.0,
            plain_bytes: tail.1,
            ..batch
        };
        self.next_id += 1;
        batch.count = count;
        self.batches.insert(at, tail);
        self.batches.insert(at, batch);
        self.check();
    }

    /// Ends the pause at a usable gap once all batches behind it may get new sequences.
    pub(super) fn resume_after_gap(&mut self) {
        if let Some(SequenceGap { first_missing, unusable: false }) = self.gap
            && !self.is_sending()
            && self
                .batches
                .iter()
                .all(|batch| batch.in_log || !follows(batch.first, first_missing) || batch.may_renumber())
        {
            self.renumber_from(first_missing, |batch| follows(batch.first, first_missing));
        }
    }

    /// Numbers the unacknowledged batches that `which` selects, from `from` on, and makes them ready to send. Those in
    /// the log keep their sequences.
    pub(super) fn renumber_from(&mut self, from: Sequence, which: impl Fn(&InFlightBatch) -> bool) {
        self.gap = None;
        self.next_sequence = from;
        let (identity, topic_id, codec) = (self.identity, self.topic_id, self.codec);
        let is_open = |batch: &InFlightBatch| batch.is_unresolved() && !batch.in_log;
        for batch in self.batches.iter_mut().filter(|batch| is_open(batch) && which(batch)) {
            assert!(batch.may_renumber(), "a batch that may be in the log would be written twice: {batch:?}");
            batch.withdraw_settled(codec);
            batch.first = self.next_sequence;
            batch.topic_id = topic_id;
            batch.state = BatchState::Waiting;
            self.next_sequence = batch.next_sequence();
            if let Some(identity) = identity {
                batch.restamp(identity);
            }
        }
        self.check();
    }
}
