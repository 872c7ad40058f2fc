//! Answers to attempts: acknowledgements, and errors with the action that follows.

use super::PRODUCER_KNOWN_FOR;
use super::SequenceWindow;
use crate::error::{ProduceError, RequestError};
use crate::producer::delivery::BatchAck;
use crate::producer::in_flight::{AnswerEffects, BatchSizeChange, BatchState, SequenceGap, SettledRecords, follows};
use crate::retry::{self, ProduceAction, ProduceContext, ResendAfter};
use tokio::time::Instant;

impl SequenceWindow {
    pub(super) fn acked(&mut self, at: usize, ack: BatchAck, now: Instant, effects: &mut AnswerEffects) {
        self.failures = 0;
        self.not_before = None;
        let batch = &mut self.batches[at];
        debug_assert_eq!(batch.state, BatchState::InFlight, "a batch is acknowledged once: {batch:?}");
        batch.state = BatchState::Acked;
        let promise = batch.promise.take();
        effects.settled.push(SettledRecords {
            promise,
            reserved: std::mem::take(&mut batch.reserved),
            outcome: Ok(ack),
        });
        if batch.in_log {
            return; // The ack tells nothing of the current epoch.
        }
        self.known_until = Some(now + PRODUCER_KNOWN_FOR);
        let first = batch.first;
        if let Some(gap) = self.gap.as_mut().filter(|gap| follows(first, gap.first_missing)) {
            gap.unusable = true; // A batch after the gap is in the log.
        }
    }

    pub(super) fn failed(&mut self, at: usize, error: RequestError, now: Instant, effects: &mut AnswerEffects) {
        effects.metadata_outdated |= retry::suggests_outdated_metadata(&error);
        let action = self.after_error(at, &error);
        if self.last_error.is_none() || !action.follows_from_another() {
            self.last_error = Some(error.clone());
        }
        let batch = &mut self.batches[at];
        match action {
            ProduceAction::Resend(after) => {
                batch.state = BatchState::Waiting;
                if after == ResendAfter::Wait {
                    self.back_off(&error, now);
                }
            }
            ProduceAction::HoldForFence => {
                batch.state = if batch.in_doubt { BatchState::Waiting } else { BatchState::NeedsSequence };
                let first_missing = batch.first;
                self.pause_at(SequenceGap { first_missing, unusable: true });
                self.back_off(&error, now);
            }
            ProduceAction::Split => self.split(at, effects),
            ProduceAction::GiveUp => {
                if retry::is_too_large(&error) {
                    effects.batch_size = Some(BatchSizeChange::Restore);
                }
                let in_doubt = batch.in_doubt;
                let error = ProduceError::failed(batch.promise.topic_partition(), &error, in_doubt);
                effects.settled.push(self.give_up(at, in_doubt, error));
            }
            ProduceAction::HoldForNewSequence => batch.state = BatchState::NeedsSequence,
        }
    }

    /// Decides how a batch continues after an error, and records whether it is in doubt.
    fn after_error(&mut self, at: usize, error: &RequestError) -> ProduceAction {
        let is_first = self.batches.iter().position(|batch| batch.state != BatchState::Acked) == Some(at);
        let batch = &mut self.batches[at];
        let context = ProduceContext {
            in_doubt: batch.in_doubt,
            topic_recreated: batch.topic_id != self.topic_id,
            is_first,
            behind_gap: self.gap.is_some_and(|gap| follows(batch.first, gap.first_missing)),
            idempotent: self.identity.is_some(),
            divisible: 1 < batch.count,
        };
        let (action, in_doubt) = retry::after_produce(error, context);
        batch.in_log &= in_doubt;
        batch.in_doubt = in_doubt;
        if batch.in_log && !matches!(action, ProduceAction::Resend(_)) {
            return ProduceAction::GiveUp; // The broker knows the batch no more.
        }
        action
    }
}
