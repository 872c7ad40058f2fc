//! The client's half of a fetch session: which slots the broker keeps, which requests are not answered yet, and where
//! each slot reads next. Pure: the fetcher sends the requests and takes in the records.
//!
//! Answers are taken in by their numbers; an answer that arrives early waits. After a lost connection the next request resumes the
//! session: it repeats all changes of which no answer was taken in, and the broker sends their records again. If
//! anything does not fit, the session ends: the fetcher opens another one for the same partitions.

use bytes::Bytes;
use grower_protocol::ids::Offset;
use grower_protocol::message::{
    AddedSlot, FetchPartition, FetchSession, FetchSessionAnswer, FetchSessionId, FetchSlot, SessionSequence,
    SessionStep, SlotPart,
};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// The most slots that one request adds, and the most that it drops. Few enough that a broker with little memory
/// receives even a request that resumes a session, with twice as many.
const CHANGES_MAX: usize = 250;
/// The most requests in flight that only bring changes. The broker accepts a few more.
const CHANGE_REQUESTS_MAX: usize = 4;

/// A session that has used this many slots is replaced by another one.
const SLOTS_MAX: u32 = u32::MAX / 2;

/// A fetch session as its client sees it. Each slot belongs to an owner.
#[derive(Debug)]
pub(crate) struct ClientFetchSession<O> {
    id: Option<FetchSessionId>,
    link: SessionLink,
    slots: BTreeMap<FetchSlot, ClientSlot<O>>,
    next_slot: u32,
    /// The dropped slots that the broker does not know of.
    to_drop: Vec<FetchSlot>,
    /// The added slots that the broker does not know of, ascending. Some may be dropped again.
    to_add: VecDeque<AddedSlot>,
    next_number: u64,
    /// All answers with smaller numbers were taken in. Requests from here on may be lost and forgotten.
    received_below: u64,
    /// The requests without an answer that was taken in, ascending.
    unanswered: VecDeque<SentRequest>,
}

/// A slot in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientSlot<O> {
    pub(crate) owner: O,
    /// The offset after the records that were taken in.
    pub(crate) next: Offset,
}

/// Whether the session's requests reach the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SessionLink {
    Up,
    /// The connection was lost: the next request resumes the session.
    Lost,
}

#[derive(Debug)]
struct SentRequest {
    number: u64,
    max_bytes: u32,
    drop: Vec<FetchSlot>,
    add: Vec<AddedSlot>,
    /// An answer that came before an earlier one.
    answer: Option<ReceivedAnswer>,
}

/// The parts of one answer, with the batches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReceivedAnswer {
    pub(crate) parts: Vec<SlotPart>,
    pub(crate) batches: Bytes,
    /// The number of bytes that the request permitted.
    pub(crate) permitted: u32,
}

/// The time and the sizes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestLimits {
    pub(crate) max_wait: Duration,
    pub(crate) min_bytes: u32,
    pub(crate) max_bytes: u32,
}

/// The session does not fit the broker's: another one must take its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SessionMismatch {
    #[error("the broker answered request {number}, which is not in flight")]
    UnknownRequest { number: u64 },
    #[error("the broker answered for another session")]
    OtherSession,
    #[error("the broker continued a slot at offset {found}, not {expected}")]
    Offset { expected: Offset, found: Offset },
}

impl<O> Default for ClientFetchSession<O> {
    fn default() -> Self {
        Self {
            id: None,
            link: SessionLink::Up,
            slots: BTreeMap::new(),
            next_slot: 0,
            to_drop: Vec::new(),
            to_add: VecDeque::new(),
            next_number: 0,
            received_below: 0,
            unanswered: VecDeque::new(),
        }
    }
}

impl<O: Copy> ClientFetchSession<O> {
    /// Adds a slot that reads `partition` for `owner`.
    pub(crate) fn add(&mut self, owner: O, partition: FetchPartition) -> FetchSlot {
        let slot = FetchSlot(self.next_slot);
        self.next_slot += 1;
        self.slots.insert(slot, ClientSlot { owner, next: partition.offset });
        self.to_add.push_back(AddedSlot { slot, partition });
        slot
    }

    /// Drops a slot: its records are no longer wanted. The broker may have ended it already.
    pub(crate) fn drop_slot(&mut self, slot: FetchSlot) {
        let was_sent = self.to_add.front().is_none_or(|unsent| slot < unsent.slot);
        if self.slots.remove(&slot).is_some() && was_sent {
            self.to_drop.push(slot);
        }
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = &ClientSlot<O>> {
        self.slots.values()
    }

    pub(crate) fn has_slots(&self) -> bool {
        !self.slots.is_empty()
    }

    /// Whether a request must tell the broker of changes.
    pub(crate) fn has_changes(&self) -> bool {
        !self.to_drop.is_empty() || !self.to_add.is_empty() || self.link == SessionLink::Lost
    }

    /// Whether the broker has opened the session.
    pub(crate) fn is_open(&self) -> bool {
        self.id.is_some()
    }

    /// Whether the session should be replaced before it runs out of numbers for slots.
    pub(crate) fn is_used_up(&self) -> bool {
        SLOTS_MAX <= self.next_slot
    }

    /// Whether the broker has answered more than the request that opened the session.
    pub(crate) fn has_continued(&self) -> bool {
        self.id.is_some() && 1 < self.received_below
    }

    /// The number of requests in flight that permit records.
    pub(crate) fn reads_in_flight(&self) -> usize {
        self.in_flight().filter(|sent| 0 < sent.max_bytes).count()
    }

    /// The bytes that the requests in flight permit.
    pub(crate) fn permitted(&self) -> usize {
        self.in_flight().map(|sent| sent.max_bytes as usize).sum()
    }

    /// The requests that may still be answered: none over a lost connection.
    fn in_flight(&self) -> impl Iterator<Item = &SentRequest> {
        self.unanswered.iter().filter(|_| self.link == SessionLink::Up)
    }

    /// Whether another request may be sent: not before the answer that opens the session.
    pub(crate) fn may_send(&self, max_bytes: u32) -> bool {
        let is_opening = self.id.is_none() && !self.unanswered.is_empty();
        let changes = self.in_flight().filter(|sent| sent.max_bytes == 0).count();
        !is_opening && (0 < max_bytes || changes < CHANGE_REQUESTS_MAX)
    }

    /// Returns the next request, which is in flight from now on, and its number.
    pub(crate) fn next_request(&mut self, limits: RequestLimits) -> (u64, FetchSession) {
        debug_assert!(self.may_send(limits.max_bytes), "the session is being opened");
        let (number, received_below) = (self.next_number, self.received_below);
        let place = |session| SessionSequence { session, number, received_below };
        let (step, drop, add) = match (self.id, self.link) {
            (None, _) => (SessionStep::Open, Vec::new(), self.take_adds()),
            (Some(session), SessionLink::Up) => {
                let drops = self.to_drop.len().min(CHANGES_MAX);
                (SessionStep::Continue(place(session)), self.to_drop.drain(..drops).collect(), self.take_adds())
            }
            (Some(session), SessionLink::Lost) => {
                let (drop, add) = self.repeated_changes();
                (SessionStep::Resume(place(session)), drop, add)
            }
        };
        self.link = SessionLink::Up;
        self.next_number += 1;
        let RequestLimits { max_wait, min_bytes, max_bytes } = limits;
        self.unanswered.push_back(SentRequest {
            number,
            max_bytes,
            drop: drop.clone(),
            add: add.clone(),
            answer: None,
        });
        let max_wait_ms = u32::try_from(max_wait.as_millis()).unwrap_or(u32::MAX);
        (number, FetchSession { step, max_wait_ms, min_bytes, max_bytes, drop, add })
    }

    fn take_adds(&mut self) -> Vec<AddedSlot> {
        let mut adds = Vec::new();
        while adds.len() < CHANGES_MAX
            && let Some(added) = self.to_add.pop_front()
        {
            if self.slots.contains_key(&added.slot) {
                adds.push(added);
            }
        }
        adds
    }

    /// Takes the changes of all lost requests. A slot that was dropped since is not added again: if the broker has it,
    /// its drop is repeated, too.
    fn repeated_changes(&mut self) -> (Vec<FetchSlot>, Vec<AddedSlot>) {
        let lost = std::mem::take(&mut self.unanswered);
        let added_lost: Vec<AddedSlot> = lost.iter().flat_map(|sent| &sent.add).copied().collect();
        let mut drop: Vec<FetchSlot> = lost.into_iter().flat_map(|sent| sent.drop).collect();
        drop.append(&mut self.to_drop);
        let add = added_lost.into_iter().filter(|added| self.slots.contains_key(&added.slot)).collect();
        (drop, add)
    }

    /// Handles the loss of the connection. Returns false if the session cannot be resumed.
    pub(crate) fn lose_link(&mut self) -> bool {
        self.link = SessionLink::Lost;
        for sent in &mut self.unanswered {
            sent.answer = None; // The broker goes back to before the first lost answer, and repeats this one.
        }
        let changes = self.unanswered.iter().map(|sent| sent.add.len() + sent.drop.len()).sum::<usize>();
        self.id.is_some() && changes + self.to_drop.len() <= 2 * CHANGES_MAX
    }

    /// Handles a request that the broker refused without a change, and so all behind it. Returns the owners of the
    /// slots that they add, which are gone. The next request resumes the session, if `lose_link` allows that.
    pub(crate) fn take_refused(&mut self, number: u64) -> Vec<O> {
        let refused = self.unanswered.iter_mut().filter(|sent| number <= sent.number);
        let added: Vec<AddedSlot> = refused.flat_map(|sent| std::mem::take(&mut sent.add)).collect();
        added.iter().filter_map(|added| self.slots.remove(&added.slot)).map(|slot| slot.owner).collect()
    }

    /// Whether the request with this number is in flight.
    pub(crate) fn awaits(&self, number: u64) -> bool {
        self.in_flight().any(|sent| sent.number == number)
    }

    /// Keeps an answer until all before it are taken in.
    pub(crate) fn answered(&mut self, answer: FetchSessionAnswer, batches: Bytes) -> Result<(), SessionMismatch> {
        let FetchSessionAnswer { session, number, parts } = answer;
        if *self.id.get_or_insert(session) != session {
            return Err(SessionMismatch::OtherSession);
        }
        let at = self.unanswered.iter().position(|sent| sent.number == number && sent.answer.is_none());
        let at = at.ok_or(SessionMismatch::UnknownRequest { number })?;
        let sent = &mut self.unanswered[at];
        if sent.max_bytes == 0 && parts.is_empty() {
            // The broker made the changes and sent no records, so there is nothing to repeat.
            self.unanswered.remove(at);
            return Ok(());
        }
        sent.answer = Some(ReceivedAnswer { parts, batches, permitted: sent.max_bytes });
        Ok(())
    }

    /// Returns the next answer to take in.
    pub(crate) fn next_answer(&mut self) -> Option<ReceivedAnswer> {
        let answer = self.unanswered.front_mut()?.answer.take()?;
        self.unanswered.pop_front();
        self.received_below = self.unanswered.front().map_or(self.next_number, |sent| sent.number);
        Some(answer)
    }

    /// Returns the owner of the slot that has a part at `offset`; `None` if the slot was dropped.
    pub(crate) fn owner_at(&self, slot: FetchSlot, offset: Offset) -> Result<Option<O>, SessionMismatch> {
        match self.slots.get(&slot) {
            None => Ok(None),
            Some(slot) if slot.next == offset => Ok(Some(slot.owner)),
            Some(slot) => Err(SessionMismatch::Offset { expected: slot.next, found: offset }),
        }
    }

    /// Records that the records of a slot were taken in up to `next`.
    pub(crate) fn advance(&mut self, slot: FetchSlot, next: Offset) {
        if let Some(slot) = self.slots.get_mut(&slot) {
            debug_assert!(slot.next <= next, "a slot never goes back");
            slot.next = next;
        }
    }

    /// Returns the request that closes the session, if the broker has opened it.
    pub(crate) fn close(&self) -> Option<FetchSession> {
        let step = SessionStep::Close(self.id?);
        let (drop, add) = (Vec::new(), Vec::new());
        Some(FetchSession { step, max_wait_ms: 0, min_bytes: 0, max_bytes: 0, drop, add })
    }
}

#[cfg(test)]
mod tests;
