//! Bounds what a producer holds, in bytes: who has no room waits.

use crate::error::ProduceError;
use crate::record::Record;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// What a record costs besides its bytes: its share of queues and promises, roughly.
const RECORD_OVERHEAD: usize = 64;

/// The memory of one producer.
#[derive(Debug)]
pub(super) struct ProducerMemory {
    free: Semaphore,
    capacity: usize,
    waiting: AtomicUsize,
}

/// Room for one record. Dropped, it is free again.
#[derive(Debug)]
pub(super) struct MemoryReservation<'a> {
    permit: SemaphorePermit<'a>,
    pub(super) bytes: usize,
}

impl MemoryReservation<'_> {
    /// The record was handed in: [`ProducerMemory::release`] gives its bytes back, batch by batch.
    pub(super) fn hand_in(self) {
        self.permit.forget();
    }
}

/// Counts somebody who waits, until dropped.
struct MemoryWaiter<'a>(&'a AtomicUsize);

impl<'a> MemoryWaiter<'a> {
    fn in_line(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for MemoryWaiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ProducerMemory {
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Self { free: Semaphore::new(capacity), capacity, waiting: AtomicUsize::new(0) }
    }

    /// Waits for room for `record`, first come first served. If it has to wait, `full` is called first; none if there is
    /// no room after `patience`.
    pub(super) async fn reserve(
        &self,
        record: &Record,
        patience: Duration,
        full: impl FnOnce(),
    ) -> Result<Option<MemoryReservation<'_>>, ProduceError> {
        let bytes = size(record);
        let permits = match u32::try_from(bytes) {
            Ok(permits) if bytes <= self.capacity => permits,
            _ => return Err(ProduceError::TooLarge { bytes, memory: self.capacity }),
        };
        if let Ok(permit) = self.free.try_acquire_many(permits) {
            return Ok(Some(MemoryReservation { permit, bytes }));
        }
        let _waiting = MemoryWaiter::in_line(&self.waiting);
        full(); // After that: whoever fills a batch from here on sees that it must not linger.
        match timeout(patience, self.free.acquire_many(permits)).await {
            Ok(Ok(permit)) => Ok(Some(MemoryReservation { permit, bytes })),
            Ok(Err(_)) => Err(ProduceError::Closed),
            Err(_) => Ok(None),
        }
    }

    /// How much is taken.
    pub(super) fn used(&self) -> usize {
        self.capacity.saturating_sub(self.free.available_permits())
    }

    /// Whether somebody waits for room.
    pub(super) fn is_short(&self) -> bool {
        0 < self.waiting.load(Ordering::Relaxed)
    }

    /// Gives back what settled records took.
    pub(super) fn release(&self, bytes: usize) {
        self.free.add_permits(bytes);
    }

    /// Sends away everybody who waits.
    pub(super) fn close(&self) {
        self.free.close();
    }
}

fn size(record: &Record) -> usize {
    let length = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, |bytes| bytes.len());
    let headers: usize = record.headers.iter().map(|header| header.name.len() + length(&header.value)).sum();
    RECORD_OVERHEAD + length(&record.key) + length(&record.value) + headers
}
