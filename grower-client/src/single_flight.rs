//! Lets concurrent callers of one operation share an attempt and its outcome.
//!
//! Attempts run one at a time, so an older outcome never arrives after a newer one. Without sharing, a hundred callers
//! with attempts that fail after a second would wait a hundred seconds.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Mutex;

/// One operation with at most one attempt at a time.
pub(crate) struct SingleFlight<T> {
    started: AtomicU64,
    last: Mutex<Option<Finished<T>>>,
}

struct Finished<T> {
    number: u64,
    outcome: T,
}

impl<T> Default for SingleFlight<T> {
    fn default() -> Self {
        Self { started: AtomicU64::new(0), last: Mutex::new(None) }
    }
}

impl<T: Clone> SingleFlight<T> {
    /// Returns the outcome of an attempt that began after this call: `attempt`, or one that another caller made
    /// meanwhile.
    pub(crate) async fn run(&self, attempt: impl Future<Output = T>) -> T {
        let started_before = self.started.load(Ordering::SeqCst);
        let mut last = self.last.lock().await;
        if let Some(finished) = last.as_ref().filter(|finished| started_before < finished.number) {
            return finished.outcome.clone();
        }
        let number = self.started.fetch_add(1, Ordering::SeqCst) + 1;
        let outcome = attempt.await;
        debug_assert!(last.as_ref().is_none_or(|last| last.number < number), "an older outcome replaces a newer one");
        *last = Some(Finished { number, outcome: outcome.clone() });
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use futures_util::future::join_all;
    use std::cell::Cell;
    use tokio::task::yield_now;

    #[tokio::test]
    async fn a_hundred_callers_share_two_attempts() {
        let (flight, attempts) = (SingleFlight::default(), Cell::new(0));
        let attempt = || async {
            attempts.set(attempts.get() + 1);
            yield_now().await;
        };
        join_all((0..100).map(|_| flight.run(attempt()))).await;
        assert_eq!(attempts.get(), 2); // All others called during the first attempt and share the second.
    }

    #[tokio::test]
    async fn a_caller_during_an_attempt_gets_the_next_one() {
        let flight = SingleFlight::default();
        let attempt = |outcome| async move {
            yield_now().await;
            outcome
        };
        let late = async {
            yield_now().await;
            flight.run(attempt("second")).await
        };
        assert_eq!(tokio::join!(flight.run(attempt("first")), late), ("first", "second"));
    }

    #[tokio::test]
    async fn a_cancelled_attempt_does_not_block_the_next() {
        let flight = SingleFlight::default();
        assert!(flight.run(std::future::pending()).now_or_never().is_none());
        assert_eq!(flight.run(async { 7 }).await, 7);
    }
}
