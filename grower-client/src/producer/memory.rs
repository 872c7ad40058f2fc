//! Bounds what a producer holds, in bytes: who has no room waits.

use crate::error::ProduceError;
use crate::record::Record;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;

/// What a record costs besides its bytes: its share of queues and promises, roughly.
const RECORD_OVERHEAD: usize = 64;

/// The memory of one producer.
#[derive(Debug)]
pub(super) struct Memory {
    free: Semaphore,
    capacity: usize,
    waiting: AtomicUsize,
}

/// Counts somebody who waits, until dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn in_line(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Memory {
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Self { free: Semaphore::new(capacity), capacity, waiting: AtomicUsize::new(0) }
    }

    /// Waits for room for `record`, first come first served; returns how much it takes. If it has to wait, `full` is
    /// called first.
    pub(super) async fn reserve(&self, record: &Record, full: impl FnOnce()) -> Result<usize, ProduceError> {
        let bytes = size(record);
        let permits = match u32::try_from(bytes) {
            Ok(permits) if bytes <= self.capacity => permits,
            _ => return Err(ProduceError::TooLarge { bytes, memory: self.capacity }),
        };
        let permit = match self.free.try_acquire_many(permits) {
            Ok(permit) => permit,
            Err(_) => {
                let _waiting = Waiting::in_line(&self.waiting);
                full(); // After that: whoever fills a batch from here on sees that it must not linger.
                self.free.acquire_many(permits).await.map_err(|_| ProduceError::Closed)?
            }
        };
        permit.forget(); // It comes back by `release`, batch by batch.
        Ok(bytes)
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
