//! Shared state that a panic must not leave half changed.
//!
//! A panic in a request ends only its connection, unless it interrupts a change of shared state: other requests would
//! meet a state that no code expects. So such state is behind a [`StateMutex`], and a change longer than one lock is a
//! [`CriticalSection`]. A panic inside ends the broker, and the next start recovers everything acknowledged.

use crate::health::Health;
use parking_lot::{Mutex, MutexGuard};
use std::borrow::Borrow;
use std::ops::{Deref, DerefMut};
use std::thread::panicking;
use std::time::Duration;

/// A change of shared state, complete when this is dropped. A panic meanwhile ends the broker.
#[must_use]
pub(crate) struct CriticalSection<H: Borrow<Health> = Health> {
    what: &'static str,
    health: H,
    /// The thread was unwinding before: that panic did not interrupt this change.
    unwinding: bool,
}

impl<H: Borrow<Health>> CriticalSection<H> {
    /// Begins a change. `what` names it, as in "syncing a partition".
    pub(crate) fn enter(health: H, what: &'static str) -> Self {
        Self { what, health, unwinding: panicking() }
    }

    /// Whether a panic interrupts the change.
    pub(crate) fn is_interrupted(&self) -> bool {
        panicking() && !self.unwinding
    }
}

impl<H: Borrow<Health>> Drop for CriticalSection<H> {
    fn drop(&mut self) {
        if self.is_interrupted() {
            let what = self.what;
            self.health.borrow().fail(format!("{what} panicked and is incomplete: restart the broker"));
        }
    }
}

/// State that changes in critical sections only: each lock is one. A `parking_lot` mutex alone would hand the state
/// that a panic left to the next caller.
pub(crate) struct StateMutex<T> {
    what: &'static str,
    health: Health,
    state: Mutex<T>,
}

/// The lock of a [`StateMutex`].
pub(crate) struct StateGuard<'a, T> {
    #[expect(dead_code, reason = "dropped before the lock, so that the next holder finds the broker failed")]
    section: CriticalSection<&'a Health>,
    state: MutexGuard<'a, T>,
}

impl<T> StateMutex<T> {
    /// `what` names a change of this state.
    pub(crate) fn new(health: &Health, what: &'static str, state: T) -> Self {
        Self { what, health: health.clone(), state: Mutex::new(state) }
    }

    pub(crate) fn lock(&self) -> StateGuard<'_, T> {
        self.guard(self.state.lock())
    }

    /// Locks if that takes no longer than `time`.
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

    /// Locks the state when it is dropped.
    struct LocksAtItsEnd<'a>(&'a StateMutex<u32>);

    impl Drop for LocksAtItsEnd<'_> {
        fn drop(&mut self) {
            *self.0.lock() += 1;
        }
    }

    #[test]
    fn a_panic_under_the_lock_ends_the_broker_before_the_lock_is_free() {
        let health = Health::new(Metrics::for_test());
        let state = StateMutex::new(&health, "a count", 0);
        let interrupted = catch_unwind(AssertUnwindSafe(|| {
            let mut held = state.lock();
            *held += 1;
            panic!("a bug");
        }));
        assert!(interrupted.is_err());
        assert!(health.failure().unwrap().starts_with("a count panicked"));
        assert_eq!(*state.lock(), 1, "and the lock is free");
    }

    #[test]
    fn a_panic_without_the_lock_ends_nothing() {
        let health = Health::new(Metrics::for_test());
        let state = StateMutex::new(&health, "a count", 0);
        let outside = catch_unwind(AssertUnwindSafe(|| {
            let _later = LocksAtItsEnd(&state);
            drop(state.lock());
            panic!("a bug");
        }));
        assert!(outside.is_err());
        assert_eq!((*state.lock(), health.failure()), (1, None));
    }
}
