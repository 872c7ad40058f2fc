//! The right to have a request in work, and what it holds until its answer is sent.

use crate::memory::Reserved;
use grower_protocol::message::Request;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What one request holds. Given back when its answer is sent, or when it needs none.
#[derive(Debug)]
pub(crate) struct Permit {
    #[expect(dead_code, reason = "held for its drop")]
    place: Place,
    memory: Option<Reserved>,
}

/// What a request in work costs in memory if its message is small: itself, its answer, and who waits for that.
const PLACE_BYTES: usize = 512;
/// Requests in work that the connection's share of the budget pays for.
const PREPAID: usize = 32;
/// Up to this size a message is small.
const SMALL_MESSAGE: usize = 128;

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
}

/// One of [`Places`].
pub(super) type Place = OwnedSemaphorePermit;

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(most)), most }
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
        self.free.available_permits() == self.most
    }

    /// Gives requests in work a moment to be answered.
    pub(super) async fn drain(&self) {
        let all = self.free.acquire_many(self.most as u32);
        let _ = tokio::time::timeout(Duration::from_secs(2), all).await;
    }
}

impl Permit {
    pub(super) fn new(place: Place, memory: Option<Reserved>) -> Self {
        Self { place, memory }
    }

    /// Whether it holds memory that others could use.
    pub(crate) fn holds_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// Gives back what `request`, which is decoded now, will not take: batches are appended and slices are found without
    /// copies, and a fetch may wait for minutes.
    pub(super) fn fit(&mut self, request: &Request, message_length: usize) {
        if let (Request::Produce(_) | Request::Fetch(_), Some(memory)) = (request, &mut self.memory) {
            memory.shrink((message_length * LEAN).max(PLACE_BYTES));
        }
    }
}
