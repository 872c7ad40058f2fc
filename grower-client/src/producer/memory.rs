//! Limits the memory of a producer's records: callers wait while it is full.

use crate::error::ProduceError;
use crate::record::Record;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// The approximate memory of a record without its bytes: its share of queues and promises.
const RECORD_OVERHEAD: usize = 64;

/// The memory of one producer.
#[derive(Debug)]
pub(super) struct ProducerMemory {
    free: Semaphore,
    capacity: usize,
    waiting: AtomicUsize,
}

/// The memory reserved for one record; freed when dropped.
#[derive(Debug)]
pub(super) struct MemoryReservation<'a> {
    permit: SemaphorePermit<'a>,
    pub(super) bytes: usize,
}

impl MemoryReservation<'_> {
    /// Passes the memory to the record's queue; [`ProducerMemory::release`] frees it, batch by batch.
    pub(super) fn hand_in(self) {
        debug_assert_eq!(self.permit.num_permits(), self.bytes, "a reservation holds its bytes");
        self.permit.forget();
    }
}

/// Counts a waiting caller until dropped.
struct MemoryWaiter<'a>(&'a AtomicUsize);

impl<'a> MemoryWaiter<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
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

    /// Reserves memory for `record`, first come first served. Calls `full` before a wait; returns `None` if no memory
    /// was free within `max_wait`.
    pub(super) async fn reserve(
        &self,
        record: &Record,
        max_wait: Duration,
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
        let _waiting = MemoryWaiter::new(&self.waiting);
        full(); // After the count: a caller that fills a batch from here on sees that it must not linger.
        match timeout(max_wait, self.free.acquire_many(permits)).await {
            Ok(Ok(permit)) => Ok(Some(MemoryReservation { permit, bytes })),
            Ok(Err(_)) => Err(ProduceError::Closed),
            Err(_) => Ok(None),
        }
    }

    /// The reserved bytes.
    pub(super) fn used(&self) -> usize {
        self.capacity - self.free.available_permits()
    }

    /// Whether a caller waits for memory.
    pub(super) fn is_short(&self) -> bool {
        0 < self.waiting.load(Ordering::Relaxed)
    }

    /// Frees the memory of settled records.
    pub(super) fn release(&self, bytes: usize) {
        debug_assert!(bytes <= self.used(), "{bytes} bytes to release, {} reserved", self.used());
        self.free.add_permits(bytes);
    }

    /// Rejects all waiting and later callers.
    pub(super) fn close(&self) {
        self.free.close();
    }
}

fn size(record: &Record) -> usize {
    let length = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, |bytes| bytes.len());
    let headers: usize = record.headers.iter().map(|header| header.name.len() + length(&header.value)).sum();
    RECORD_OVERHEAD + length(&record.key) + length(&record.value) + headers
}
