//! The memory budget: how much connections, requests and answers may occupy before the broker stops reading.
//!
//! Memory is reserved before it is allocated: the share of a connection when it is accepted, the bytes of a large
//! request before they are received, together with its decoded form and its answer. Large requests therefore wait in
//! the senders' socket buffers, not in this process, and no request is dropped for want of memory.
//!
//! No task waits for memory while it holds some, so all of them make progress. Connections can never take so much that
//! the largest request no longer fits: [`Memory::frame_bytes_max`] and its neighbours divide the budget. An eighth of
//! it is for the state of groups and producers. Fetch sessions are evicted while a task waits, down to a sixteenth: see
//! [`state`].
//!
//! A large request that waits collects all memory that is given back. New connections do not queue behind it: they get
//! their share in advance, up to a bound, and memory that is given back pays for that first. A request that holds
//! memory only to wait, as a fetch does for records, learns by [`Memory::wanted`] that others need it, and ends its
//! wait.

mod state;

pub(crate) use state::{StateKind, StateReservation};

use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Notify, Semaphore};

/// The budget is counted in units of this many bytes, so that one of any size fits the semaphore.
const UNIT: usize = 1024;

/// The share of a connection: its receive buffer and the answers to small requests.
pub(crate) const CONNECTION_BYTES: usize = 64 << 10;

/// The most that connections get in advance when nothing is free: a sixteenth of the budget, at most this.
const ADVANCE_MAX: usize = 16 << 20;

/// The budget in bytes. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Memory(Arc<MemoryBudget>);

#[derive(Debug)]
struct MemoryBudget {
    free: Semaphore,
    total: usize,
    /// Units taken although none were free. Units that are given back pay these first.
    debt: Mutex<usize>,
    /// Some of the debt was paid.
    paid: Notify,
    waiting: AtomicUsize,
    /// A task began to wait.
    wanted: Notify,
    state: state::StateAccount,
}

impl MemoryBudget {
    /// Units in use. The caller holds the lock of the debt: no unit is given back meanwhile.
    fn used_units(&self, debt: usize) -> usize {
        let free = self.free.available_permits();
        assert!(free <= self.total, "{free} units of {} are free", self.total);
        self.total - free + debt
    }
}

/// Part of the budget; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Reserved {
    from: Memory,
    units: usize,
}

impl Memory {
    pub(crate) fn new(bytes: usize) -> Self {
        let total = (bytes / UNIT).clamp(1, u32::MAX as usize);
        Self(Arc::new(MemoryBudget {
            free: Semaphore::new(total),
            total,
            debt: Mutex::new(0),
            paid: Notify::new(),
            waiting: AtomicUsize::new(0),
            wanted: Notify::new(),
            state: state::StateAccount::default(),
        }))
    }

    /// Waits until `bytes` are free, in turn. More than the whole budget gets all of it, alone.
    pub(crate) async fn reserve(&self, bytes: usize) -> Reserved {
        if let Some(reserved) = self.try_reserve(bytes) {
            return reserved;
        }
        let units = self.units(bytes);
        let _waiting = MemoryWait::new(&self.0);
        if let Ok(permit) = self.0.free.acquire_many(units as u32).await {
            permit.forget();
        }
        Reserved { from: self.clone(), units }
    }

    /// Takes `bytes` if they are free and no task waits for them.
    pub(crate) fn try_reserve(&self, bytes: usize) -> Option<Reserved> {
        let units = self.units(bytes);
        self.0.free.try_acquire_many(units as u32).ok()?.forget();
        Some(Reserved { from: self.clone(), units })
    }

    /// Takes `bytes` that are in use already. If they are not free, other tasks wait the longer.
    pub(crate) fn take(&self, bytes: usize) -> Reserved {
        self.take_units(bytes.div_ceil(UNIT))
    }

    fn take_units(&self, units: usize) -> Reserved {
        let mut debt = self.0.debt.lock();
        self.take_locked(&mut debt, units)
    }

    fn take_locked(&self, debt: &mut usize, units: usize) -> Reserved {
        *debt += units - self.0.free.forget_permits(units);
        Reserved { from: self.clone(), units }
    }

    /// A connection's share. It waits only while too much was taken in advance, and never behind requests.
    pub(crate) async fn connection(&self) -> Reserved {
        if let Some(share) = self.try_connection() {
            return share;
        }
        let _waiting = MemoryWait::new(&self.0);
        loop {
            let paid = self.0.paid.notified(); // Before the check: a payment after it is not missed.
            if let Some(share) = self.try_connection() {
                return share;
            }
            paid.await;
        }
    }

    fn try_connection(&self) -> Option<Reserved> {
        let most = (self.0.total / 16).min(ADVANCE_MAX / UNIT);
        let mut debt = self.0.debt.lock();
        (*debt <= most).then(|| self.take_locked(&mut debt, CONNECTION_BYTES / UNIT))
    }

    fn units(&self, bytes: usize) -> usize {
        bytes.div_ceil(UNIT).min(self.0.total)
    }

    fn give_back(&self, units: usize) {
        let mut debt = self.0.debt.lock();
        debug_assert!(units <= self.0.used_units(*debt), "{units} units are given back, more than are in use");
        let paid = units.min(*debt);
        *debt -= paid;
        self.0.free.add_permits(units - paid);
        drop(debt);
        if 0 < paid {
            self.0.paid.notify_waiters();
        }
    }

    /// Whether a task waits for memory: holders of memory that they can do without give it back.
    pub(crate) fn is_wanted(&self) -> bool {
        0 < self.0.waiting.load(Ordering::Relaxed)
    }

    /// Returns when a task waits for memory.
    pub(crate) async fn wanted(&self) {
        let begins = self.0.wanted.notified(); // Before the check, as above.
        if !self.is_wanted() {
            begins.await;
        }
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> usize {
        let debt = self.0.debt.lock();
        self.0.used_units(*debt) * UNIT
    }

    /// The whole budget in bytes.
    pub(crate) fn total(&self) -> usize {
        self.0.total * UNIT
    }

    /// How many connections there may be: their shares take five eighths of the budget at most.
    pub(crate) fn connections_max(&self) -> usize {
        (self.total() / 8 * 5 / CONNECTION_BYTES).max(1)
    }

    /// The longest frame that is received: an eighth of the budget.
    pub(crate) fn frame_bytes_max(&self) -> usize {
        self.total() / 8
    }

    /// Memory for a list of all there is, while it is made and sent.
    pub(crate) fn listing_bytes(&self) -> usize {
        (self.total() / 32).min(2 << 20)
    }

    /// The longest message in a frame: decoded and answered, it takes an eighth of the budget at most.
    pub(crate) fn message_bytes_max(&self) -> usize {
        self.total() / 256
    }
}

impl Reserved {
    /// How many bytes it stands for.
    pub(crate) fn bytes(&self) -> usize {
        self.units * UNIT
    }

    /// Splits `bytes` off, or all there is.
    pub(crate) fn split_off(&mut self, bytes: usize) -> Self {
        let units = bytes.div_ceil(UNIT).min(self.units);
        self.units -= units;
        Self { from: self.from.clone(), units }
    }

    /// Leaves it to another owner to give it back.
    fn keep(mut self) {
        self.units = 0;
    }

    /// Gives back all but `bytes`.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let surplus = self.units.saturating_sub(bytes.div_ceil(UNIT));
        self.units -= surplus;
        self.from.give_back(surplus);
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.from.give_back(self.units);
    }
}

/// Counts a task that waits, until it has its memory or is cancelled.
struct MemoryWait<'a>(&'a AtomicUsize);

impl<'a> MemoryWait<'a> {
    fn new(memory: &'a MemoryBudget) -> Self {
        memory.waiting.fetch_add(1, Ordering::Relaxed);
        memory.wanted.notify_waiters();
        Self(&memory.waiting)
    }
}

impl Drop for MemoryWait<'_> {
    fn drop(&mut self) {
        let before = self.0.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(0 < before, "a wait ends that was not counted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn waits(memory: &Memory, bytes: usize) -> bool {
        tokio::time::timeout(Duration::from_secs(1), memory.reserve(bytes)).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_until_the_budget_has_room() {
        let memory = Memory::new(10 * UNIT);
        let first = memory.reserve(8 * UNIT).await;
        assert!(waits(&memory, 4 * UNIT).await);
        assert!(memory.try_reserve(4 * UNIT).is_none());
        drop(first);
        let _second = memory.reserve(4 * UNIT).await;
        assert_eq!(memory.used(), 4 * UNIT);
    }

    #[tokio::test]
    async fn a_request_larger_than_the_budget_gets_all_of_it() {
        let memory = Memory::new(10 * UNIT);
        let all = memory.reserve(99 * UNIT).await;
        assert_eq!(memory.used(), memory.total());
        drop(all);
        assert_eq!(memory.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_overdraft_is_paid_before_any_reservation() {
        let memory = Memory::new(10 * UNIT);
        let reserved = memory.reserve(8 * UNIT).await;
        let taken = memory.take(6 * UNIT);
        assert_eq!(memory.used(), 14 * UNIT);
        drop(reserved);
        assert!(waits(&memory, 5 * UNIT).await);
        drop(memory.reserve(4 * UNIT).await);
        drop(taken);
        assert_eq!(memory.used(), 0);
        assert!(!waits(&memory, 10 * UNIT).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_of_memory_sees_that_others_wait() {
        let memory = Memory::new(10 * UNIT);
        let mut all = memory.reserve(10 * UNIT).await;
        assert!(!memory.is_wanted());
        let waiting = tokio::spawn({
            let memory = memory.clone();
            async move { memory.reserve(3 * UNIT).await.bytes() }
        });
        tokio::task::yield_now().await;
        assert!(memory.is_wanted());
        let part = all.split_off(4 * UNIT);
        all.shrink(5 * UNIT);
        drop(part);
        assert_eq!(waiting.await.unwrap(), 3 * UNIT);
        assert!(!memory.is_wanted());
        assert_eq!(memory.used(), 5 * UNIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_waits_for_advances_but_never_behind_a_large_request() {
        let memory = Memory::new(16 << 20);
        let held = memory.reserve(16 << 20).await;
        let large = tokio::spawn({
            let memory = memory.clone();
            async move { drop(memory.reserve(2 << 20).await) }
        });
        let soon = || tokio::time::timeout(Duration::from_secs(1), memory.connection());
        let mut shares = Vec::new();
        while let Ok(share) = soon().await {
            shares.push(share);
        }
        assert_eq!(shares.len(), 17); // A sixteenth of the budget, and the one that passes it.
        drop(shares.pop());
        assert!(soon().await.is_ok());
        drop(held); // Pays for the connections, and is enough for the request.
        large.await.unwrap();
        assert_eq!(memory.used(), 16 * CONNECTION_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_of_memory_learns_at_once_that_it_is_wanted() {
        let memory = Memory::new(10 * UNIT);
        let held = memory.reserve(10 * UNIT).await;
        let hears = tokio::spawn({
            let memory = memory.clone();
            async move {
                memory.wanted().await;
                drop(held);
            }
        });
        tokio::task::yield_now().await;
        assert!(!waits(&memory, UNIT).await);
        hears.await.unwrap();
    }

    #[test]
    fn the_largest_request_fits_with_all_connections_and_all_state() {
        for mebibytes in [16, 64, 1024, 1 << 20] {
            let memory = Memory::new(mebibytes << 20);
            let connections = memory.connections_max() * CONNECTION_BYTES;
            let request = memory.frame_bytes_max() + crate::api::decoded(memory.message_bytes_max());
            let answer = memory.listing_bytes();
            let state = [StateKind::Groups, StateKind::Producers]
                .map(|kind| memory.state_bytes_max(kind))
                .iter()
                .sum::<usize>();
            assert!(connections + request + answer + state <= memory.total(), "{mebibytes} MiB");
        }
    }
}
