//! Fetch sessions. The broker keeps the set of partitions that a client reads, and the position in each: a request
//! carries only changes, an answer only slots with something to send. Both cost as much as their records, not as the
//! set.
//!
//! # The set
//!
//! Each partition in the set has a slot. The client numbers the slots; a number is never used twice, and each is larger
//! than all before it. A change of the position or the limits is therefore a dropped slot and a new one, and late
//! records of a dropped slot are recognised by its number.
//!
//! The first part of a new slot has the high watermark, with or without records. Every other part is sent when there
//! are records at the slot's position, or when the slot ends. A part moves the position behind its records. A part with
//! a failure, a divergence or damage ends its slot, and the client adds another one to continue.
//!
//! # Requests and answers
//!
//! Each request permits one answer of `max_bytes`. A client sends the next ones before the first is answered, so that
//! records travel while it takes in earlier ones. The broker answers in the order of the requests, but a request
//! without permitted bytes, which only brings changes, is answered at once. Answers on different threads may overtake
//! each other on their way: their numbers give the order.
//!
//! The requests of a session are numbered without holes. Each one says below which number the client has taken in all
//! answers. The others are sent again if the client resumes the session over another connection: the positions go back
//! to those before the lost answers. A broker forgets a session that is unused for a while, and earlier if it needs the
//! memory; the client then opens another one.
//!
//! # Limits and failures
//!
//! A session has at most 8 requests that wait and 8 answers with parts that the client has not taken in: the next
//! request that permits bytes fails with `LimitReached`. An answer has at most 1,024 parts, and a slot may have several
//! of them. A wait lasts 5 minutes at most and ends early when many small parts have come together. A session without a
//! request for 2 minutes is forgotten.
//!
//! A refused request changes nothing, and its number stays the next one. The broker refuses with `UnknownFetchSession`
//! if the session is gone, the number is wrong, or another request resumed the session meanwhile; with `InvalidRequest`
//! if slots are not ascending or were used before, or if `received_below` is impossible; with `MemoryFull` if the slots
//! do not fit its memory for sessions. A broker receives messages of up to a 256th of its memory, so a client spreads
//! many changes over several requests.
//!
//! The answer to [`SessionStep::Close`] has the number of the next request and no parts. A partition may be in several
//! slots: each gets all records.

use super::{FetchPartition, FetchedPartition, Part};
use crate::ids::Offset;
use serde::{Deserialize, Serialize};

/// Identifies a fetch session of one broker. The broker chooses it at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FetchSessionId(pub u64);

/// Numbers a slot of a session, ascending from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FetchSlot(pub u32);

/// Opens, continues, resumes or closes a fetch session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchSession {
    /// The session, and the number of this request in it.
    pub step: SessionStep,
    /// The longest time to wait for `min_bytes`.
    pub max_wait_ms: u32,
    /// The broker answers as soon as it has this many bytes of batches. It answers with less when the time is over,
    /// when a slot is new or ends, when many small parts have come together, or when its memory is short.
    pub min_bytes: u32,
    /// The most bytes of batches in the answer. Its first batch is sent even if it is larger. With 0 the request only
    /// brings changes and is answered at once, without parts.
    pub max_bytes: u32,
    /// The slots to drop. Unknown and ended ones are ignored.
    pub drop: Vec<FetchSlot>,
    /// The slots to add, after the drops, ascending.
    pub add: Vec<AddedSlot>,
}

/// The session of a request, and the number of the request in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionStep {
    /// Opens a session. The request has number 0 and is answered at once.
    Open,
    /// Continues a session.
    Continue(SessionSequence),
    /// Continues a session after answers were lost. The number is larger than all before it, holes allowed. Requests
    /// that still wait fail; the changes of lost requests are repeated, and slots that the broker already added are
    /// skipped.
    Resume(SessionSequence),
    /// Closes a session.
    Close(FetchSessionId),
}

/// The session of a request, the request's number, and the answers that the client has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSequence {
    /// The session.
    pub session: FetchSessionId,
    /// The number of the request: one more than that of the one before.
    pub number: u64,
    /// The client has taken in all answers with parts below this number.
    pub received_below: u64,
}

/// A partition that a session begins to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedSlot {
    /// The slot.
    pub slot: FetchSlot,
    /// The partition, the position in it, and the most bytes of it in one answer.
    pub partition: FetchPartition,
}

/// Answers [`FetchSession`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchSessionAnswer {
    /// The session.
    pub session: FetchSessionId,
    /// The number of the request.
    pub number: u64,
    /// The parts, in the order in which they were read. The attachment holds the batches in the same order.
    pub parts: Vec<SlotPart>,
}

/// A part of an answer: records of one slot, or the reason why the slot ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotPart {
    /// The slot.
    pub slot: FetchSlot,
    /// The slot's position before this part.
    pub offset: Offset,
    /// The records. Anything else ends the slot.
    pub fetched: Part<FetchedPartition>,
}
