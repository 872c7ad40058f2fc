//! Memory for the state of groups, producers and fetch sessions, which counts against the budget.
//!
//! Groups and producers have a sixteenth of the budget each. Fetch sessions have a quarter. They can be opened again,
//! so while a request waits for memory they are evicted down to a sixteenth, and no more are opened beyond it.
//!
//! Sizes are estimates a little above the truth. Counting only adds to an atomic; the budget itself changes in steps of
//! 64 KiB. So an append takes no lock for it.

use super::{Memory, UNIT};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The kinds of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StateKind {
    /// Consumer groups: members, assignments and committed offsets.
    Groups,
    /// Idempotent producers: the last batches of each in each partition.
    Producers,
    /// Fetch sessions: the partitions that clients read, and their positions.
    FetchSessions,
}

/// Taken from the budget, or given back, at a time.
const STEP: usize = 64 << 10;

#[derive(Debug, Default)]
pub(super) struct StateAccount {
    groups: AtomicUsize,
    producers: AtomicUsize,
    fetch_sessions: AtomicUsize,
    /// Units that are taken from the budget for all of it.
    held: AtomicUsize,
    settling: Mutex<()>,
}

/// The part of the budget that the state of one owner takes; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct StateReservation {
    memory: Memory,
    kind: StateKind,
    bytes: usize,
}

impl StateKind {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Groups, Self::Producers, Self::FetchSessions];

    /// For metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Groups => "groups",
            Self::Producers => "producers",
            Self::FetchSessions => "fetch_sessions",
        }
    }

    /// The budget divided by this is what it may take.
    const fn divisor(self) -> usize {
        match self {
            Self::Groups | Self::Producers => 16,
            Self::FetchSessions => 4,
        }
    }
}

impl StateAccount {
    fn of(&self, kind: StateKind) -> &AtomicUsize {
        match kind {
            StateKind::Groups => &self.groups,
            StateKind::Producers => &self.producers,
            StateKind::FetchSessions => &self.fetch_sessions,
        }
    }

    /// Units that should be taken from the budget.
    fn due(&self) -> usize {
        let bytes: usize = StateKind::ALL.into_iter().map(|kind| self.of(kind).load(Ordering::Relaxed)).sum();
        bytes.next_multiple_of(STEP) / UNIT
    }
}

impl Memory {
    /// Begins to count the state of an owner, with 0 bytes.
    pub(crate) fn state_reservation(&self, kind: StateKind) -> StateReservation {
        StateReservation { memory: self.clone(), kind, bytes: 0 }
    }

    /// Bytes that all state of a kind takes.
    pub(crate) fn state_bytes(&self, kind: StateKind) -> usize {
        self.0.state.of(kind).load(Ordering::Relaxed)
    }

    /// Bytes that a kind may take.
    pub(crate) fn state_bytes_max(&self, kind: StateKind) -> usize {
        self.total() / kind.divisor()
    }

    /// Bytes that a kind may still take.
    pub(crate) fn state_room(&self, kind: StateKind) -> usize {
        self.state_bytes_max(kind).saturating_sub(self.state_bytes(kind))
    }

    fn settle_state(&self) {
        let state = &self.0.state;
        if state.due() == state.held.load(Ordering::Relaxed) {
            return;
        }
        let _one_at_a_time = state.settling.lock();
        let (due, held) = (state.due(), state.held.load(Ordering::Relaxed));
        debug_assert!(held.is_multiple_of(STEP / UNIT) && due.is_multiple_of(STEP / UNIT), "{held} to {due} units");
        state.held.store(due, Ordering::Relaxed);
        if held < due {
            self.take_units(due - held).keep();
        } else {
            self.give_back(held - due);
        }
    }
}

impl StateReservation {
    /// Sets the bytes that the state takes from now on.
    pub(crate) fn set(&mut self, bytes: usize) {
        let used = self.memory.0.state.of(self.kind);
        if self.bytes < bytes {
            used.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else if bytes < self.bytes {
            let before = used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
            debug_assert!(self.bytes <= before, "{} of {before} bytes belong to one owner", self.bytes);
        } else {
            return;
        }
        self.bytes = bytes;
        self.memory.settle_state();
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that its kind may still take.
    pub(crate) fn room(&self) -> usize {
        self.memory.state_room(self.kind)
    }
}

impl Drop for StateReservation {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_counts_until_it_is_dropped() {
        let memory = Memory::new(16 << 20);
        let (mut group, mut producers) =
            (memory.state_reservation(StateKind::Groups), memory.state_reservation(StateKind::Producers));
        group.set(100);
        assert_eq!((memory.used(), group.room()), (STEP, (1 << 20) - 100));
        producers.set(STEP);
        assert_eq!((memory.used(), producers.room()), (2 * STEP, (1 << 20) - STEP));
        group.set(3 * STEP);
        assert_eq!((memory.used(), memory.state_bytes(StateKind::Groups)), (4 * STEP, 3 * STEP));
        group.set(0);
        drop(producers);
        assert_eq!((memory.used(), memory.state_bytes(StateKind::Producers)), (0, 0));
    }

    #[tokio::test]
    async fn state_beyond_the_budget_is_a_debt() {
        let memory = Memory::new(16 << 20);
        let all = memory.reserve(16 << 20).await;
        let mut group = memory.state_reservation(StateKind::Groups);
        group.set(5 << 20);
        assert_eq!((memory.used(), group.room()), (21 << 20, 0));
        drop(all);
        assert_eq!(memory.used(), 5 << 20);
        assert!(memory.try_reserve(12 << 20).is_none());
        drop(group);
        assert!(memory.try_reserve(16 << 20).is_some());
    }
}
