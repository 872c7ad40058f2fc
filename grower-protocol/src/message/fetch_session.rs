//! Fetch sessions. The broker keeps the set of partitions that a client reads, and the position in each: a request
//! carries only what changed, an answer only what has news. Both cost as much as their records, not as the set.
//!
//! # The set
//!
//! Each partition in the set has a slot. The client numbers the slots; a number is never used twice, and each is larger
//! than all before it. A change of the position or the limits is therefore a dropped slot and a new one, and news of a
//! dropped slot that is still on its way is told apart by its number.
//!
//! A new slot is news: its first part tells the high watermark, even without records. From then on it has news when
//! there are records at its position. A part moves the position behind its records. A part that has no plain records (a
//! failure, a divergence or damage) ends its slot, and the client adds another one to read on.
//!
//! # Requests and answers
//!
//! Each request permits one answer of `max_bytes`. A client sends the next ones before the first is answered, so that
//! records travel while it takes in earlier ones. The broker answers in the order of the requests, but a request without
//! permitted bytes, which only brings changes, is answered at once. Answers on different threads may overtake each other
//! on their way: their numbers tell the order.
//!
//! The requests of a session are numbered without holes. With each one the client says up to which answer it has taken
//! in all. What it has not taken in is sent again if it resumes the session over another connection: the positions go
//! back to those before the lost answers. A broker forgets a session that is not used for a while, and earlier if it
//! needs the memory; the client then opens another one.
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
    /// The session and the place of this request in it.
    pub step: SessionStep,
    /// The longest time to wait for `min_bytes`.
    pub max_wait_ms: u32,
    /// The number of bytes to answer at once. News without records is answered at once, too.
    pub min_bytes: u32,
    /// The most bytes of batches in the answer. Its first batch is sent even if it is larger. With 0 the request only
    /// brings changes and is answered at once, without parts.
    pub max_bytes: u32,
    /// The slots to drop. Unknown and ended ones are ignored.
    pub drop: Vec<FetchSlot>,
    /// The slots to add, after the drops, ascending.
    pub add: Vec<AddedSlot>,
}

/// The session of a request, and the place of the request in it.
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

/// The place of a request in its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSequence {
    /// The session.
    pub session: FetchSessionId,
    /// The number of the request: one more than that of the one before.
    pub number: u64,
    /// The client has taken in all answers that hold parts and have a smaller number than this.
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
    /// The news, in the order in which it came up. The attachment holds the batches in the same order.
    pub parts: Vec<SlotPart>,
}

/// The news of one slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotPart {
    /// The slot.
    pub slot: FetchSlot,
    /// The slot's position before this part.
    pub offset: Offset,
    /// The records. Anything else ends the slot.
    pub fetched: Part<FetchedPartition>,
}
