//! One leader's fetch session with its connection.

use super::FetcherEvent;
use super::arrived_answer::ArrivedAnswer;
use crate::connection::BrokerConnection;
use crate::consumer::state::{
    ClientFetchSession, FetchPlacement, FetchVersion, PartitionIndex, ReceivedAnswer, RequestLimits, SessionKey,
};
use bytes::Bytes;
use grower_protocol::ids::LeaderEpoch;
use grower_protocol::message::{Request, SessionStep};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The most reads in flight: one travels, one is being answered, one waits.
const READS_MAX: usize = 3;
/// The number of lost connections in a row after which a session is stuck.
const STUCK_LOSSES: u32 = 3;
/// The time for which a session without slots is kept: a reader that is paused for a moment needs no other one.
const UNUSED_KEPT: Duration = Duration::from_secs(1);

/// Orders sessions that want to read: the one with the fewest reads in flight first, then the one that waits longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ReadTurn {
    in_flight: usize,
    last: u64,
}

/// The partition that a slot reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotOwner {
    pub(super) partition: PartitionIndex,
    pub(super) version: FetchVersion,
    /// The topic is compacted.
    pub(super) gaps_allowed: bool,
    /// The epoch of the leader that the slot reads from.
    pub(super) leader_epoch: Option<LeaderEpoch>,
}

impl SlotOwner {
    /// Whether a partition's placement is this slot's.
    pub(super) fn is_placed_by(&self, placement: &FetchPlacement, session: SessionKey) -> bool {
        placement.session == session && placement.version == self.version
    }
}

/// A leader's fetch session, and the connection to the leader.
pub(super) struct LeaderSession {
    pub(super) key: SessionKey,
    pub(super) leader: Arc<str>,
    pub(super) state: ClientFetchSession<SlotOwner>,
    link: Link,
    /// The reads to keep in flight: several while there are records to read, one while the reader waits at the end.
    reads: usize,
    /// The bytes of the last answer to a read. Its first batch may be larger than the read permits.
    answer_bytes: usize,
    /// The connections that were lost since the last answer.
    losses: u32,
    /// The number of the session's last read, of those of all sessions.
    last_read: u64,
    /// The time since which the session has no slots.
    unused_since: Option<Instant>,
}

enum Link {
    Down,
    Dialing,
    Up(BrokerConnection),
}

impl LeaderSession {
    pub(super) fn new(key: SessionKey, leader: Arc<str>) -> Self {
        Self {
            key,
            leader,
            state: ClientFetchSession::default(),
            link: Link::Down,
            reads: 1,
            answer_bytes: 0,
            losses: 0,
            last_read: 0,
            unused_since: None,
        }
    }

    pub(super) fn connected(&mut self, connection: BrokerConnection) {
        self.link = Link::Up(connection);
    }

    /// Returns the number of failures to wait for if the session needs a connection; the caller dials then. The first
    /// lost connection needs no wait.
    pub(super) fn begin_dialing(&mut self) -> Option<u32> {
        let needs_one = matches!(self.link, Link::Down) && self.state.has_slots();
        needs_one.then(|| {
            self.link = Link::Dialing;
            self.losses.saturating_sub(1)
        })
    }

    /// Handles a lost connection. Returns false if the session cannot be resumed.
    pub(super) fn lose_connection(&mut self) -> bool {
        self.link = Link::Down;
        self.losses = self.losses.saturating_add(1);
        self.state.lose_link()
    }

    /// Returns the session's turn if it could use another read.
    pub(super) fn read_turn(&self) -> Option<ReadTurn> {
        let wants_read = matches!(self.link, Link::Up(_))
            && self.state.has_slots()
            && self.state.reads_in_flight() < self.reads
            && self.state.may_send(1);
        wants_read.then(|| ReadTurn { in_flight: self.state.reads_in_flight(), last: self.last_read })
    }

    /// Whether connections are lost again and again without an answer: it may be the answer that breaks them.
    pub(super) fn is_stuck(&self) -> bool {
        STUCK_LOSSES <= self.losses
    }

    /// The bytes to expect of a read that permits `max_bytes`.
    pub(super) fn expected_bytes(&self, max_bytes: usize) -> usize {
        self.answer_bytes.max(max_bytes)
    }

    /// The bytes to expect of all requests in flight.
    pub(super) fn expected_in_flight(&self) -> usize {
        self.state.permitted().max(self.state.reads_in_flight() * self.answer_bytes)
    }

    /// Sends a read, the one with this number of all sessions.
    pub(super) fn send_read(
        &mut self,
        number: u64,
        limits: RequestLimits,
        events: &mpsc::UnboundedSender<FetcherEvent>,
    ) {
        self.last_read = number;
        self.send(limits, events);
    }

    /// Whether the session has changes to send now.
    pub(super) fn wants_change(&self) -> bool {
        matches!(self.link, Link::Up(_)) && self.state.has_changes() && self.state.may_send(0)
    }

    /// Notes whether the session has slots; returns the time at which it has been unused for long, if it is.
    pub(super) fn unused_until(&mut self, now: Instant) -> Option<Instant> {
        let is_unused = !self.state.has_slots() && !matches!(self.link, Link::Dialing);
        self.unused_since = is_unused.then(|| self.unused_since.unwrap_or(now));
        self.unused_since.map(|since| since + UNUSED_KEPT)
    }

    /// Sends the next request.
    pub(super) fn send(&mut self, limits: RequestLimits, events: &mpsc::UnboundedSender<FetcherEvent>) {
        let Link::Up(connection) = &self.link else { return };
        let (number, request) = self.state.next_request(limits);
        let (key, events) = (self.key, events.clone());
        let opened_over = (request.step == SessionStep::Open).then(|| connection.downgrade());
        let done = Box::new(move |answer| {
            let answer = ArrivedAnswer::new(answer, opened_over);
            drop(events.send(FetcherEvent::Answered(key, number, answer))); // The consumer may be dropped.
        });
        connection.submit(&Request::FetchSession(request), Bytes::new(), limits.max_wait, done);
    }

    /// Returns the next answer to take in.
    pub(super) fn next_answer(&mut self) -> Option<ReceivedAnswer> {
        let answer = self.state.next_answer()?;
        self.losses = 0;
        if 0 < answer.permitted {
            let is_busy = answer.permitted as usize <= answer.batches.len() * 4;
            self.answer_bytes = answer.batches.len();
            self.reads = if is_busy { READS_MAX } else { 1 };
        }
        Some(answer)
    }

    /// Returns the connection over which the session is being opened.
    pub(super) fn opening_connection(&self) -> Option<BrokerConnection> {
        match &self.link {
            Link::Up(connection) if !self.state.is_open() => Some(connection.clone()),
            _ => None,
        }
    }

    /// Closes the session, so that the broker need not keep it until it times out.
    pub(super) fn close(&self) {
        if let (Link::Up(connection), Some(request)) = (&self.link, self.state.close()) {
            connection.submit(&Request::FetchSession(request), Bytes::new(), Default::default(), Box::new(drop));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_that_waits_longest_gets_the_room_for_one_read() {
        let mut last = [0; 5]; // Reads end as soon as they are sent, and there is always room for one.
        let mut order = Vec::new();
        for number in 1..=10 {
            let turns = last.map(|last| ReadTurn { in_flight: 0, last });
            let next = (0..last.len()).min_by_key(|at| turns[*at]).unwrap();
            last[next] = number;
            order.push(next);
        }
        assert_eq!(order, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
        let busy = ReadTurn { in_flight: 1, last: 1 };
        assert!(ReadTurn { in_flight: 0, last: 9 } < busy, "one without a read comes first");
    }
}
