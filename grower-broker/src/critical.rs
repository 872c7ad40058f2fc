//! Shared state that a panic must not leave half changed.
//!
//! A panic in a request ends its connection and nothing else, unless it cuts a change of shared state in two: the others
//! would go on with a state that no code foresees. So such state lies behind a [`StateMutex`], and a change that takes
//! longer than one lock is a [`CriticalSection`]. A panic inside ends the broker, and the next start recovers everything
//! that was acknowledged.

use crate::health::Health;
use parking_lot::{Mutex, MutexGuard};
use std::borrow::Borrow;
use std::ops::{Deref, DerefMut};
use std::thread::panicking;
use std::time::Duration;

/// A change of shared state that is whole only once this is dropped. A panic that began meanwhile ends the broker.
#[must_use]
pub(crate) struct CriticalSection<H: Borrow<Health> = Health> {
    what: &'static str,
    health: H,
    /// The thread was unwinding before: that panic had nothing to do with this change.
    unwinding: bool,
}

impl<H: Borrow<Health>> CriticalSection<H> {
    /// Begins a change, which is named as in "syncing a partition".
    pub(crate) fn enter(health: H, what: &'static str) -> Self {
        Self { what, health, unwinding: panicking() }
    }

    /// Whether a panic has cut the change in two.
    pub(crate) fn is_interrupted(&self) -> bool {
        panicking() && !self.unwinding
    }
}

impl<H: Borrow<Health>> Drop for CriticalSection<H> {
    fn drop(&mut self) {
        if self.is_interrupted() {
            let what = self.what;
            self.health.borrow().fail(format!("{what} panicked, so it is half done: restart the broker"));
        }
    }
}

/// State whose change by the holder of the lock is a critical section. Without it `parking_lot` would give the state that
/// a panic left to the next one who asks for it.
pub(crate) struct StateMutex<T> {
    what: &'static str,
    health: Health,
    state: Mutex<T>,
}

/// The lock of a [`StateMutex`].
pub(crate) struct StateGuard<'a, T> {
    #[expect(
        dead_code,
        reason = "held for its drop: before the lock's, so that whoever gets the lock next finds the broker failed"
    )]
    section: CriticalSection<&'a Health>,
    state: MutexGuard<'a, T>,
}

impl<T> StateMutex<T> {
    /// `what` names the change of this state.
    pub(crate) fn new(health: &Health, what: &'static str, state: T) -> Self {
        Self { what, health: health.clone(), state: Mutex::new(state) }
    }

    pub(crate) fn lock(&self) -> StateGuard<'_, T> {
        self.guard(self.state.lock())
    }

    /// Locks, unless that takes longer than `time`.
    pub(crate) fn try_lock_for(&self, time: Duration) -> Option<StateGuard<'_, T>> {
        self.state.try_lock_for(time).map(|state| self.guard(state))
    }

    fn guard<'a>(&'a self, state: MutexGuard<'a, T>) -> StateGuard<'a, T> {
        StateGuard { section: CriticalSection::enter(&self.health, self.what), state }
    }
}

impl<T> Deref for StateGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.state
    }
}

impl<T> DerefMut for StateGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Locks the state as it goes away.
    struct LocksAtItsEnd<'a>(&'a StateMutex<u32>);

    impl Drop for LocksAtItsEnd<'_> {
        fn drop(&mut self) {
            *self.0.lock() += 1;
        }
    }

    #[test]
    fn a_panic_under_the_lock_ends_the_broker_before_the_lock_is_free() {
        let health = Health::new(Metrics::new());
        let state = StateMutex::new(&health, "a count", 0);
        let cut = catch_unwind(AssertUnwindSafe(|| {
            let mut held = state.lock();
            *held += 1;
            panic!("a bug");
        }));
        assert!(cut.is_err());
        assert!(health.failure().unwrap().starts_with("a count panicked"));
        assert_eq!(*state.lock(), 1, "and the lock is free");
    }

    #[test]
    fn a_panic_beside_the_lock_ends_nothing() {
        let health = Health::new(Metrics::new());
        let state = StateMutex::new(&health, "a count", 0);
        let beside = catch_unwind(AssertUnwindSafe(|| {
            let _later = LocksAtItsEnd(&state);
            drop(state.lock());
            panic!("a bug");
        }));
        assert!(beside.is_err());
        assert_eq!((*state.lock(), health.failure()), (1, None));
    }
}
