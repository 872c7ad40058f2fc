//! Fences (rule 3): how the next epoch of the producer in the partition resolves all doubt.

use super::SequenceWindow;
use crate::error::{ProduceError, RequestError};
use crate::producer::in_flight::{FenceAttempt, FenceResult, InFlightBatch, SettledRecords};
use crate::retry::{self, FenceAction};
use grower_protocol::ids::Sequence;
use grower_protocol::message::{ErrorCode, Failure, LastWritten, ProducerIdentity};
use tokio::time::Instant;

/// The step towards the next epoch.
#[derive(Debug)]
pub(in crate::producer) enum FenceStep {
    /// Begin this epoch in the partition.
    Fence(FenceAttempt),
    /// Request an identity in place of this one.
    Identify(ProducerIdentity),
}

/// The source of the identity for the next epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextIdentity {
    /// The next epoch of the same id, which no other process uses.
    NextEpoch,
    /// The producer has this one, which has not begun in the partition.
    Given(ProducerIdentity),
    /// The broker gives one in place of this one.
    RequestedFor(ProducerIdentity),
}

impl SequenceWindow {
    /// Whether the window needs another epoch or identity to continue.
    pub(super) fn needs_fence(&self) -> bool {
        self.gap.is_some_and(|gap| gap.unusable)
    }

    /// Whether a batch was given up in doubt and may still reach the log, since no fence has followed.
    pub(in crate::producer) fn has_open_doubt(&self) -> bool {
        self.open_doubt
    }

    /// Returns the step towards the next epoch, if the window needs one and no batch is in flight.
    pub(in crate::producer) fn fence_step(&self) -> Option<FenceStep> {
        let identity = self.identity.filter(|_| self.needs_fence() && !self.is_sending())?;
        let next = match self.next_identity {
            NextIdentity::NextEpoch => next_epoch(identity).ok_or(identity),
            NextIdentity::Given(producer) => Ok(producer),
            NextIdentity::RequestedFor(old) => Err(old),
        };
        Some(match next {
            Ok(producer) => FenceStep::Fence(FenceAttempt { topic: self.topic_id, producer }),
            Err(old) => FenceStep::Identify(old),
        })
    }

    /// Handles the answer to a fence; returns the records whose outcome stays unknown.
    pub(in crate::producer) fn fenced(
        &mut self,
        attempt: FenceAttempt,
        result: FenceResult,
        now: Instant,
    ) -> Vec<SettledRecords> {
        if attempt.topic != self.topic_id {
            return Vec::new(); // The fence was for a log that is deleted.
        }
        debug_assert!(self.needs_fence() && !self.is_sending(), "the window changed during the fence: {self:?}");
        match result {
            Ok(last) => {
                self.failures = 0;
                self.not_before = None;
                self.open_doubt = false;
                self.identity = Some(attempt.producer);
                self.last_written.get_or_insert(last);
                if self.is_named {
                    self.next_identity = NextIdentity::RequestedFor(attempt.producer);
                }
                let settled = self.resolve_doubt(last);
                if self.is_named || next_epoch(attempt.producer).is_some() {
                    self.known_until = None;
                    self.renumber_from(last.map_or(Sequence::ZERO, |last| last.sequence.wrapping_add(1)), |_| true);
                } // Without a name the largest epoch only closes its id.
                settled
            }
            Err(error) => {
                self.back_off(&error, now);
                let mut settled = Vec::new();
                if retry::after_fence(&error, self.is_named) == FenceAction::NewIdentity {
                    self.next_identity = NextIdentity::RequestedFor(attempt.producer);
                    if !self.is_named {
                        self.open_doubt = false; // The broker refuses the id, so no fence can follow.
                        settled = self.give_up_doubt(&error);
                    }
                }
                self.last_error = Some(error);
                settled
            }
        }
    }

    /// Decides for each batch in doubt whether it is in the log, by the last record of the producer there.
    fn resolve_doubt(&mut self, last: Option<LastWritten>) -> Vec<SettledRecords> {
        let Some(last) = last else {
            let forgotten = Failure::new(ErrorCode::UnknownProducer, "the broker remembers no batch of this producer");
            return self.give_up_doubt(&forgotten.into());
        };
        for batch in self.batches.iter_mut().filter(|batch| batch.in_doubt && batch.is_unresolved()) {
            batch.in_log |= batch.is_written_by(&last);
            batch.in_doubt = batch.in_log;
        }
        Vec::new()
    }

    /// Fails the batches whose doubt cannot be resolved.
    fn give_up_doubt(&mut self, error: &RequestError) -> Vec<SettledRecords> {
        let is_lost = |batch: &InFlightBatch| batch.in_doubt && !batch.in_log && batch.is_unresolved();
        let mut settled = Vec::new();
        while let Some(at) = self.batches.iter().position(is_lost) {
            let error = ProduceError::failed(self.batches[at].promise.topic_partition(), error, true);
            settled.push(self.remove(at, error));
        }
        self.pop_acked();
        settled
    }

    /// Continues under another identity: that of the name, which a fence begins, or an id that no batch has used.
    pub(in crate::producer) fn set_identity(&mut self, identity: ProducerIdentity) {
        if self.is_named {
            self.next_identity = NextIdentity::Given(identity);
        } else if self.needs_fence() {
            debug_assert!(!self.is_sending(), "the window changed during the request for an id: {self:?}");
            self.identity = Some(identity);
            self.next_identity = NextIdentity::NextEpoch;
            self.known_until = None;
            self.renumber_from(Sequence::ZERO, |_| true);
        }
    }

    /// The answer to the first fence: the last record before this producer's first one.
    pub(in crate::producer) fn last_written(&self) -> Option<Option<LastWritten>> {
        self.last_written
    }

    /// Handles a failed request for an identity.
    pub(in crate::producer) fn identity_failed(&mut self, error: RequestError, now: Instant) {
        debug_assert!(self.identity.is_some(), "only an idempotent producer needs an id");
        self.back_off(&error, now);
        self.last_error = Some(error);
    }
}

/// Returns the next epoch of an id; `None` after the largest one.
fn next_epoch(identity: ProducerIdentity) -> Option<ProducerIdentity> {
    let epoch = identity.epoch.next();
    (epoch.value() <= i16::MAX.cast_unsigned()).then_some(ProducerIdentity { epoch, ..identity })
}
