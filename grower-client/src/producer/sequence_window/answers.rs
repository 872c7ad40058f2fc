//! Answers to attempts: acknowledgements, and errors with the action that follows.

use super::PRODUCER_KNOWN_FOR;
use super::SequenceWindow;
use crate::error::{ProduceError, RequestError};
use crate::producer::delivery::BatchAck;
use crate::producer::in_flight::{AnswerEffects, BatchSizeChange, BatchState, SequenceGap, SettledRecords, follows};
use crate::producer::retry::{self, RetryAction};
use grower_protocol::message::Outcome;
use tokio::time::Instant;

impl SequenceWindow {
    pub(super) fn acked(&mut self, at: usize, ack: BatchAck, now: Instant, effects: &mut AnswerEffects) {
        self.known_until = Some(now + PRODUCER_KNOWN_FOR);
        self.failures = 0;
        self.not_before = None;
        let batch = &mut self.batches[at];
        batch.state = BatchState::Acked;
        let promise = batch.promise.take();
        effects.settled.push(SettledRecords {
            promise,
            reserved: std::mem::take(&mut batch.reserved),
            outcome: Ok(ack),
        });
        let first = batch.first;
        if let Some(gap) = self.gap.as_mut().filter(|gap| follows(first, gap.first_missing)) {
            gap.unusable = true; // A batch after the gap is in the log.
        }
    }

    pub(super) fn failed(&mut self, at: usize, error: RequestError, now: Instant, effects: &mut AnswerEffects) {
        effects.metadata_outdated |= retry::looks_outdated(&error);
        let action = self.retry_action(at, &error);
        if self.last_error.is_none() || !action.follows_from_another() {
            self.last_error = Some(error.clone());
        }
        let batch = &mut self.batches[at];
        match action {
            RetryAction::Resend { after_backoff } => {
                batch.state = BatchState::Waiting;
                if after_backoff {
                    self.back_off(now);
                }
            }
            RetryAction::HoldForNewProducerId => {
                batch.state = BatchState::NeedsSequence;
                let first_missing = batch.first;
                self.pause_at(SequenceGap { first_missing, unusable: true });
                self.back_off(now);
            }
            RetryAction::Split => self.split(at, effects),
            RetryAction::GiveUp => {
                if retry::is_too_large(&error) {
                    effects.batch_size = Some(BatchSizeChange::Restore);
                }
                let (topic_partition, in_doubt) = (batch.promise.topic_partition().clone(), batch.in_doubt);
                let error = ProduceError::Failed { topic_partition, source: error, in_doubt };
                effects.settled.push(self.give_up(at, in_doubt, error));
            }
            RetryAction::HoldForNewSequence => batch.state = BatchState::NeedsSequence,
        }
    }

    /// Decides how a batch continues after an error, and records whether it is in doubt.
    fn retry_action(&mut self, at: usize, error: &RequestError) -> RetryAction {
        let first = self.batches.iter().position(|batch| batch.state != BatchState::Acked) == Some(at);
        let batch = &mut self.batches[at];
        if batch.topic_id != self.topic_id {
            batch.in_doubt = false; // The log of its topic is deleted.
            return RetryAction::HoldForNewProducerId;
        }
        batch.in_doubt |= error.outcome() == Outcome::Unknown;
        let case = retry::RetryContext {
            in_doubt: batch.in_doubt,
            first,
            behind_gap: self.gap.is_some_and(|gap| follows(batch.first, gap.first_missing)),
            idempotent: self.identity.is_some(),
            divisible: 1 < batch.count,
        };
        retry::retry_action(error, case)
    }
}
