//! The fetch sessions of the fake broker: what a client relies on, without limits.

use super::log::Log;
use grower_client::ids::Offset;
use grower_client::{ErrorCode, Failure};
use grower_protocol::message::*;
use std::collections::BTreeMap;

/// The fetch sessions of a broker.
#[derive(Default)]
pub(super) struct Sessions {
    opened: u64,
    open: BTreeMap<u64, Session>,
    permitted: usize,
    bytes: SessionBytes,
    /// The next answer contradicts itself.
    contradicts: bool,
}

/// The bytes of batches in all sessions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SessionBytes {
    pub(crate) sent: usize,
    /// The most bytes that were sent or permitted at one time.
    pub(crate) peak: usize,
}

#[derive(Default)]
struct Session {
    /// The number of the next request.
    next: u64,
    /// The numbers of the requests that wait, in order.
    waiting: Vec<u64>,
    slots: BTreeMap<FetchSlot, Slot>,
    /// The broker no longer leads the partitions.
    has_moved: bool,
    /// For each answer that may be lost, the slots before it.
    unreceived: BTreeMap<u64, Vec<(FetchSlot, Slot)>>,
}

#[derive(Clone, Copy)]
struct Slot {
    partition: FetchPartition,
    position: Offset,
    was_told: bool,
    has_ended: bool,
}

/// A request whose changes are applied and which waits for news.
#[derive(Clone, Copy)]
pub(super) struct WaitingFetch {
    session: u64,
    number: u64,
    max_bytes: u32,
}

impl Sessions {
    /// Applies the changes of a request.
    pub(super) fn apply(&mut self, asked: &FetchSession) -> Result<WaitingFetch, Failure> {
        let unknown = || Failure::new(ErrorCode::UnknownFetchSession, "no such session");
        let (id, number) = match asked.step {
            SessionStep::Open => {
                self.opened += 1;
                self.open.insert(self.opened, Session::default());
                (self.opened, 0)
            }
            SessionStep::Continue(place) | SessionStep::Resume(place) => (place.session.0, place.number),
            SessionStep::Close(id) => {
                self.open.remove(&id.0);
                return Err(unknown());
            }
        };
        let session = self.open.get_mut(&id).ok_or_else(unknown)?;
        match asked.step {
            SessionStep::Continue(place) => {
                if place.number != session.next {
                    return Err(unknown()); // The request before it was refused.
                }
                session.receive(place.received_below);
            }
            SessionStep::Resume(place) => {
                assert!(session.next <= place.number, "a resume has a new number");
                session.receive(place.received_below);
                session.go_back();
            }
            _ => {}
        }
        session.next = number + 1;
        session.change(asked);
        if 0 < asked.max_bytes {
            session.waiting.push(number);
        }
        self.permitted += asked.max_bytes as usize;
        self.bytes.peak = self.bytes.peak.max(self.bytes.sent + self.permitted);
        Ok(WaitingFetch { session: id, number, max_bytes: asked.max_bytes })
    }

    /// Returns the answer if it is the request's turn and there is news, or if it `is_due` anyway; an error if the
    /// session is gone.
    pub(super) fn answer(
        &mut self,
        waiting: WaitingFetch,
        log: &Log,
        is_due: bool,
    ) -> Result<Option<(FetchSessionAnswer, Vec<u8>)>, Failure> {
        let WaitingFetch { session: id, number, max_bytes } = waiting;
        let lost = || Failure::new(ErrorCode::UnknownFetchSession, "the session was resumed or is gone");
        let session = self.open.get_mut(&id).ok_or_else(lost)?;
        let (mut parts, mut bytes) = (Vec::new(), Vec::new());
        if 0 < max_bytes {
            let turn = session.waiting.iter().position(|waiting| *waiting == number).ok_or_else(lost)?;
            if turn != 0 {
                return Ok(None);
            }
            (parts, bytes) = session.gather(number, max_bytes, log);
            if std::mem::take(&mut self.contradicts) {
                (parts, bytes) = (session.contradiction(), Vec::new());
            }
            if parts.is_empty() && !is_due {
                return Ok(None);
            }
            session.waiting.remove(0);
        }
        self.permitted -= max_bytes as usize;
        self.bytes.sent += bytes.len();
        self.bytes.peak = self.bytes.peak.max(self.bytes.sent + self.permitted);
        Ok(Some((FetchSessionAnswer { session: FetchSessionId(id), number, parts }, bytes)))
    }

    pub(super) fn bytes(&self) -> SessionBytes {
        self.bytes
    }

    /// The broker of all open sessions leads no partition any more.
    pub(super) fn move_leader(&mut self) {
        for session in self.open.values_mut() {
            session.has_moved = true;
        }
    }

    /// The number of open sessions.
    pub(super) fn count(&self) -> usize {
        self.open.len()
    }

    pub(super) fn contradict(&mut self) {
        self.contradicts = true;
    }

    pub(super) fn will_contradict(&self) -> bool {
        self.contradicts
    }

    /// Forgets all sessions.
    pub(super) fn evict(&mut self) {
        self.open.clear();
    }
}

impl Session {
    /// Ends the first slot, then names records of it that the answer does not have.
    fn contradiction(&mut self) -> Vec<SlotPart> {
        let (slot, state) = self.slots.iter_mut().next().expect("the session has a slot");
        state.has_ended = true;
        let (high_watermark, log_start) = (state.position, Offset::ZERO);
        let missing = FetchedRecords { length: 1 << 20, high_watermark, log_start, damaged: None };
        let part = |fetched| SlotPart { slot: *slot, offset: state.position, fetched };
        let failure = Failure::new(ErrorCode::NotLeader, "moved");
        vec![part(Err(failure)), part(Ok(FetchedPartition::Records(missing)))]
    }

    fn receive(&mut self, below: u64) {
        self.unreceived = self.unreceived.split_off(&below);
    }

    fn go_back(&mut self) {
        self.waiting.clear();
        while let Some((_, slots)) = self.unreceived.pop_last() {
            for (slot, before) in slots {
                self.slots.entry(slot).and_modify(|slot| *slot = Slot { was_told: false, ..before });
            }
        }
    }

    fn change(&mut self, asked: &FetchSession) {
        for slot in &asked.drop {
            self.slots.remove(slot);
        }
        for AddedSlot { slot, partition } in &asked.add {
            let new = Slot { partition: *partition, position: partition.offset, was_told: false, has_ended: false };
            self.slots.entry(*slot).or_insert(new);
        }
    }

    fn gather(&mut self, number: u64, max_bytes: u32, log: &Log) -> (Vec<SlotPart>, Vec<u8>) {
        let (mut parts, mut bytes, mut before) = (Vec::new(), Vec::new(), Vec::new());
        for (number, slot) in self.slots.iter_mut().filter(|(_, slot)| !slot.has_ended) {
            let news = if self.has_moved {
                Err(Failure::new(ErrorCode::NotLeader, "another broker leads the partition"))
            } else if log.topic == Some(slot.partition.topic) {
                let (fetched, found, end) = log.fetch(slot.position, max_bytes as usize - bytes.len());
                if slot.was_told && found.is_empty() {
                    continue;
                }
                bytes.extend(found);
                Ok((fetched, end))
            } else {
                Err(Failure::new(ErrorCode::UnknownTopicId, "no topic has this id"))
            };
            before.push((*number, *slot));
            let offset = slot.position;
            (slot.was_told, slot.has_ended) = (true, news.is_err());
            slot.position = news.as_ref().map_or(offset, |(_, end)| *end);
            let fetched = news.map(|(fetched, _)| FetchedPartition::Records(fetched));
            parts.push(SlotPart { slot: *number, offset, fetched });
            if max_bytes as usize <= bytes.len() {
                break;
            }
        }
        self.unreceived.insert(number, before);
        (parts, bytes)
    }
}
