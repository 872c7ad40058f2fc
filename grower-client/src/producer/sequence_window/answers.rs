//! Answers to attempts: acknowledgements, and errors with the action that follows.

use super::SequenceWindow;
use super::{PRODUCER_KNOWN_FOR, SEARCHES_MAX};
use crate::error::{ProduceError, RequestError};
use crate::producer::delivery::BatchAck;
use crate::producer::in_flight::{AnswerEffects, BatchSizeChange, BatchState, SequenceGap, SettledRecords, follows};
use crate::retry::{self, ProduceAction, ProduceContext, ResendAfter};
use grower_protocol::message::RecordRange;
use tokio::time::Instant;

impl SequenceWindow {
    pub(super) fn acked(&mut self, at: usize, ack: BatchAck, now: Instant, effects: &mut AnswerEffects) {
        self.failures = 0;
        self.searches = 0;
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
            ProduceAction::FailNamedRecords => self.fail_named_records(at, &error, effects),
            ProduceAction::Split => {
                if retry::is_too_large(&error) {
                    effects.batch_size = Some(BatchSizeChange::Halve(batch.plain_bytes));
                } else {
                    self.searches += 1;
                }
                self.split(at);
            }
            ProduceAction::GiveUp => self.fail_batch(at, &error, effects),
            ProduceAction::HoldForNewSequence => batch.state = BatchState::NeedsSequence,
        }
    }

    /// Fails the unsettled records of a batch.
    fn fail_batch(&mut self, at: usize, error: &RequestError, effects: &mut AnswerEffects) {
        if retry::is_too_large(error) {
            effects.batch_size = Some(BatchSizeChange::Restore);
        }
        let batch = &self.batches[at];
        let in_doubt = batch.in_doubt;
        let error = ProduceError::failed(batch.promise.topic_partition(), error, in_doubt);
        effects.settled.push(self.give_up(at, in_doubt, error));
    }

    /// Fails the records that the broker names. The others are sent again in their order.
    fn fail_named_records(&mut self, at: usize, error: &RequestError, effects: &mut AnswerEffects) {
        let promise = &mut self.batches[at].promise;
        let positions = |range: &RecordRange| range.first..range.first.saturating_add(range.count);
        let named = promise.take_at(retry::refused_records(error).iter().map(positions));
        let leaves_none_out = promise.settled_count() == 0; // It names records that the batch does not hold.
        let ends = promise.is_settled() || leaves_none_out;
        let outcome = Err(ProduceError::failed(named.topic_partition(), error, false));
        effects.settled.push(SettledRecords { promise: named, reserved: 0, outcome });
        if ends {
            self.fail_batch(at, error, effects);
        } else {
            self.hold_for_new_sequence(at);
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
            divisible: batch.is_divisible(),
            may_search: self.searches < SEARCHES_MAX,
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
