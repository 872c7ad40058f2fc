//! The attempts of one call, until its deadline.

use crate::error::RequestError;
use grower_protocol::message::Outcome;
use std::time::Duration;
use tokio::time::Instant;

/// Counts the failed attempts of a call that may be carried out twice.
#[derive(Debug)]
pub(crate) struct Attempts {
    deadline: Instant,
    failures: u32,
    /// The last error of an attempt that may have been carried out.
    doubt: Option<RequestError>,
    keeps_doubt: bool,
}

impl Attempts {
    pub(crate) fn until(deadline: Instant) -> Self {
        Self { deadline, failures: 0, doubt: None, keeps_doubt: false }
    }

    /// A refusal ends no doubt if an attempt before it was carried out for good: the caller may have lost its right in
    /// between.
    pub(crate) fn keeping_doubt(self, keeps_doubt: bool) -> Self {
        Self { keeps_doubt, ..self }
    }

    /// Returns the wait before the next attempt, with jitter by `random`; `None` if the error is final or the wait
    /// would pass the deadline.
    pub(crate) fn wait_after(&mut self, error: &RequestError, now: Instant, random: u64) -> Option<Duration> {
        if error.is_retriable() { self.next_wait(error, now, random) } else { None }
    }

    /// Returns the wait before the next attempt of a call with a rule of its own; `None` if it would pass the deadline.
    pub(crate) fn next_wait(&mut self, error: &RequestError, now: Instant, random: u64) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        if error.outcome() == Outcome::Unknown {
            self.doubt = Some(error.clone());
        }
        let wait = super::wait(Some(error), self.failures, random);
        (now + wait < self.deadline).then_some(wait)
    }

    /// Returns the error of the call, which ends with `last`: an attempt that may have been carried out leaves it in
    /// doubt, unless a broker refused the last one.
    pub(crate) fn final_error(self, last: RequestError) -> RequestError {
        let ends_doubt = matches!(last, RequestError::Failed(_)) && !self.keeps_doubt;
        if ends_doubt { last } else { self.doubt.unwrap_or(last) }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test is the shell of what it tests")]
mod tests {
    use super::*;
    use crate::error::ConnectionError;
    use grower_protocol::message::{ErrorCode, Failure};

    #[test]
    fn a_refused_commit_leaves_the_attempt_before_it_in_doubt() {
        let refusal = RequestError::from(Failure::new(ErrorCode::FencedMember, "no"));
        let lost = RequestError::Lost(ConnectionError::Closed { address: "b".into() });
        let now = Instant::now();
        for (keeps_doubt, outcome) in [(true, Outcome::Unknown), (false, Outcome::Refused)] {
            let mut attempts = Attempts::until(now + Duration::from_secs(9)).keeping_doubt(keeps_doubt);
            assert!(attempts.wait_after(&lost, now, 0).is_some());
            assert_eq!(attempts.wait_after(&refusal, now, 0), None);
            assert_eq!(attempts.final_error(refusal.clone()).outcome(), outcome);
        }
        assert_eq!(Attempts::until(now).keeping_doubt(true).final_error(refusal).outcome(), Outcome::Refused);
    }

    #[test]
    fn attempts_end_at_the_deadline_or_at_a_final_error() {
        let error = |code| RequestError::from(Failure::new(code, "no"));
        let (now, not_ready) = (Instant::now(), error(ErrorCode::NotReady));
        let mut attempts = Attempts::until(now + Duration::from_millis(100));
        let waits: Vec<_> = (0..3).map(|_| attempts.wait_after(&not_ready, now, 0)).collect();
        assert_eq!(waits, [10, 20, 40].map(|millis| Some(Duration::from_millis(millis))));
        assert_eq!(attempts.wait_after(&not_ready, now + Duration::from_millis(30), 0), None);
        assert_eq!(Attempts::until(now + Duration::from_secs(9)).wait_after(&error(ErrorCode::Internal), now, 0), None);
    }
}
