//! A client of one fetch session, which sends exactly what a test says.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use super::raw::*;
use grower_broker::Broker;
use grower_protocol::ids::{Offset, PartitionId, TopicId};
use grower_protocol::message::*;
use tokio::io::DuplexStream;

/// One connection, and the client's state of a session.
pub(crate) struct SessionClient {
    pub(crate) raw: Raw<DuplexStream>,
    pub(crate) session: FetchSessionId,
    /// The number of the next request.
    pub(crate) next: u64,
    pub(crate) received_below: u64,
}

/// A part of an answer: its slot, the offset before it, and its values or why it has none.
pub(crate) type ReceivedPart = (u32, u64, Result<Vec<String>, ErrorCode>);

/// A slot that reads partition 0 of a topic.
pub(crate) fn slot(slot: u32, topic: TopicId, offset: u64) -> AddedSlot {
    slot_of(slot, topic, 0, offset)
}

pub(crate) fn slot_of(slot: u32, topic: TopicId, partition: u32, offset: u64) -> AddedSlot {
    let partition = FetchPartition {
        topic,
        partition: PartitionId::new(partition),
        offset: Offset::new(offset),
        max_bytes: 1 << 20,
        leader_epoch: None,
        last_epoch: None,
    };
    AddedSlot { slot: FetchSlot(slot), partition }
}

/// A request without changes, whose answer waits for at most 20 seconds. The session fills in the step.
pub(crate) fn poll() -> FetchSession {
    let step = SessionStep::Open;
    FetchSession { step, max_wait_ms: 20_000, min_bytes: 1, max_bytes: 1 << 20, drop: Vec::new(), add: Vec::new() }
}

/// A request that is answered at once.
pub(crate) fn fetch_now() -> FetchSession {
    FetchSession { max_wait_ms: 0, ..poll() }
}

/// A request that only adds slots.
pub(crate) fn add(add: Vec<AddedSlot>) -> FetchSession {
    FetchSession { max_bytes: 0, add, ..poll() }
}

impl SessionClient {
    /// Opens a session with these slots.
    pub(crate) async fn open(broker: &Broker, slots: Vec<AddedSlot>) -> Self {
        let mut raw = Raw::open(broker.connect()).await;
        let answer = match raw.ask(&Request::FetchSession(add(slots))).await {
            Response::FetchSession(answer) => answer,
            other => panic!("{other:?}"),
        };
        assert_eq!((answer.number, answer.parts.len()), (0, 0));
        Self { raw, session: answer.session, next: 1, received_below: 0 }
    }

    pub(crate) fn sequence(&self) -> SessionSequence {
        SessionSequence { session: self.session, number: self.next, received_below: self.received_below }
    }

    /// Sends the next request.
    pub(crate) async fn send(&mut self, request: FetchSession) {
        let step = SessionStep::Continue(self.sequence());
        self.next += 1;
        self.raw.send(&Request::FetchSession(FetchSession { step, ..request }), &[]).await;
    }

    /// Receives an answer: its number and its parts. Everything up to it counts as taken in.
    pub(crate) async fn receive(&mut self) -> (u64, Vec<ReceivedPart>) {
        let (number, parts) = self.receive_lost().await;
        self.received_below = self.received_below.max(number + 1);
        (number, parts)
    }

    /// Receives an answer, and forgets it.
    pub(crate) async fn receive_lost(&mut self) -> (u64, Vec<ReceivedPart>) {
        match self.raw.receive().await.expect("the broker answers") {
            (_, Response::FetchSession(answer), records) => {
                assert_eq!(answer.session, self.session);
                (answer.number, received_parts(answer.parts, records))
            }
            (_, other, _) => panic!("{other:?}"),
        }
    }

    /// The parts of the next answer.
    pub(crate) async fn ask(&mut self, request: FetchSession) -> Vec<ReceivedPart> {
        let number = self.next;
        self.send(request).await;
        let (answered, parts) = self.receive().await;
        assert_eq!(answered, number);
        parts
    }

    /// The failure of a request.
    pub(crate) async fn refused(&mut self, request: FetchSession) -> Failure {
        match self.raw.ask(&Request::FetchSession(request)).await {
            Response::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }
}

/// Takes the attachment apart.
pub(crate) fn received_parts(parts: Vec<SlotPart>, mut records: bytes::Bytes) -> Vec<ReceivedPart> {
    let mut all = Vec::new();
    for SlotPart { slot, offset, fetched } in parts {
        let read = match fetched {
            Ok(FetchedPartition::Records(fetched)) if fetched.damaged.is_none() => {
                Ok(values(records.split_to(fetched.length as usize)))
            }
            Ok(FetchedPartition::Records(_)) => Err(ErrorCode::CorruptLog),
            Ok(FetchedPartition::Diverged(_)) => Err(ErrorCode::NotLeader),
            Err(failure) => Err(failure.code),
        };
        all.push((slot.0, offset.value(), read));
    }
    assert!(records.is_empty(), "the attachment has the records of the parts");
    all
}

/// Values of one slot in an answer.
pub(crate) fn read(slot: u32, offset: u64, values: &[&str]) -> ReceivedPart {
    (slot, offset, Ok(values.iter().map(|value| (*value).to_owned()).collect()))
}
