//! The batches of one partition that have a sequence: what is on its way, what must be sent again, what can be given up.
//!
//! A broker takes a producer's batches only in the order of their sequences and recognises the last five, so the same
//! bytes may be sent again until they are acknowledged, and nothing is reordered or written twice. Three rules keep it so:
//!
//! 1. At most five batches stand between the first unresolved one and the newest. Nothing new is sent while something
//!    waits to be sent again; that happens in order, once no older attempt is on its way.
//! 2. An attempt that ended without an answer leaves its batch *in doubt*. Such a batch keeps its producer id and its
//!    sequence for as long as it lives: under new ones the broker could not recognise it.
//!    While the broker knows nothing of the producer, it takes any sequence first: until it has acknowledged one batch,
//!    and again after a long silence, one batch is sent at a time.
//! 3. A batch that is given up leaves a hole that the broker lets nothing pass. So the window *halts*: no new batch is
//!    numbered until all others are acknowledged, given up, or definitely refused. Those refused get new numbers: from the
//!    hole on, if what was given up is surely not in the log and nothing after it is; else under a new producer id.

use super::accumulator::Draft;
use super::delivery::{Placed, Promise};
use super::entry::{Attempt, BatchId, BatchSize, Effects, Entry, Halt, Numbered, Settled, State, follows, stamp};
use super::verdict::{self, Fate};
use crate::error::{ProduceError, RequestError};
use bytes::Bytes;
use grower_protocol::compression::Codec;
use grower_protocol::ids::{Sequence, TopicId};
use grower_protocol::message::{Outcome, ProducerIdentity};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Window {
    codec: Codec,
    in_flight_max: usize,
    delivery_timeout: Duration,
    backoff: fn(u32) -> Duration,
    home: TopicId,
    /// None: not idempotent, because nothing is answered.
    identity: Option<ProducerIdentity>,
    next_sequence: Sequence,
    next_id: BatchId,
    entries: VecDeque<Entry>,
    halt: Option<Halt>,
    /// Until when the broker surely remembers the producer; none if it may know nothing of it.
    remembered_until: Option<Instant>,
    failures: u32,
    not_before: Option<Instant>,
    last_error: Option<RequestError>,
}

/// How long after an ack a broker remembers a producer, at the least: it promises a day.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// What a window is made with.
#[derive(Clone, Copy, Debug)]
pub(super) struct WindowSettings {
    pub(super) codec: Codec,
    /// 1 to 5.
    pub(super) in_flight_max: usize,
    pub(super) delivery_timeout: Duration,
    pub(super) backoff: fn(u32) -> Duration,
}

impl Window {
    pub(super) fn new(settings: WindowSettings, home: TopicId, identity: Option<ProducerIdentity>) -> Self {
        let WindowSettings { codec, in_flight_max, delivery_timeout, backoff } = settings;
        Self {
            codec,
            in_flight_max,
            delivery_timeout,
            backoff,
            home,
            identity,
            next_sequence: Sequence::ZERO,
            next_id: 0,
            entries: VecDeque::new(),
            halt: None,
            remembered_until: None,
            failures: 0,
            not_before: None,
            last_error: None,
        }
    }

    /// Nothing is unresolved.
    pub(super) fn is_idle(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a new batch may be numbered and sent.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        self.halt.is_none()
            && self.entries.len() < self.in_flight_max(now)
            && !self.has(State::Waiting)
            && !self.has(State::Refused)
    }

    /// Takes in a batch; [`Window::built`] must follow.
    pub(super) fn number(&mut self, draft: Draft) -> Numbered {
        let count = draft.builder.count();
        let first = self.next_sequence;
        let stamp = self.identity.map(|identity| stamp(identity, first));
        self.next_sequence = first.wrapping_add(count);
        let id = self.next_id;
        self.next_id += 1;
        self.entries.push_back(Entry {
            id,
            promise: draft.promise,
            reserved: draft.reserved,
            count,
            since: draft.since,
            first,
            bytes: Bytes::new(),
            plain_bytes: draft.builder.size(),
            state: State::Building,
            in_doubt: false,
            home: self.home,
        });
        Numbered { id, builder: draft.builder, stamp }
    }

    /// The bytes of a numbered batch are ready: what to send, unless it was given up meanwhile.
    pub(super) fn built(&mut self, id: BatchId, bytes: Bytes) -> Option<Attempt> {
        let entry = self.entries.iter_mut().find(|entry| entry.id == id)?;
        entry.bytes = bytes;
        Some(entry.attempt())
    }

    /// What is to be sent again now, in order.
    pub(super) fn resend(&mut self, now: Instant) -> Vec<Attempt> {
        self.leave_halt();
        if self.is_moving() || !self.may_retry(now) {
            return Vec::new();
        }
        let in_flight_max = self.in_flight_max(now);
        let numbered = self.entries.iter_mut().filter(|entry| entry.state != State::Refused);
        let first = numbered.take(in_flight_max);
        first.filter(|entry| entry.state == State::Waiting).map(Entry::attempt).collect()
    }

    /// Whether nothing goes on without a new producer id.
    pub(super) fn wants_identity(&self) -> bool {
        self.halt.is_some_and(|halt| halt.spent) && !self.is_moving() && self.entries.iter().all(Entry::may_change)
    }

    /// Goes on as another producer.
    pub(super) fn become_producer(&mut self, identity: ProducerIdentity) {
        if self.wants_identity() {
            self.identity = Some(identity);
            self.remembered_until = None;
            self.number_anew(Sequence::ZERO, |_| true);
        }
    }

    /// There is no other producer id yet.
    pub(super) fn not_identified(&mut self, error: RequestError, now: Instant) {
        self.last_error = Some(error);
        self.back_off(now);
    }

    /// Until when nothing is tried again.
    pub(super) fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    /// Whether the wait after the last failure is over.
    pub(super) fn may_retry(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|not_before| not_before <= now)
    }

    /// Takes in the answer to an attempt.
    pub(super) fn answered(&mut self, id: BatchId, result: Result<Placed, RequestError>, now: Instant) -> Effects {
        let mut effects = Effects::default();
        let waits = |entry: &Entry| entry.id == id && entry.state == State::InFlight;
        let Some(at) = self.entries.iter().position(waits) else {
            return effects; // Its records were given up before, or are acknowledged.
        };
        match result {
            Ok(placed) => self.acked(at, placed, now, &mut effects),
            Err(error) => self.failed(at, error, now, &mut effects),
        }
        self.let_go();
        effects
    }

    /// Gives up what began at or before `now` less the delivery timeout.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Settled> {
        let mut settled = Vec::new();
        let timeout = self.delivery_timeout;
        let old = |entry: &Entry| entry.state != State::Acked && entry.since + timeout <= now;
        while let Some((at, entry)) = self.entries.iter().enumerate().find(|(_, entry)| old(entry)) {
            let in_doubt = entry.in_doubt || entry.state == State::InFlight;
            let error = ProduceError::TimedOut {
                place: entry.promise.place().clone(),
                after: self.delivery_timeout,
                in_doubt,
                last: self.last_error.clone().map(Box::new),
            };
            settled.push(self.give_up(at, in_doubt, error));
        }
        self.let_go();
        settled
    }

    /// What went wrong last, for those who time out before they were sent.
    pub(super) fn last_error(&self) -> Option<&RequestError> {
        self.last_error.as_ref()
    }

    /// Remembers why nothing can be sent.
    pub(super) fn hindered(&mut self, error: RequestError) {
        self.last_error = Some(error);
    }

    /// The topic was deleted and created again. Nothing is left of what was sent, so nothing of it is in doubt.
    pub(super) fn move_home(&mut self, home: TopicId) {
        if home == self.home {
            return;
        }
        self.home = home;
        let hole = self.entries.front().map_or(self.next_sequence, |entry| entry.first);
        self.halt_for(Halt { hole, spent: true });
        for entry in self.entries.iter_mut().filter(|entry| entry.state == State::Waiting) {
            entry.state = State::Refused;
            entry.in_doubt = false;
        }
    }

    /// Gives up everything, because the topic is gone.
    pub(super) fn fail_all(&mut self, error: &RequestError) -> Vec<Settled> {
        let unresolved = |entry: &Entry| entry.state != State::Acked;
        let mut settled = Vec::new();
        while let Some(at) = self.entries.iter().position(unresolved) {
            let place = self.entries[at].promise.place().clone();
            let in_doubt = false; // There is no log that it could be in.
            settled.push(self.give_up(at, true, ProduceError::Failed { place, source: error.clone(), in_doubt }));
        }
        self.let_go();
        settled
    }

    /// When something is to be done although no answer came.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let unresolved = self.entries.iter().filter(|entry| entry.state != State::Acked);
        let expiry = unresolved.map(|entry| entry.since + self.delivery_timeout).min();
        let retry = self.not_before.filter(|_| self.has(State::Waiting) && !self.is_moving());
        expiry.into_iter().chain(retry).min()
    }

    /// The promises of all that is unresolved.
    pub(super) fn promises(&self) -> impl Iterator<Item = &Promise> {
        self.entries.iter().filter(|entry| entry.state != State::Acked).map(|entry| &entry.promise)
    }

    /// What its records hold of the producer's memory, in bytes.
    #[cfg(test)]
    pub(super) fn reserved(&self) -> usize {
        self.entries.iter().map(|entry| entry.reserved).sum()
    }

    /// Forgets everything.
    pub(super) fn abandon(&mut self) -> Vec<Promise> {
        self.entries.drain(..).map(|entry| entry.promise).collect()
    }

    fn acked(&mut self, at: usize, placed: Placed, now: Instant, effects: &mut Effects) {
        self.remembered_until = Some(now + REMEMBERED);
        self.failures = 0;
        self.not_before = None;
        let entry = &mut self.entries[at];
        entry.state = State::Acked;
        let promise = entry.promise.take();
        effects.settled.push(Settled { promise, reserved: std::mem::take(&mut entry.reserved), verdict: Ok(placed) });
        let first = entry.first;
        if let Some(halt) = self.halt.as_mut().filter(|halt| follows(first, halt.hole)) {
            halt.spent = true; // Something after the hole is in the log.
        }
    }

    fn failed(&mut self, at: usize, error: RequestError, now: Instant, effects: &mut Effects) {
        effects.look_again |= verdict::looks_outdated(&error);
        let fate = self.judge(at, &error);
        if self.last_error.is_none() || !fate.blames_another() {
            self.last_error = Some(error.clone());
        }
        let entry = &mut self.entries[at];
        match fate {
            Fate::SendAgain { after_backoff } => {
                entry.state = State::Waiting;
                if after_backoff {
                    self.back_off(now);
                }
            }
            Fate::Renumber => {
                entry.state = State::Refused;
                let hole = entry.first;
                self.halt_for(Halt { hole, spent: true });
                self.back_off(now);
            }
            Fate::Split => self.split(at, effects),
            Fate::GiveUp => {
                if verdict::is_too_large(&error) {
                    effects.batch_size = Some(BatchSize::AsTold);
                }
                let (place, in_doubt) = (entry.promise.place().clone(), entry.in_doubt);
                let error = ProduceError::Failed { place, source: error, in_doubt };
                effects.settled.push(self.give_up(at, in_doubt, error));
            }
            Fate::Refused => entry.state = State::Refused,
        }
    }

    /// What becomes of a batch that met this error; notes whether it is in doubt now.
    fn judge(&mut self, at: usize, error: &RequestError) -> Fate {
        let first = self.entries.iter().position(|entry| entry.state != State::Acked) == Some(at);
        let entry = &mut self.entries[at];
        if entry.home != self.home {
            entry.in_doubt = false; // The log that it was for is gone.
            return Fate::Renumber;
        }
        entry.in_doubt |= error.outcome() == Outcome::Unknown;
        let case = verdict::Case {
            in_doubt: entry.in_doubt,
            first,
            behind_hole: self.halt.is_some_and(|halt| follows(entry.first, halt.hole)),
            idempotent: self.identity.is_some(),
            divisible: 1 < entry.count,
        };
        verdict::fate(error, case)
    }

    /// What was acknowledged is kept only as long as something before it is not.
    fn let_go(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.state == State::Acked) {
            self.entries.pop_front();
        }
    }

    fn back_off(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + (self.backoff)(self.failures));
    }

    fn give_up(&mut self, at: usize, in_doubt: bool, error: ProduceError) -> Settled {
        let entry = self.entries.remove(at).expect("the caller found it there");
        let acked_after = self.entries.iter().skip(at).any(|later| later.state == State::Acked);
        self.halt_for(Halt { hole: entry.first, spent: in_doubt || acked_after });
        Settled { promise: entry.promise, reserved: entry.reserved, verdict: Err(error) }
    }

    /// Of two holes the first counts.
    fn halt_for(&mut self, new: Halt) {
        let new = Halt { spent: new.spent && self.identity.is_some(), ..new };
        self.halt = Some(match self.halt {
            None => new,
            Some(old) => Halt {
                hole: if follows(new.hole, old.hole) { old.hole } else { new.hole },
                spent: old.spent || new.spent,
            },
        });
    }

    /// Replaces a batch that was too large by its two halves.
    fn split(&mut self, at: usize, effects: &mut Effects) {
        let Some(mut entry) = self.entries.remove(at) else { return };
        effects.batch_size = Some(BatchSize::Below(entry.plain_bytes));
        let count = entry.count / 2;
        let tail_promise = entry.promise.split_off(count);
        let (head, tail) = verdict::halves(&entry.bytes, self.codec, count);
        (entry.bytes, entry.plain_bytes) = head;
        let tail = Entry {
            id: self.next_id,
            promise: tail_promise,
            reserved: 0, // The first half holds the memory of both.
            count: entry.count - count,
            bytes: tail.0,
            plain_bytes: tail.1,
            state: State::Refused,
            ..entry
        };
        self.next_id += 1;
        self.halt_for(Halt { hole: entry.first, spent: false });
        entry.count = count;
        entry.state = State::Refused;
        self.entries.insert(at, tail);
        self.entries.insert(at, entry);
    }

    /// Goes on from the hole once all behind it may get other numbers.
    fn leave_halt(&mut self) {
        if let Some(Halt { hole, spent: false }) = self.halt
            && !self.is_moving()
            && self.entries.iter().all(|entry| !follows(entry.first, hole) || entry.may_change())
        {
            self.number_anew(hole, |entry| follows(entry.first, hole));
        }
    }

    /// Numbers, from `from` on, all that is not in the log and that `which` picks; it is sent as soon as may be.
    fn number_anew(&mut self, from: Sequence, which: impl Fn(&Entry) -> bool) {
        self.halt = None;
        self.next_sequence = from;
        let (identity, home) = (self.identity, self.home);
        for entry in self.entries.iter_mut().filter(|entry| entry.state != State::Acked && which(entry)) {
            entry.first = self.next_sequence;
            entry.home = home;
            entry.state = State::Waiting;
            self.next_sequence = entry.first.wrapping_add(entry.count);
            if let Some(identity) = identity {
                entry.restamp(identity);
            }
        }
    }

    fn in_flight_max(&self, now: Instant) -> usize {
        let known = self.identity.is_none() || self.remembered_until.is_some_and(|until| now < until);
        if known { self.in_flight_max } else { 1 }
    }

    fn is_moving(&self) -> bool {
        self.has(State::InFlight) || self.has(State::Building)
    }

    fn has(&self, state: State) -> bool {
        self.entries.iter().any(|entry| entry.state == state)
    }
}
