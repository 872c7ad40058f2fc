//! The work memory of a compaction pass: stored batches, codec windows and new records. Its keys are reserved
//! separately.
//!
//! A pass begins with a small part of the budget, enough for most batches. Before it decompresses a larger one it takes
//! more. It holds memory while it waits for memory, so it waits only for a moment; then it overdraws the budget until
//! the batch is done, and all others wait for that. There is one pass at a time.

use crate::clock::BrokerClock;
use crate::memory::{Memory, Reserved};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// Enough for batches of the default size, with any codec.
const AT_FIRST_MAX: usize = 16 << 20;
/// A pass begins with at most this part of the budget.
const PART_OF_MEMORY: usize = 16;
/// How long a pass waits for memory in total. Others queue behind it meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);
/// Memory is reserved in multiples of this.
const STEP: usize = 256 << 10;

/// The work memory that a pass begins with.
pub(super) fn bytes_at_first(memory: &Memory) -> usize {
    AT_FIRST_MAX.min(memory.total() / PART_OF_MEMORY)
}

/// Grows with the needs of a pass. Dropping it releases everything.
pub(super) struct WorkMemory {
    memory: Memory,
    clock: Arc<BrokerClock>,
    /// Includes the keys.
    reserved: RefCell<Vec<Reserved>>,
    /// The reserved bytes that are for work.
    bytes: Cell<usize>,
    /// Taken beyond the budget.
    overdrawn: RefCell<Vec<Reserved>>,
    patience: Cell<Duration>,
    stop: CancellationToken,
}

impl WorkMemory {
    /// Begins with `reserved` memory; `bytes` of it are for work.
    pub(super) fn new(
        (reserved, bytes): (Reserved, usize),
        memory: Memory,
        clock: Arc<BrokerClock>,
        stop: CancellationToken,
    ) -> Self {
        let (reserved, overdrawn) = (RefCell::new(vec![reserved]), RefCell::default());
        Self { memory, clock, reserved, bytes: Cell::new(bytes), overdrawn, patience: Cell::new(PATIENCE), stop }
    }

    /// Makes `bytes` of work memory available in total; `false` if the pass must stop. Blocks its thread.
    pub(super) fn charge(&self, bytes: usize) -> bool {
        if bytes <= self.bytes.get() {
            self.overdrawn.borrow_mut().clear();
        }
        let overdrawn: usize = self.overdrawn.borrow().iter().map(Reserved::bytes).sum();
        let more = bytes.saturating_sub(self.bytes.get() + overdrawn).next_multiple_of(STEP);
        if 0 < more {
            self.grow(more);
        }
        !self.stop.is_cancelled()
    }

    fn grow(&self, more: usize) {
        match self.memory.try_reserve(more).or_else(|| self.wait_for(more)) {
            Some(reserved) => {
                self.reserved.borrow_mut().push(reserved);
                self.bytes.set(self.bytes.get() + more);
                debug_assert!(self.bytes.get() <= self.reserved.borrow().iter().map(Reserved::bytes).sum());
            }
            None => self.overdrawn.borrow_mut().push(self.memory.take(more)),
        }
    }

    fn wait_for(&self, bytes: usize) -> Option<Reserved> {
        let (patience, began) = (self.patience.get(), self.clock.monotonic());
        if patience.is_zero() {
            return None;
        }
        let reserved = Handle::current().block_on(async {
            tokio::select! {
                reserved = tokio::time::timeout(patience, self.memory.reserve(bytes)) => reserved.ok(),
                () = self.stop.cancelled() => None,
            }
        });
        self.patience.set(patience.saturating_sub(self.clock.monotonic().saturating_sub(began)));
        reserved
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_pass_reserves_memory_for_its_largest_batch_and_never_waits_for_ever() {
        let memory = Memory::new(16 << 20);
        let reserved = memory.reserve(3 << 20).await;
        let other = memory.reserve(10 << 20).await;
        let (budget, stop) = (memory.clone(), CancellationToken::new());
        let clock = BrokerClock::new(Arc::new(SystemClock));
        let passed = crate::background::blocking(move || {
            let work = WorkMemory::new((reserved, 1 << 20), budget.clone(), clock, stop.clone());
            let mut used = Vec::new();
            for bytes in [1 << 20, 3 << 20, 2 << 20, 7 << 20, 1 << 20, 8 << 20] {
                assert!(work.charge(bytes));
                used.push(budget.used() >> 20);
            }
            stop.cancel();
            assert!(!work.charge(0));
            used
        });
        assert_eq!(passed.await.unwrap(), [13, 15, 15, 19, 15, 20], "overdrawn memory is released after its batch");
        drop(other);
        assert_eq!(memory.used(), 0);
    }
}
