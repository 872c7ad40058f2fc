//! The queue of one partition: records that form batches, batches in flight, and the right to send.

use super::accumulator::{Accumulator, BatchSettings, PushedRecord};
use super::delivery::BatchCompletion;
use super::in_flight::{
    AnswerEffects, AttemptResult, BatchId, BatchSizeChange, FenceAttempt, FenceResult, NumberedBatch, SendAttempt,
    SettledRecords,
};
use super::on_failure::PartitionStop;
use super::promise::{DeliveryPromise, ExpiredRecords};
use super::sequence_window::{FenceStep, SequenceWindow, WindowSettings};
use super::statistics::UnsettledRecords;
use super::unobserved::UnobservedFailures;
use crate::deadline::Deadline;
use crate::error::{ProduceError, RequestError};
use crate::record::TopicPartition;
use bytes::Bytes;
use grower_protocol::batch::RecordRef;
use grower_protocol::ids::{LastWritten, Offset, ProducerIdentity, TopicId};
use std::sync::Arc;
use tokio::time::Instant;

/// The queue of one partition. Pure: it returns [`SendStep`]s and takes their results.
///
/// A caller that takes a step is the queue's only sender until [`PartitionQueue::end_step`], so batches reach the
/// connection in the order of their sequences.
#[derive(Debug)]
pub(super) struct PartitionQueue {
    pub(super) accumulator: Accumulator,
    pub(super) window: SequenceWindow,
    pub(super) stop: PartitionStop,
    has_sender: bool,
    /// A fence or a request for an identity has no answer yet.
    awaits_epoch: bool,
    /// A caller asks for the last record before this producer's first one.
    wants_last_written: bool,
}

/// The next step of a sender.
#[derive(Debug)]
pub(super) enum SendStep {
    /// Build a batch, pass its bytes to [`PartitionQueue::built`] and send the returned attempt.
    Build(NumberedBatch),
    /// Send these batches again, in this order.
    Resend(Vec<SendAttempt>),
    /// Fence the partition and pass the answer to [`PartitionQueue::fenced`].
    Fence(FenceAttempt),
    /// Request an identity in place of this one and pass it to [`PartitionQueue::set_identity`].
    Identify(ProducerIdentity),
}

impl SendStep {
    /// The largest number of attempts that the step sends.
    pub(super) fn attempts(&self) -> usize {
        match self {
            Self::Build(_) => 1,
            Self::Resend(attempts) => attempts.len(),
            Self::Fence(_) | Self::Identify(_) => 0,
        }
    }
}

impl PartitionQueue {
    pub(super) fn new(
        topic_partition: TopicPartition,
        batches: BatchSettings,
        window: WindowSettings,
        topic_id: TopicId,
        identity: Option<ProducerIdentity>,
    ) -> Self {
        Self {
            accumulator: Accumulator::new(topic_partition, batches),
            window: SequenceWindow::new(window, topic_id, identity),
            stop: PartitionStop::default(),
            has_sender: false,
            awaits_epoch: false,
            wants_last_written: false,
        }
    }

    /// Reports failures that no caller observes to `unobserved`.
    pub(super) fn reporting_to(mut self, unobserved: Arc<UnobservedFailures>) -> Self {
        self.accumulator.report_to(unobserved);
        self
    }

    /// Queues a record that holds `reserved` bytes of the producer's memory; see [`Accumulator::push`]. Reads the clock
    /// only for the first record of a batch. [`PartitionQueue::next`] may have a new step, or
    /// [`PartitionQueue::deadline`] may be earlier, if the record [needs attention](PushedRecord::needs_attention).
    pub(super) fn push<D>(
        &mut self,
        record: RecordRef<'_>,
        reserved: usize,
        deadline: Deadline,
        clock: impl Fn() -> Instant,
        deliver: impl FnOnce(&DeliveryPromise, u32) -> D,
    ) -> PushedRecord<D> {
        self.accumulator.push(record, reserved, deadline, clock, deliver)
    }

    /// Queues records as a batch of their own, to append only at this end; see [`Accumulator::push_at`].
    pub(super) fn push_at<'a>(
        &mut self,
        records: impl IntoIterator<Item = RecordRef<'a>>,
        reserved: usize,
        deadline: Deadline,
        expected_end: Offset,
        now: Instant,
    ) -> &DeliveryPromise {
        self.accumulator.push_at(records, reserved, deadline, expected_end, now)
    }

    /// Drops all batches and returns their promises, which report the dropped producer when they are dropped.
    pub(super) fn abandon(&mut self) -> Vec<DeliveryPromise> {
        self.wants_last_written = false;
        let mut promises = self.window.abandon();
        promises.extend(self.accumulator.take_all().map(|batch| batch.promise));
        debug_assert!(!self.is_busy(), "all records are dropped");
        promises
    }

    /// Returns the next step; `None` if another sender is active or no step is possible. [`PartitionQueue::end_step`]
    /// must follow a step that sends.
    pub(super) fn next(&mut self, now: Instant) -> Option<SendStep> {
        if self.has_sender {
            return None;
        }
        let step = self.step(now)?;
        match step {
            SendStep::Fence(_) | SendStep::Identify(_) => self.awaits_epoch = true,
            SendStep::Build(_) | SendStep::Resend(_) => self.has_sender = true,
        }
        Some(step)
    }

    fn step(&mut self, now: Instant) -> Option<SendStep> {
        let attempts = self.window.resend(now);
        if !attempts.is_empty() {
            return Some(SendStep::Resend(attempts));
        }
        if let Some(step) = self.fence_step() {
            return self.window.may_retry(now).then_some(step);
        }
        if !self.window.has_room(now) {
            return None;
        }
        let batch = self.accumulator.take(self.window.is_idle(), now)?;
        Some(SendStep::Build(self.window.assign_sequence(batch, now)))
    }

    /// Returns the step towards the next epoch, if records or callers wait for it.
    fn fence_step(&self) -> Option<SendStep> {
        let step = self.window.fence_step().filter(|_| !self.awaits_epoch && self.needs_connection())?;
        Some(match step {
            FenceStep::Fence(attempt) => SendStep::Fence(attempt),
            FenceStep::Identify(old) => SendStep::Identify(old),
        })
    }

    /// Takes the bytes of a built batch; returns the attempt to send, unless the batch expired meanwhile.
    pub(super) fn built(&mut self, id: BatchId, bytes: Bytes) -> Option<SendAttempt> {
        debug_assert!(self.has_sender, "only the sender builds batches");
        self.window.built(id, bytes)
    }

    /// Ends a step: any caller may take the next one.
    pub(super) fn end_step(&mut self) {
        debug_assert!(self.has_sender, "a step ends once");
        self.has_sender = false;
    }

    /// Handles the answer to [`SendStep::Identify`].
    pub(super) fn set_identity(&mut self, identity: Result<ProducerIdentity, RequestError>, now: Instant) {
        debug_assert!(self.awaits_epoch, "one request for an identity has one answer");
        self.awaits_epoch = false;
        match identity {
            Ok(identity) => self.window.set_identity(identity),
            Err(error) => self.window.identity_failed(error, now),
        }
    }

    /// Handles the answer to [`SendStep::Fence`].
    pub(super) fn fenced(&mut self, attempt: FenceAttempt, result: FenceResult, now: Instant) -> Vec<SettledRecords> {
        debug_assert!(self.awaits_epoch, "one fence has one answer");
        self.awaits_epoch = false;
        let settled = self.window.fenced(attempt, result, now);
        self.wants_last_written &= self.window.last_written().is_none();
        self.with_stopped(settled)
    }

    /// Handles the answer to an attempt.
    pub(super) fn answered(&mut self, id: BatchId, result: AttemptResult, now: Instant) -> AnswerEffects {
        let mut effects = self.window.answered(id, result, now);
        effects.settled = self.with_stopped(std::mem::take(&mut effects.settled));
        match effects.batch_size {
            Some(BatchSizeChange::Halve(bytes)) => self.accumulator.shrink(bytes / 2),
            Some(BatchSizeChange::Restore) => self.accumulator.restore_size(),
            None => {}
        }
        effects
    }

    /// Fails the records whose deadline passed.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<SettledRecords> {
        let mut settled = self.window.expire(now);
        let (expired, mut released) = self.accumulator.expire(now);
        for ExpiredRecords { promise, deadline } in expired {
            let last = self.window.last_error();
            let error = ProduceError::timed_out(promise.topic_partition(), deadline.limit(), false, last);
            let reserved = std::mem::take(&mut released); // The first ones stand for all.
            settled.push(SettledRecords { promise, reserved, outcome: Err(error) });
        }
        debug_assert_eq!(released, 0, "only expired records release memory");
        self.with_stopped(settled)
    }

    /// Fails all records, because the topic is deleted. None is in doubt: the log that it may be in is deleted, too.
    pub(super) fn fail_all(&mut self, error: &RequestError) -> Vec<SettledRecords> {
        self.fail_each(|topic_partition, _| ProduceError::failed(topic_partition, error, false))
    }

    /// Fails all records. `error` makes the error of records that may or may not be in doubt.
    pub(super) fn fail_each(&mut self, error: impl Fn(&TopicPartition, bool) -> ProduceError) -> Vec<SettledRecords> {
        self.wants_last_written = false;
        let mut settled = self.window.fail_each(&error);
        for batch in self.accumulator.take_all() {
            let error = error(batch.promise.topic_partition(), false);
            settled.push(batch.fail(error));
        }
        debug_assert!(!self.is_busy(), "all records have failed");
        settled
    }

    /// Returns the last record before this producer's first one. If it is not known yet, a fence asks for it.
    pub(super) fn request_last_written(&mut self) -> Option<Option<LastWritten>> {
        let known = self.window.last_written();
        self.wants_last_written = known.is_none();
        known
    }

    /// Sets the topic's id.
    pub(super) fn set_topic_id(&mut self, topic_id: TopicId) {
        self.window.set_topic_id(topic_id);
    }

    /// Records why the queue cannot send.
    pub(super) fn note_error(&mut self, error: RequestError) {
        self.window.note_error(error);
    }

    /// Ends the linger of the open batch.
    pub(super) fn seal(&mut self) {
        self.accumulator.seal();
    }

    /// Ends the linger of the open batch; returns a future for each unsettled batch.
    pub(super) fn flush(&mut self) -> Vec<BatchCompletion> {
        self.accumulator.seal();
        self.window.promises().chain(self.accumulator.promises()).map(DeliveryPromise::completion).collect()
    }

    /// Counts the records without an outcome.
    pub(super) fn count_unsettled(&self, unsettled: &mut UnsettledRecords) {
        self.window.count_unsettled(unsettled);
        self.accumulator.count_unsettled(unsettled);
    }

    /// Returns the last error.
    pub(super) fn last_error(&self) -> Option<&RequestError> {
        self.window.last_error()
    }

    /// Whether any record is unsettled.
    pub(super) fn is_busy(&self) -> bool {
        !self.window.is_idle() || !self.accumulator.is_empty()
    }

    /// Whether a batch was given up in doubt and may still reach the log, since no fence has followed.
    pub(super) fn has_open_doubt(&self) -> bool {
        self.window.has_open_doubt()
    }

    /// Whether the queue has something to send, now or later.
    pub(super) fn needs_connection(&self) -> bool {
        self.is_busy() || self.has_open_doubt() || self.wants_last_written
    }

    /// The producer's memory that its records hold, in bytes.
    #[cfg(test)]
    pub(super) fn reserved(&self) -> usize {
        self.window.reserved() + self.accumulator.reserved()
    }

    /// Returns the time at which the queue needs attention without an event. Follows [`PartitionQueue::next`] at `now`:
    /// a step that is not possible although its time has come waits for an event, such as a connection.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let due = self.accumulator.due().filter(|_| self.window.is_idle());
        let fence = self.window.not_before().filter(|_| self.fence_step().is_some());
        let later = due.into_iter().chain(fence).chain(self.window.retry_time()).filter(|time| now < *time);
        later.chain(self.accumulator.next_expiry()).chain(self.window.next_expiry()).min()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test is the shell of what it tests")]
mod tests;
