//! Limits the memory of a producer's records: callers wait while it is full.

use crate::error::ProduceError;
use crate::record::Record;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

/// The approximate memory of a record without its bytes: its share of queues and promises.
const RECORD_OVERHEAD: usize = 64;

/// The memory of the lengths of a header.
const HEADER_OVERHEAD: usize = 10;

/// The largest batch. Its length must fit 31 bits, also if compression adds to it.
pub(super) const BATCH_BYTES_MAX: usize = 1 << 30;

/// The memory of one producer.
#[derive(Debug)]
pub(super) struct ProducerMemory {
    free: Semaphore,
    capacity: usize,
    waiting: AtomicUsize,
}

/// The memory reserved for records; freed when dropped.
#[derive(Debug)]
pub(super) struct MemoryReservation<'a>(SemaphorePermit<'a>);

impl MemoryReservation<'_> {
    /// The reserved bytes.
    pub(super) fn bytes(&self) -> usize {
        self.0.num_permits()
    }

    /// Passes some of its memory to the queue of a record; [`ProducerMemory::release`] frees it, batch by batch.
    pub(super) fn hand_in(&mut self, bytes: usize) {
        let handed_in = self.0.split(bytes);
        debug_assert!(handed_in.is_some(), "{bytes} bytes of {}", self.bytes());
        handed_in.into_iter().for_each(SemaphorePermit::forget);
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

    /// Reserves memory if it is free.
    pub(super) fn try_reserve(&self, bytes: usize) -> Option<MemoryReservation<'_>> {
        let permits = u32::try_from(bytes).ok().filter(|_| bytes <= BATCH_BYTES_MAX)?;
        self.free.try_acquire_many(permits).ok().map(MemoryReservation)
    }

    /// Reserves memory for `record`, first come first served. Calls `full` before a wait; returns `None` if no memory
    /// was free before `until`, or at once without `until`.
    pub(super) async fn reserve(
        &self,
        record: &Record,
        until: Option<Instant>,
        full: impl FnOnce(),
    ) -> Result<Option<MemoryReservation<'_>>, ProduceError> {
        self.reserve_bytes(size(record), until, full).await
    }

    /// The same for records of this size together.
    pub(super) async fn reserve_bytes(
        &self,
        bytes: usize,
        until: Option<Instant>,
        full: impl FnOnce(),
    ) -> Result<Option<MemoryReservation<'_>>, ProduceError> {
        let limit = self.capacity.min(BATCH_BYTES_MAX);
        let permits = match u32::try_from(bytes) {
            Ok(permits) if bytes <= limit => permits,
            _ => return Err(ProduceError::TooLarge { bytes, memory: limit }),
        };
        if let Some(reservation) = self.try_reserve(bytes) {
            return Ok(Some(reservation));
        }
        let _waiting = MemoryWaiter::new(&self.waiting);
        full(); // After the count: a caller that fills a batch from here on sees that it must not linger.
        let Some(until) = until else {
            return if self.free.is_closed() { Err(ProduceError::Closed) } else { Ok(None) };
        };
        match timeout_at(until, self.free.acquire_many(permits)).await {
            Ok(Ok(permit)) => Ok(Some(MemoryReservation(permit))),
            Ok(Err(_)) => Err(ProduceError::Closed),
            Err(_) => Ok(None),
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
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

/// The memory that a record takes.
pub(super) fn size(record: &Record) -> usize {
    let length = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, |bytes| bytes.len());
    let headers: usize =
        record.headers.iter().map(|header| HEADER_OVERHEAD + header.name.len() + length(&header.value)).sum();
    RECORD_OVERHEAD + length(&record.key) + length(&record.value) + headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn records_that_no_batch_can_hold_are_refused_whatever_the_memory() {
        let memory = ProducerMemory::new(usize::MAX);
        assert!(memory.try_reserve(BATCH_BYTES_MAX).is_some());
        for bytes in [BATCH_BYTES_MAX + 1, i32::MAX as usize, usize::MAX] {
            assert!(memory.try_reserve(bytes).is_none());
            let refused = memory.reserve_bytes(bytes, None, || ()).await;
            assert!(matches!(refused, Err(ProduceError::TooLarge { memory: BATCH_BYTES_MAX, .. })), "{bytes}");
        }
    }
}
