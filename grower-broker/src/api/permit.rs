//! The right to have a request in work, and what it holds until its answer is sent.

use crate::memory::{Memory, Reserved};
use grower_protocol::message::Request;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What one request holds. Given back when its answer is sent, or when it needs none.
#[derive(Debug)]
pub(crate) struct Permit {
    place: Place, // Held for its drop.
    memory: Option<Reserved>,
    /// Where it may wait for its answer without a place.
    lounge: Option<Lounge>,
}

/// Where requests wait that only wait, so that they take no place from those that work.
#[derive(Clone, Debug)]
struct Lounge {
    free: Arc<Semaphore>,
    memory: Memory,
}

/// What a request in work costs in memory if its message is small: itself, its answer, and who waits for that.
const PLACE_BYTES: usize = 512;
/// Requests in work that the connection's share of the budget pays for.
const PREPAID: usize = 32;
/// Up to this size a message is small.
const SMALL_MESSAGE: usize = 128;

/// Requests of one connection that wait beside those that have a place: the members of a large group in one process.
const LOUNGE: usize = 1_000;

/// A message's decoded form and its answer are at most this many times its size.
const DECODED: usize = 24;
/// For requests about records: this many times.
const LEAN: usize = 4;

/// Bytes that a request with a message of `length` takes beside the frame it came in.
pub(crate) fn decoded(length: usize) -> usize {
    if length <= SMALL_MESSAGE { 0 } else { length * DECODED }
}

/// The requests of one connection that are in work.
pub(super) struct Places {
    free: Arc<Semaphore>,
    most: usize,
    lounge: Lounge,
}

/// One of [`Places`].
pub(super) type Place = OwnedSemaphorePermit;

impl Places {
    pub(super) fn new(most: usize, memory: &Memory) -> Self {
        let lounge = Lounge { free: Arc::new(Semaphore::new(LOUNGE)), memory: memory.clone() };
        Self { free: Arc::new(Semaphore::new(most)), most, lounge }
    }

    /// A place, if one is free.
    pub(super) fn try_take(&self) -> Option<Place> {
        self.free.clone().try_acquire_owned().ok()
    }

    /// Waits for a place.
    pub(super) async fn take(&self) -> Place {
        self.free.clone().acquire_owned().await.expect("places are never closed")
    }

    /// What the place taken last costs beyond the connection's share.
    pub(super) fn cost(&self) -> usize {
        if self.most - self.free.available_permits() <= PREPAID { 0 } else { PLACE_BYTES }
    }

    /// Whether no request is in work.
    pub(super) fn all_free(&self) -> bool {
        self.free.available_permits() == self.most && self.lounge.free.available_permits() == LOUNGE
    }

    /// Gives requests in work a moment to be answered.
    pub(super) async fn drain(&self) {
        let all = async {
            (self.lounge.free.acquire_many(LOUNGE as u32).await, self.free.acquire_many(self.most as u32).await)
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), all).await;
    }
}

impl Permit {
    pub(super) fn new(place: Place, memory: Option<Reserved>) -> Self {
        Self { place, memory, lounge: None }
    }

    /// The request will only wait, from now on until it is answered: its place goes to another. It keeps it if too many
    /// wait already, or memory is short.
    pub(crate) fn only_waits(&mut self) {
        let Some(lounge) = self.lounge.take() else { return };
        if self.memory.is_none() {
            self.memory = lounge.memory.try_reserve(PLACE_BYTES);
        }
        if let (Some(_), Ok(place)) = (&self.memory, lounge.free.try_acquire_owned()) {
            self.place = place;
        }
    }

    /// Whether it holds memory that others could use.
    pub(crate) fn holds_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// Gives back what `request`, which is decoded now, will not take: batches are appended and slices are found without
    /// copies, and a fetch may wait for minutes.
    pub(super) fn fit(&mut self, request: &Request, message_length: usize, places: &Places) {
        if let Request::Heartbeat(_) = request {
            self.lounge = Some(places.lounge.clone());
        }
        if let (Request::Produce(_) | Request::Fetch(_) | Request::FetchAfter(_), Some(memory)) =
            (request, &mut self.memory)
        {
            memory.shrink((message_length * LEAN).max(PLACE_BYTES));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grower_protocol::ids::{GroupId, MemberEpoch, MemberId};
    use grower_protocol::message::Heartbeat;

    fn held() -> Request {
        let beat = Heartbeat {
            group: GroupId::new("g").unwrap(),
            member: MemberId::new("m").unwrap(),
            epoch: MemberEpoch::new(1),
            topics: Vec::new(),
            owned: Vec::new(),
            session_timeout_ms: 1_000,
            rebalance_timeout_ms: 1_000,
            assignor: None,
            instance: None,
            max_wait_ms: 1_000,
        };
        Request::Heartbeat(beat)
    }

    fn waiting(places: &Places, request: &Request) -> Option<Permit> {
        let mut permit = Permit::new(places.try_take()?, None);
        permit.fit(request, 100, places);
        permit.only_waits();
        Some(permit)
    }

    #[test]
    fn who_only_waits_takes_no_place_until_too_many_do() {
        let memory = Memory::new(16 << 20);
        let places = Places::new(2, &memory);
        let permits: Vec<_> = std::iter::from_fn(|| waiting(&places, &held())).collect();
        assert_eq!(permits.len(), LOUNGE + 2);
        assert!(!places.all_free());
        assert_eq!(memory.used(), (LOUNGE + 2) << 10);
        drop(permits);
        assert!(places.all_free());
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn who_may_not_wait_elsewhere_or_finds_no_memory_keeps_its_place() {
        let memory = Memory::new(16 << 20);
        let places = Places::new(2, &memory);
        let _fetching = waiting(&places, &Request::InitProducer).unwrap();
        assert!(places.try_take().is_some());
        let _all = memory.try_reserve(16 << 20).unwrap();
        let _held = waiting(&places, &held()).unwrap();
        assert!(places.try_take().is_none());
    }
}
