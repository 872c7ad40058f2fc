//! The right of a request to be in flight, and what it holds until its answer is sent.

use crate::memory::{Memory, Reserved};
use grower_protocol::message::{MemoryUse, RequestKind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The resources of one request, given back when its answer is sent or it needs none.
#[derive(Debug)]
pub(crate) struct Permit {
    slot: InFlightSlot,
    memory: Option<Reserved>,
}

/// Bounds the requests of one connection that are in flight, and those that only wait.
#[derive(Clone, Debug)]
pub(crate) struct InFlightLimit(Arc<RequestSlots>);

#[derive(Debug)]
struct RequestSlots {
    in_flight: Semaphore,
    in_flight_max: usize,
    /// For requests that only wait, so that they keep no other request from being handled.
    waiting: Semaphore,
    memory: Memory,
}

/// One of the slots, free again when it is dropped.
#[derive(Debug)]
pub(crate) struct InFlightSlot {
    slots: Arc<RequestSlots>,
    waiting: bool,
}

/// Memory for a request in flight with a small message: itself, its answer, and its waiter.
const REQUEST_BYTES: usize = 512;
/// Requests in flight that the connection's share of the budget pays for.
const PREPAID: usize = 32;
/// Up to this size a message is small.
const SMALL_MESSAGE: usize = 128;

/// Requests of one connection that only wait, in addition to those in flight: the members of a large group in one
/// process.
const WAITING_MAX: usize = 1_000;

/// A message's decoded form and its answer are at most this many times its size.
const DECODED: usize = 24;
/// For requests about records: this many times.
const DECODED_RECORDS: usize = 4;

/// Bytes that a request with a message of `length` takes in addition to its frame.
pub(crate) fn decoded(length: usize) -> usize {
    if length <= SMALL_MESSAGE { 0 } else { length * DECODED }
}

impl InFlightLimit {
    pub(crate) fn new(in_flight_max: usize, memory: &Memory) -> Self {
        let (in_flight, waiting) = (Semaphore::new(in_flight_max), Semaphore::new(WAITING_MAX));
        Self(Arc::new(RequestSlots { in_flight, in_flight_max, waiting, memory: memory.clone() }))
    }

    /// Takes a slot, if one is free.
    pub(crate) fn try_take(&self) -> Option<InFlightSlot> {
        self.0.in_flight.try_acquire().ok().map(|taken| self.slot(taken))
    }

    /// Waits for a slot.
    pub(crate) async fn take(&self) -> InFlightSlot {
        self.slot(self.0.in_flight.acquire().await.expect("slots are never closed"))
    }

    fn slot(&self, taken: SemaphorePermit<'_>) -> InFlightSlot {
        taken.forget(); // The slot gives it back.
        InFlightSlot { slots: self.0.clone(), waiting: false }
    }

    /// Memory that the slot taken last costs beyond the connection's share.
    pub(crate) fn cost(&self) -> usize {
        let in_flight = self.0.in_flight_max - self.0.in_flight.available_permits();
        if in_flight <= PREPAID { 0 } else { REQUEST_BYTES }
    }

    /// Whether no request is in flight, or waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.in_flight.available_permits() == self.0.in_flight_max
            && self.0.waiting.available_permits() == WAITING_MAX
    }

    /// Gives requests in flight a moment to be answered.
    pub(crate) async fn drain(&self) {
        let all = async {
            let waiting = self.0.waiting.acquire_many(WAITING_MAX as u32).await;
            (waiting, self.0.in_flight.acquire_many(self.0.in_flight_max as u32).await)
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), all).await;
    }
}

impl Drop for InFlightSlot {
    fn drop(&mut self) {
        let (slots, max) = match self.waiting {
            true => (&self.slots.waiting, WAITING_MAX),
            false => (&self.slots.in_flight, self.slots.in_flight_max),
        };
        slots.add_permits(1);
        debug_assert!(slots.available_permits() <= max, "a slot is given back once");
    }
}

impl Permit {
    pub(crate) fn new(slot: InFlightSlot, memory: Option<Reserved>) -> Self {
        Self { slot, memory }
    }

    /// The request only waits from now on. Releases its slot, unless too many requests wait already or memory is short.
    pub(crate) fn only_waits(&mut self) {
        let slots = self.slot.slots.clone();
        if self.memory.is_none() {
            self.memory = slots.memory.try_reserve(REQUEST_BYTES);
        }
        if self.memory.is_some()
            && let Ok(taken) = slots.waiting.try_acquire()
        {
            taken.forget();
            self.slot = InFlightSlot { slots: slots.clone(), waiting: true };
        }
    }

    /// Whether it holds memory that others could use.
    pub(crate) fn holds_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// Gives back its memory: another account has what is left of the request.
    pub(crate) fn release_memory(&mut self) {
        self.memory = None;
    }

    /// Gives back memory that a decoded request does not take: batches are appended and slices are found without
    /// copies, and a fetch may wait for minutes.
    pub(crate) fn fit(&mut self, kind: &RequestKind, message_length: usize) {
        if kind.memory == MemoryUse::Records
            && let Some(memory) = &mut self.memory
        {
            memory.shrink((message_length * DECODED_RECORDS).max(REQUEST_BYTES));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(requests: &InFlightLimit) -> Option<Permit> {
        let mut permit = Permit::new(requests.try_take()?, None);
        permit.only_waits();
        Some(permit)
    }

    #[test]
    fn a_request_that_only_waits_takes_no_slot_until_too_many_do() {
        let memory = Memory::new(16 << 20);
        let requests = InFlightLimit::new(2, &memory);
        let permits: Vec<_> = std::iter::from_fn(|| waiting(&requests)).collect();
        assert_eq!(permits.len(), WAITING_MAX + 2);
        assert!(!requests.is_idle());
        assert_eq!(memory.used(), (WAITING_MAX + 2) << 10);
        drop(permits);
        assert!(requests.is_idle());
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn a_request_that_finds_no_memory_to_wait_keeps_its_slot() {
        let memory = Memory::new(16 << 20);
        let requests = InFlightLimit::new(2, &memory);
        let _fetching = Permit::new(requests.try_take().unwrap(), None);
        let _all = memory.try_reserve(16 << 20).unwrap();
        let _waiting = waiting(&requests).unwrap();
        assert!(requests.try_take().is_none());
    }
}
