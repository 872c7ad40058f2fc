//! Records whose deadline passes while their batch is in the window.
//!
//! A batch that is certainly not in the log continues without them, under a new sequence. One that may be in the log
//! continues unchanged for its other records, and is given up once none waits for an outcome.

use super::SequenceWindow;
use crate::error::ProduceError;
use crate::producer::in_flight::{BatchState, SequenceGap, SettledRecords};
use crate::producer::promise::ExpiredRecords;
use tokio::time::Instant;

impl SequenceWindow {
    /// Fails the records whose deadline passed.
    pub(in crate::producer) fn expire(&mut self, now: Instant) -> Vec<SettledRecords> {
        let (mut settled, mut at) = (Vec::new(), 0);
        while at < self.batches.len() {
            let before = self.batches.len();
            settled.extend(self.expire_batch(at, now));
            at += usize::from(self.batches.len() == before); // Otherwise the next batch stands here now.
        }
        self.pop_acked();
        settled
    }

    fn expire_batch(&mut self, at: usize, now: Instant) -> Vec<SettledRecords> {
        if self.batches[at].earliest_deadline().is_none_or(|earliest| now < earliest) {
            return Vec::new();
        }
        let (may_be_written, others_wait) = {
            let batch = &self.batches[at];
            (batch.may_be_written(), !batch.promise.expires_whole(now))
        };
        let expired = self.batches[at].promise.expire(now).into_iter();
        let last = self.last_error.as_ref();
        let mut settled: Vec<_> = expired
            .map(|ExpiredRecords { promise, deadline }| {
                let topic_partition = promise.topic_partition();
                let error = ProduceError::timed_out(topic_partition, deadline.limit(), may_be_written, last);
                SettledRecords { promise, reserved: 0, outcome: Err(error) }
            })
            .collect();
        if others_wait && !may_be_written {
            self.hold_for_new_sequence(at);
        } else if !others_wait && let Some(Err(error)) = settled.last().map(|last| last.outcome.clone()) {
            settled.push(self.give_up(at, may_be_written, error));
        }
        settled
    }

    /// Holds a batch that is certainly not in the log until it gets another sequence, without its settled records.
    pub(super) fn hold_for_new_sequence(&mut self, at: usize) {
        let batch = &mut self.batches[at];
        debug_assert!(!batch.in_doubt, "{batch:?}");
        batch.state = BatchState::NeedsSequence;
        let first_missing = batch.first;
        self.pause_at(SequenceGap { first_missing, unusable: false });
    }
}
