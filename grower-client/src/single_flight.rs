//! Lets concurrent callers of one operation share an attempt and its outcome.
//!
//! Attempts run one at a time, so an older outcome never arrives after a newer one. Each runs in a task of its own: a
//! caller that is dropped, or leaves at its deadline, does not restart the work of all others. Without sharing, a
//! hundred callers with attempts that fail after a second would wait a hundred seconds.

use futures_core::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;

/// One operation with at most one attempt at a time.
pub(crate) struct SingleFlight<T> {
    last: Mutex<Option<Attempt<T>>>,
}

/// An attempt that runs or has ended.
struct Attempt<T> {
    number: u64,
    outcome: watch::Receiver<Option<T>>,
}

/// The task of an attempt ended without an outcome: it panicked, or its runtime ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AttemptLost;

impl<T> Default for SingleFlight<T> {
    fn default() -> Self {
        Self { last: Mutex::default() }
    }
}

impl<T: Clone + Send + Sync + 'static> SingleFlight<T> {
    /// Returns the outcome of the attempt that runs now, or else of a new one.
    pub(crate) async fn join(&self, attempt: impl FnOnce() -> BoxFuture<'static, T>) -> Result<T, AttemptLost> {
        let ended = self.last.lock().as_ref().map_or(0, |last| last.number - u64::from(last.is_running()));
        self.outcome_after(ended, attempt).await
    }

    /// Returns the outcome of an attempt that began after this call.
    pub(crate) async fn run(&self, attempt: impl FnOnce() -> BoxFuture<'static, T>) -> Result<T, AttemptLost> {
        let begun = self.last.lock().as_ref().map_or(0, |last| last.number);
        self.outcome_after(begun, attempt).await
    }

    /// Returns the outcome of an attempt after number `earlier`: `attempt`, or one that another caller began.
    async fn outcome_after(
        &self,
        earlier: u64,
        attempt: impl FnOnce() -> BoxFuture<'static, T>,
    ) -> Result<T, AttemptLost> {
        let mut attempt = Some(attempt);
        loop {
            let (number, mut outcome) = self.current(earlier, &mut attempt);
            let ended = outcome.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
            match ended {
                Some(outcome) if earlier < number => return Ok(outcome),
                None if attempt.is_none() => return Err(AttemptLost),
                _ => {} // An earlier attempt ended, or that of a caller on a runtime that ended.
            }
        }
    }

    /// Returns the attempt to wait for; begins one if none runs or has ended after number `earlier`.
    fn current<A>(&self, earlier: u64, attempt: &mut Option<A>) -> (u64, watch::Receiver<Option<T>>)
    where
        A: FnOnce() -> BoxFuture<'static, T>,
    {
        let mut last = self.last.lock();
        let number = match &*last {
            Some(last) if last.is_running() || earlier < last.number && last.has_outcome() => {
                return (last.number, last.outcome.clone());
            }
            last => last.as_ref().map_or(0, |last| last.number) + 1,
        };
        let (sender, outcome) = watch::channel(None);
        let attempt = attempt.take().expect("a caller begins at most one attempt")();
        tokio::spawn(async move {
            let outcome = attempt.await;
            sender.send_replace(Some(outcome));
        });
        *last = Some(Attempt { number, outcome: outcome.clone() });
        (number, outcome)
    }
}

impl<T> Attempt<T> {
    fn has_outcome(&self) -> bool {
        self.outcome.borrow().is_some()
    }

    fn is_running(&self) -> bool {
        !self.has_outcome() && self.outcome.has_changed().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use futures_util::future::join_all;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use tokio::task::yield_now;
    use tokio::time::{sleep, timeout};

    const SECOND: Duration = Duration::from_secs(1);

    /// Counts attempts, each of which takes a second.
    #[derive(Clone, Default)]
    struct Attempts(Arc<AtomicUsize>);

    impl Attempts {
        fn count(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }

        /// Returns the number of the attempt.
        fn one(&self) -> BoxFuture<'static, usize> {
            let number = self.0.fetch_add(1, Ordering::Relaxed) + 1;
            Box::pin(async move {
                sleep(SECOND).await;
                number
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_callers_that_need_a_later_outcome_share_two_attempts() {
        let (flight, attempts) = (SingleFlight::default(), Attempts::default());
        let outcomes = join_all((0..100).map(|_| flight.run(|| attempts.one()))).await;
        assert_eq!((outcomes[0], outcomes[99], attempts.count()), (Ok(1), Ok(2), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_callers_that_take_any_outcome_share_one_attempt() {
        let (flight, attempts) = (SingleFlight::default(), Attempts::default());
        let outcomes = join_all((0..100).map(|_| flight.join(|| attempts.one()))).await;
        assert_eq!((outcomes[99], attempts.count()), (Ok(1), 1));
        assert_eq!(flight.join(|| attempts.one()).await, Ok(2), "an ended attempt is not joined");
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_leaves_does_not_restart_the_attempt() {
        let (flight, attempts) = (SingleFlight::default(), Attempts::default());
        assert!(timeout(SECOND / 2, flight.join(|| attempts.one())).await.is_err());
        assert_eq!(flight.join(|| attempts.one()).await, Ok(1));
        assert!(flight.run(|| attempts.one()).now_or_never().is_none());
        assert_eq!((flight.join(|| attempts.one()).await, attempts.count()), (Ok(2), 2));
    }

    #[tokio::test]
    async fn a_lost_attempt_of_another_caller_is_made_again_and_an_own_one_is_an_error() {
        let flight = SingleFlight::<usize>::default();
        let panics = || -> BoxFuture<'static, usize> { Box::pin(async { panic!("as scripted") }) };
        let other = async {
            yield_now().await;
            flight.join(|| Box::pin(async { 7 })).await
        };
        let (own, other) = tokio::join!(flight.join(panics), other);
        assert_eq!((own, other), (Err(AttemptLost), Ok(7)));
    }
}
