//! One partition as a producer sees it: records that gather, batches on their way, and whose turn it is to send.

use super::accumulator::{Accumulator, BatchSettings};
use super::delivery::{Delivery, Placed, Promise, Unseen, WholeDelivery};
use super::entry::{Attempt, BatchId, BatchSize, Effects, Numbered, Settled};
use super::window::{Window, WindowSettings};
use crate::error::{ProduceError, RequestError};
use crate::record::TopicPartition;
use bytes::Bytes;
use grower_protocol::batch::Record;
use grower_protocol::ids::TopicId;
use grower_protocol::message::ProducerIdentity;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Pure: what to do comes out as [`Step`]s, what came of it goes in again. Whoever takes a step is the line's only sender
/// until [`Line::rest`], so that batches reach the connection in the order of their sequences.
#[derive(Debug)]
pub(super) struct Line {
    accumulator: Accumulator,
    window: Window,
    delivery_timeout: Duration,
    has_sender: bool,
    awaits_identity: bool,
}

/// What to do next.
#[derive(Debug)]
pub(super) enum Step {
    /// Compress and sign a batch, hand it to [`Line::built`], send what comes back.
    Build(Numbered),
    /// Send these again, in this order.
    Resend(Vec<Attempt>),
    /// Ask for a producer id and hand it to [`Line::become_producer`].
    Identify,
}

impl Step {
    /// How many attempts come of it, at most.
    pub(super) fn attempts(&self) -> usize {
        match self {
            Self::Build(_) => 1,
            Self::Resend(attempts) => attempts.len(),
            Self::Identify => 0,
        }
    }
}

impl Line {
    pub(super) fn new(
        place: TopicPartition,
        batches: BatchSettings,
        window: WindowSettings,
        home: TopicId,
        identity: Option<ProducerIdentity>,
    ) -> Self {
        Self {
            accumulator: Accumulator::new(place, batches),
            window: Window::new(window, home, identity),
            delivery_timeout: window.delivery_timeout,
            has_sender: false,
            awaits_identity: false,
        }
    }

    /// Tells `unseen` of failures that nobody looks at.
    pub(super) fn reporting_to(mut self, unseen: Arc<Unseen>) -> Self {
        self.accumulator.report_to(unseen);
        self
    }

    /// Takes in a record that holds `reserved` bytes of the producer's memory. True comes with it if [`Line::next`] may
    /// have something to do because of it. The clock is read for the first record of a batch only.
    pub(super) fn push(&mut self, record: &Record, reserved: usize, clock: impl Fn() -> Instant) -> (Delivery, bool) {
        self.accumulator.push(record, reserved, clock)
    }

    /// Forgets everything. The promises say, when they are dropped, that the producer was.
    pub(super) fn abandon(&mut self) -> Vec<Promise> {
        let mut promises = self.window.abandon();
        promises.extend(self.accumulator.abandon());
        promises
    }

    /// What to do now; none if somebody is at it or nothing can be done. [`Line::rest`] must follow a step that sends.
    pub(super) fn next(&mut self, now: Instant) -> Option<Step> {
        if self.has_sender {
            return None;
        }
        let step = self.step(now)?;
        match step {
            Step::Identify => self.awaits_identity = true,
            Step::Build(_) | Step::Resend(_) => self.has_sender = true,
        }
        Some(step)
    }

    fn step(&mut self, now: Instant) -> Option<Step> {
        let attempts = self.window.resend(now);
        if !attempts.is_empty() {
            return Some(Step::Resend(attempts));
        }
        if self.window.wants_identity() && self.is_busy() {
            return (!self.awaits_identity && self.window.may_retry(now)).then_some(Step::Identify);
        }
        if !self.window.has_room(now) {
            return None;
        }
        let draft = self.accumulator.take(self.window.is_idle(), now)?;
        Some(Step::Build(self.window.number(draft)))
    }

    /// The bytes of a numbered batch.
    pub(super) fn built(&mut self, id: BatchId, bytes: Bytes) -> Option<Attempt> {
        self.window.built(id, bytes)
    }

    /// The step was done: the next one may be taken, by anybody.
    pub(super) fn rest(&mut self) {
        self.has_sender = false;
    }

    /// The answer to [`Step::Identify`].
    pub(super) fn become_producer(&mut self, identity: Result<ProducerIdentity, RequestError>, now: Instant) {
        self.awaits_identity = false;
        match identity {
            Ok(identity) => self.window.become_producer(identity),
            Err(error) => self.window.not_identified(error, now),
        }
    }

    /// The answer to an attempt.
    pub(super) fn answered(&mut self, id: BatchId, result: Result<Placed, RequestError>, now: Instant) -> Effects {
        let effects = self.window.answered(id, result, now);
        match effects.batch_size {
            Some(BatchSize::Below(bytes)) => self.accumulator.shrink(bytes / 2),
            Some(BatchSize::AsTold) => self.accumulator.restore_size(),
            None => {}
        }
        effects
    }

    /// Gives up what is older than the delivery timeout.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Settled> {
        let mut settled = self.window.expire(now);
        let Some(since) = now.checked_sub(self.delivery_timeout) else { return settled };
        for draft in self.accumulator.expire(since) {
            let error = ProduceError::TimedOut {
                place: draft.promise.place().clone(),
                after: self.delivery_timeout,
                in_doubt: false,
                last: self.window.last_error().cloned().map(Box::new),
            };
            settled.push(Settled { promise: draft.promise, reserved: draft.reserved, verdict: Err(error) });
        }
        settled
    }

    /// The topic is gone: gives up everything.
    pub(super) fn fail_all(&mut self, error: &RequestError, now: Instant) -> Vec<Settled> {
        let mut settled = self.window.fail_all(error);
        for draft in self.accumulator.expire(now) {
            let place = draft.promise.place().clone();
            let error = ProduceError::Failed { place, source: error.clone(), in_doubt: false };
            settled.push(Settled { promise: draft.promise, reserved: draft.reserved, verdict: Err(error) });
        }
        settled
    }

    /// The topic has this id now.
    pub(super) fn move_home(&mut self, home: TopicId) {
        self.window.move_home(home);
    }

    /// Nothing can be sent, and why.
    pub(super) fn hindered(&mut self, error: RequestError) {
        self.window.hindered(error);
    }

    /// Lets everything go as soon as it can.
    pub(super) fn seal(&mut self) {
        self.accumulator.seal();
    }

    /// Lets everything go as soon as it can, and gives what resolves with each batch that is not settled.
    pub(super) fn flush(&mut self) -> Vec<WholeDelivery> {
        self.accumulator.seal();
        self.window.promises().chain(self.accumulator.promises()).map(Promise::whole).collect()
    }

    /// What went wrong last.
    pub(super) fn last_error(&self) -> Option<&RequestError> {
        self.window.last_error()
    }

    /// Whether any record is unsettled.
    pub(super) fn is_busy(&self) -> bool {
        !self.window.is_idle() || self.accumulator.oldest().is_some()
    }

    /// What its records hold of the producer's memory, in bytes.
    #[cfg(test)]
    pub(super) fn reserved(&self) -> usize {
        self.window.reserved() + self.accumulator.reserved()
    }

    /// When to look again although nothing happened.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let expiry = self.accumulator.oldest().map(|oldest| oldest + self.delivery_timeout);
        let due = self.accumulator.due().filter(|_| self.window.is_idle());
        let identify = self.window.not_before().filter(|_| self.window.wants_identity() && !self.awaits_identity);
        expiry.into_iter().chain(due).chain(identify).chain(self.window.deadline()).min()
    }
}

#[cfg(test)]
mod tests;
