//! The batches of one partition that have a sequence: in flight, to send again, or held for a new sequence.
//!
//! A broker accepts a producer's batches only in the order of their sequences and recognises repeats of the last five.
//! So the producer may send the same bytes until they are acknowledged, and no record is reordered or written twice.
//! Three rules ensure that:
//!
//! 1. The window holds at most five batches, from the first unresolved one to the newest. No new batch is sent while
//!    another waits to be sent again; that happens in order, once no older attempt is in flight.
//! 2. An attempt without an answer leaves its batch *in doubt*. Such a batch keeps its producer id and sequence until
//!    it is settled: under others the broker could not recognise it. A broker that does not know the producer accepts
//!    any first sequence: until it has acknowledged one batch, and again after a long idle time, one batch is in flight
//!    at a time.
//! 3. A batch that is given up leaves a sequence gap, and the broker accepts nothing behind it. So the window *pauses*:
//!    no new batch is numbered until all others are acknowledged, given up, or definitely refused. The refused ones get
//!    new sequences from the gap on, if neither the batch that was given up nor a later one can be in the log.
//!    Otherwise the window *fences* the partition: the producer's next epoch begins there, and the broker refuses all
//!    batches of earlier epochs, on whatever connection they still wait. Nothing else is sent before its answer. The
//!    answer names the last record of the earlier epochs and so resolves all doubt: a batch at or before it is in the
//!    log and is sent again unchanged, for its ack, before all others; one behind it never will be, and gets a new
//!    sequence in the new epoch.

mod answers;
mod expiry;
mod fences;
mod gaps;

pub(super) use fences::FenceStep;

use super::accumulator::UnsentBatch;
use super::in_flight::{
    AnswerEffects, AttemptResult, BatchId, BatchState, InFlightBatch, NumberedBatch, SendAttempt, SequenceGap,
    SettledRecords, stamp,
};
use super::promise::DeliveryPromise;
use super::statistics::UnsettledRecords;
use crate::error::{ProduceError, RequestError};
use crate::record::TopicPartition;
use bytes::Bytes;
use fences::NextIdentity;
use grower_protocol::compression::Codec;
use grower_protocol::ids::{LastWritten, ProducerIdentity, Sequence, TopicId};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// The batches of one partition from their numbering to their outcome.
#[derive(Debug)]
pub(super) struct SequenceWindow {
    codec: Codec,
    in_flight_max: usize,
    retry_wait: fn(&RequestError, u32) -> Duration,
    topic_id: TopicId,
    /// `None` if the producer is not idempotent, because its requests have no answers.
    identity: Option<ProducerIdentity>,
    is_named: bool,
    next_identity: NextIdentity,
    /// A batch was given up in doubt since the last fence.
    open_doubt: bool,
    /// The answer to the first fence: the last record before this producer's first one.
    last_written: Option<Option<LastWritten>>,
    next_sequence: Sequence,
    next_id: BatchId,
    batches: VecDeque<InFlightBatch>,
    gap: Option<SequenceGap>,
    /// The time until which the broker certainly knows the producer; `None` if it may not know it.
    known_until: Option<Instant>,
    failures: u32,
    /// The batches split since the last ack to find records that the broker refuses without naming them.
    searches: u32,
    not_before: Option<Instant>,
    last_error: Option<RequestError>,
}

/// After an ack the broker knows the producer at least this long. It promises a day.
const PRODUCER_KNOWN_FOR: Duration = Duration::from_secs(3600);

/// The most batches to split in a row to find refused records: enough for one in 2^31 records. Where more are refused,
/// all of a batch fail, so that many refused records do not take a request each.
const SEARCHES_MAX: u32 = 32;

/// The settings of a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct WindowSettings {
    pub(super) codec: Codec,
    /// 1 to 5.
    pub(super) in_flight_max: usize,
    /// The identity has a name: an epoch is valid in all partitions, and earlier holders may have written before.
    pub(super) is_named: bool,
    /// The wait before the next attempt, after an error and this many failures in a row.
    pub(super) retry_wait: fn(&RequestError, u32) -> Duration,
}

impl SequenceWindow {
    pub(super) fn new(settings: WindowSettings, topic_id: TopicId, identity: Option<ProducerIdentity>) -> Self {
        let WindowSettings { codec, in_flight_max, is_named, retry_wait } = settings;
        let first_fence = identity.filter(|_| is_named);
        Self {
            codec,
            in_flight_max,
            retry_wait,
            topic_id,
            is_named,
            identity,
            next_identity: first_fence.map_or(NextIdentity::NextEpoch, NextIdentity::Given),
            last_written: None,
            open_doubt: false,
            next_sequence: Sequence::ZERO,
            next_id: 0,
            batches: VecDeque::new(),
            gap: first_fence.map(|_| SequenceGap { first_missing: Sequence::ZERO, unusable: true }),
            known_until: None,
            failures: 0,
            searches: 0,
            not_before: None,
            last_error: None,
        }
    }

    /// Whether no batch is unresolved.
    pub(super) fn is_idle(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether a new batch may be numbered and sent.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        self.gap.is_none()
            && self.batches.len() < self.in_flight_limit(now)
            && !self.has_batch(BatchState::Waiting)
            && !self.has_batch(BatchState::NeedsSequence)
            && !self.awaits_ack_of_log()
    }

    /// Gives a batch its sequence; [`SequenceWindow::built`] must follow.
    pub(super) fn assign_sequence(&mut self, batch: UnsentBatch, now: Instant) -> NumberedBatch {
        debug_assert!(self.has_room(now), "the window has no room: {self:?}");
        let count = batch.builder.count();
        let first = self.next_sequence;
        let stamp = self.identity.map(|identity| stamp(identity, first));
        self.next_sequence = first.wrapping_add(count);
        let id = self.next_id;
        self.next_id += 1;
        self.batches.push_back(InFlightBatch {
            id,
            promise: batch.promise,
            reserved: batch.reserved,
            count,
            identity: self.identity,
            first,
            bytes: Bytes::new(),
            plain_bytes: batch.builder.size(),
            state: BatchState::Building,
            in_doubt: false,
            in_log: false,
            expected_end: batch.expected_end,
            topic_id: self.topic_id,
        });
        self.check();
        NumberedBatch { id, builder: batch.builder, stamp }
    }

    /// Takes the bytes of a built batch; returns the attempt to send, unless the batch expired meanwhile.
    pub(super) fn built(&mut self, id: BatchId, bytes: Bytes) -> Option<SendAttempt> {
        let batch = self.batches.iter_mut().find(|batch| batch.id == id)?;
        debug_assert_eq!(batch.state, BatchState::Building, "batch {id} is built once");
        batch.bytes = bytes;
        Some(batch.attempt())
    }

    /// Returns the attempts to send again now, in order.
    pub(super) fn resend(&mut self, now: Instant) -> Vec<SendAttempt> {
        self.resume_after_gap();
        if self.is_sending() || !self.may_retry(now) || self.needs_fence() {
            return Vec::new();
        }
        let (limit, in_log) = (self.in_flight_limit(now), self.awaits_ack_of_log());
        let is_next = |batch: &&mut InFlightBatch| batch.state != BatchState::NeedsSequence && batch.in_log >= in_log;
        let numbered = self.batches.iter_mut().filter(is_next);
        let first = numbered.take(limit);
        first.filter(|batch| batch.state == BatchState::Waiting).map(InFlightBatch::attempt).collect()
    }

    /// Returns the end of the current backoff.
    pub(super) fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    /// Whether the backoff is over.
    pub(super) fn may_retry(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|not_before| not_before <= now)
    }

    /// Handles the answer to an attempt.
    pub(super) fn answered(&mut self, id: BatchId, result: AttemptResult, now: Instant) -> AnswerEffects {
        let mut effects = AnswerEffects::default();
        let is_in_flight = |batch: &InFlightBatch| batch.id == id && batch.state == BatchState::InFlight;
        let Some(at) = self.batches.iter().position(is_in_flight) else {
            return effects; // Its records have expired or are already acknowledged.
        };
        match result {
            Ok(ack) => self.acked(at, ack, now, &mut effects),
            Err(error) => self.failed(at, error, now, &mut effects),
        }
        self.pop_acked();
        effects
    }

    /// Returns the last error, for batches that expire before they are sent.
    pub(super) fn last_error(&self) -> Option<&RequestError> {
        self.last_error.as_ref()
    }

    /// Records why no batch can be sent.
    pub(super) fn note_error(&mut self, error: RequestError) {
        self.last_error = Some(error);
    }

    /// Fails all batches. `error` makes the error of a batch that may or may not be in doubt.
    pub(super) fn fail_each(&mut self, error: impl Fn(&TopicPartition, bool) -> ProduceError) -> Vec<SettledRecords> {
        let unresolved = |batch: &InFlightBatch| batch.state != BatchState::Acked;
        let mut settled = Vec::new();
        while let Some(at) = self.batches.iter().position(unresolved) {
            let batch = &self.batches[at];
            let in_doubt = batch.in_doubt || batch.state == BatchState::InFlight;
            let error = error(batch.promise.topic_partition(), in_doubt);
            settled.push(self.give_up(at, true, error));
        }
        self.open_doubt = false;
        self.pop_acked();
        settled
    }

    /// Returns the time at which [`SequenceWindow::expire`] is due.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.batches.iter().filter_map(InFlightBatch::earliest_deadline).min()
    }

    /// Returns the time from which batches may be sent again.
    pub(super) fn retry_time(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.has_batch(BatchState::Waiting) && !self.is_sending())
    }

    /// Counts the records without an outcome.
    pub(super) fn count_unsettled(&self, unsettled: &mut UnsettledRecords) {
        for batch in self.batches.iter().filter(|batch| batch.is_unresolved()) {
            let is_in_flight = batch.state == BatchState::InFlight;
            let bytes = if is_in_flight { batch.bytes.len() } else { batch.plain_bytes };
            unsettled.add(&batch.promise, bytes, is_in_flight);
        }
    }

    /// The promises of all unresolved batches.
    pub(super) fn promises(&self) -> impl Iterator<Item = &DeliveryPromise> {
        self.batches.iter().filter(|batch| batch.state != BatchState::Acked).map(|batch| &batch.promise)
    }

    /// The producer's memory that its records hold, in bytes.
    #[cfg(test)]
    pub(super) fn reserved(&self) -> usize {
        self.batches.iter().map(|batch| batch.reserved).sum()
    }

    /// Drops all batches and returns their promises.
    pub(super) fn abandon(&mut self) -> Vec<DeliveryPromise> {
        self.open_doubt = false;
        self.batches.drain(..).map(|batch| batch.promise).collect()
    }

    /// Removes acknowledged batches that have no unresolved batch before them.
    fn pop_acked(&mut self) {
        while self.batches.front().is_some_and(|batch| batch.state == BatchState::Acked) {
            self.batches.pop_front();
        }
        self.check();
    }

    /// Checks the states and the sequences, in debug builds. Follows every change of the window.
    fn check(&self) {
        let in_state = |state| self.batches.iter().filter(move |batch| batch.state == state).count();
        debug_assert!(in_state(BatchState::Building) <= 1, "two senders build batches: {self:?}");
        debug_assert!(in_state(BatchState::InFlight) <= self.in_flight_max, "too many batches are in flight: {self:?}");
        debug_assert!(self.batches.iter().all(InFlightBatch::is_sound), "{self:?}");
        debug_assert!(self.batches.front().is_none_or(|batch| batch.state != BatchState::Acked), "{self:?}");
        debug_assert!(self.gap.is_some() || self.is_dense(), "the sequences have an unknown gap: {self:?}");
    }

    /// Whether each unacknowledged batch ends where the next batch begins. One that is in the log may have its sequence
    /// from an earlier epoch.
    fn is_dense(&self) -> bool {
        let is_earlier = |batch: &InFlightBatch| batch.in_log || batch.state == BatchState::Acked;
        let current = self.batches.iter().enumerate().filter(|(_, batch)| !is_earlier(batch));
        current.map(|(at, batch)| (batch, self.batches.get(at + 1))).all(|(batch, next)| {
            next.is_some_and(is_earlier) || batch.next_sequence() == next.map_or(self.next_sequence, |next| next.first)
        })
    }

    fn back_off(&mut self, error: &RequestError, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + (self.retry_wait)(error, self.failures));
    }

    fn in_flight_limit(&self, now: Instant) -> usize {
        let known = self.identity.is_none() || self.known_until.is_some_and(|until| now < until);
        if known { self.in_flight_max } else { 1 }
    }

    /// Whether a batch that a fence found in the log waits for its ack.
    fn awaits_ack_of_log(&self) -> bool {
        self.batches.iter().any(InFlightBatch::awaits_ack_of_log)
    }

    fn is_sending(&self) -> bool {
        self.has_batch(BatchState::InFlight) || self.has_batch(BatchState::Building)
    }

    fn has_batch(&self, state: BatchState) -> bool {
        self.batches.iter().any(|batch| batch.state == state)
    }
}
