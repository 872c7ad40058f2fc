//! The memory of a compaction pass beside its keys: batches as they are stored, windows of codecs, keys, and new records.
//!
//! A pass begins with a small part of the budget, which is enough for most. Before a larger batch is decompressed, the pass
//! takes more. It then holds memory while it waits for memory, so it waits for a moment only: after that the budget is
//! overdrawn until the batch is done, and all others wait for that. There is one pass at a time.

use crate::clock::BrokerClock;
use crate::memory::{Memory, Reserved};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// Enough for batches of the default size, with any codec.
const AT_FIRST_MAX: usize = 16 << 20;
/// The part of the budget that this is at most.
const PART_OF_MEMORY: usize = 16;
/// How long a pass waits for memory in all, and those behind it wait for the pass.
const PATIENCE: Duration = Duration::from_secs(1);
/// The budget is asked for so many bytes at once.
const STEP: usize = 256 << 10;

/// What a pass begins with.
pub(super) fn bytes_at_first(memory: &Memory) -> usize {
    AT_FIRST_MAX.min(memory.total() / PART_OF_MEMORY)
}

/// Grows with what a pass needs; dropping it gives all of it back.
pub(super) struct WorkMemory {
    memory: Memory,
    clock: Arc<BrokerClock>,
    /// The keys, too.
    reserved: RefCell<Vec<Reserved>>,
    /// How much of what is reserved is for work.
    bytes: Cell<usize>,
    /// Taken although it was not free.
    overdrawn: RefCell<Vec<Reserved>>,
    patience: Cell<Duration>,
    stop: CancellationToken,
}

impl WorkMemory {
    /// Of what is `reserved`, `bytes` are for work.
    pub(super) fn new(
        (reserved, bytes): (Reserved, usize),
        memory: Memory,
        clock: Arc<BrokerClock>,
        stop: CancellationToken,
    ) -> Self {
        let (reserved, overdrawn) = (RefCell::new(vec![reserved]), RefCell::default());
        Self { memory, clock, reserved, bytes: Cell::new(bytes), overdrawn, patience: Cell::new(PATIENCE), stop }
    }

    /// Counts `bytes` of work in all, before they are taken; `false` if the pass must stop. It blocks its thread.
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
    async fn a_pass_is_charged_for_its_largest_batch_and_never_waits_for_ever() {
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
        assert_eq!(passed.await.unwrap(), [13, 15, 15, 19, 15, 20], "what is overdrawn is paid after its batch");
        drop(other);
        assert_eq!(memory.used(), 0);
    }
}
