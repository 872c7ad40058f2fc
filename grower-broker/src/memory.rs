//! The memory budget: what requests may occupy before the broker stops reading from its sockets.
//!
//! A request takes its permit before its bytes are received and gives it back once it was handled, so a crowd of
//! large requests waits in the senders' socket buffers, not in this process. Nothing is ever dropped for memory.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A permit is worth this many bytes, so that a budget of any size fits the semaphore.
const UNIT: usize = 1024;

/// Bytes that all connections share.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    units: Arc<Semaphore>,
    total: usize,
}

/// Part of the budget; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Reserved(#[expect(dead_code, reason = "held for its drop")] Option<OwnedSemaphorePermit>);

impl Memory {
    pub(crate) fn new(bytes: usize) -> Self {
        let total = (bytes / UNIT).clamp(1, u32::MAX as usize);
        Self { units: Arc::new(Semaphore::new(total)), total }
    }

    /// Waits until `bytes` are free. One request larger than the whole budget gets all of it, alone.
    pub(crate) async fn reserve(&self, bytes: usize) -> Reserved {
        let units = bytes.div_ceil(UNIT).min(self.total) as u32;
        Reserved(self.units.clone().acquire_many_owned(units).await.ok())
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> usize {
        (self.total - self.units.available_permits()) * UNIT
    }

    /// The whole budget in bytes.
    pub(crate) fn total(&self) -> usize {
        self.total * UNIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_until_the_budget_has_room() {
        let memory = Memory::new(10 * UNIT);
        let first = memory.reserve(8 * UNIT).await;
        let waiting = tokio::time::timeout(Duration::from_secs(1), memory.reserve(4 * UNIT));
        assert!(waiting.await.is_err());
        drop(first);
        let _second = memory.reserve(4 * UNIT).await;
        assert_eq!(memory.used(), 4 * UNIT);
    }

    #[tokio::test]
    async fn a_request_larger_than_the_budget_gets_all_of_it() {
        let memory = Memory::new(10 * UNIT);
        let _all = memory.reserve(99 * UNIT).await;
        assert_eq!(memory.used(), memory.total());
    }
}
