//! The times of a membership: when the next heartbeat is due, and how long answers, leases and revocations may take.
//! Pure.

use crate::consumer::settings::ConsumerSettings;
use crate::deadline::Deadline;
use crate::error::RequestError;
use crate::retry;
use grower_protocol::message::instance_lease;
use std::time::Duration;
use tokio::time::Instant;

/// The longest time for which a revoked partition waits for the reader: half of what the broker allows.
const REBALANCE_TIMEOUT_MAX: Duration = Duration::from_secs(15 * 60);

/// The clock of a member: each decision takes the time as an argument.
#[derive(Debug)]
pub(super) struct MemberSession {
    timeout: Duration,
    /// The time for which a revoked partition waits for the reader.
    rebalance_timeout: Duration,
    pub(super) max_poll_interval: Duration,
    /// The time at which the last answered heartbeat was sent: the session counts from it.
    answered: Instant,
    next_heartbeat: Instant,
    /// The time until which partitions may be revoked before the next heartbeat.
    revocation_deadline: Instant,
    /// The failures since the last heartbeat with an answer that was followed.
    failures: u32,
    /// The wait after the last of these failures.
    retry_wait: Option<Duration>,
}

impl MemberSession {
    pub(super) fn new(settings: &ConsumerSettings, now: Instant) -> Self {
        let timeout = settings.session_timeout;
        Self {
            timeout,
            rebalance_timeout: settings.rebalance_timeout.unwrap_or(timeout).min(REBALANCE_TIMEOUT_MAX),
            max_poll_interval: settings.max_poll_interval,
            answered: now,
            next_heartbeat: now,
            revocation_deadline: now,
            failures: 0,
            retry_wait: None,
        }
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns the time of the next heartbeat: after a failure, a wait from `now` on.
    pub(super) fn next_heartbeat(&self, now: Instant) -> Instant {
        self.retry_wait.map_or(self.next_heartbeat, |wait| now + wait)
    }

    /// Returns the time after which an answer is useless: the session of a joined member has expired by then.
    pub(super) fn answer_deadline(&self, has_joined: bool, now: Instant) -> Instant {
        let start = if has_joined { self.answered } else { now };
        Deadline::of(start, self.timeout).end()
    }

    /// Records the answer to a heartbeat that was `sent` then. A changed assignment is confirmed at once; otherwise the
    /// next heartbeat waits for the broker's `interval`.
    pub(super) fn record_answer(&mut self, sent: Instant, is_changed: bool, interval: Duration) {
        debug_assert!(self.answered <= sent, "heartbeats are answered one at a time, in order");
        self.answered = sent;
        self.next_heartbeat = if is_changed { sent } else { sent + interval.min(self.timeout / 2) };
    }

    /// Records that the assignment of the last answer was followed.
    pub(super) fn record_success(&mut self) {
        (self.failures, self.retry_wait) = (0, None);
    }

    /// Records a failed heartbeat, to be repeated after a wait with jitter by `random`. Returns whether the session has
    /// expired: others may read the partitions.
    pub(super) fn record_failure(&mut self, error: &RequestError, now: Instant, random: u64) -> bool {
        debug_assert!(self.answered <= now, "a heartbeat was answered in the future");
        self.failures = self.failures.saturating_add(1);
        self.retry_wait = Some(retry::wait(Some(error), self.failures, random));
        self.timeout <= now.saturating_duration_since(self.answered)
    }

    /// Returns the time until which an instance name keeps its partitions.
    pub(super) fn lease_end(&self) -> Instant {
        Deadline::of(self.answered, instance_lease(self.timeout)).end()
    }

    /// Begins the time for revocations before the next heartbeat. All of them share it, so that the heartbeat is not
    /// late.
    pub(super) fn begin_revocations(&mut self, now: Instant) {
        self.revocation_deadline = Deadline::of(now, self.timeout / 2).end();
    }

    /// Returns the time until which partitions may be revoked before the next heartbeat.
    pub(super) fn revocation_deadline(&self) -> Instant {
        self.revocation_deadline
    }

    /// Returns the time for which a revoked partition waits for the reader.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        self.rebalance_timeout
    }

    /// Returns the time after which the broker expels a member that still reads a revoked partition. It is longer than
    /// the member's own limit, so that the member always releases the partition itself.
    pub(super) fn broker_rebalance_timeout(&self) -> Duration {
        self.rebalance_timeout + self.timeout.min(REBALANCE_TIMEOUT_MAX)
    }

    /// Whether a reader that was `idle` this long keeps others from reading its partitions.
    pub(super) fn is_stuck(&self, idle: Duration) -> bool {
        self.max_poll_interval <= idle
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test is the shell of what it tests")]
mod tests {
    use super::*;
    use grower_protocol::message::SESSION_MAX;

    const SECOND: Duration = Duration::from_secs(1);

    fn session(now: Instant) -> MemberSession {
        MemberSession::new(&ConsumerSettings::default(), now)
    }

    #[test]
    fn a_changed_assignment_is_confirmed_at_once() {
        let now = Instant::now();
        let mut session = session(now);
        session.record_answer(now, true, SECOND * 3);
        assert_eq!(session.next_heartbeat(now), now);
        session.record_answer(now, false, SECOND * 3);
        assert_eq!(session.next_heartbeat(now), now + SECOND * 3);
        session.record_answer(now, false, SECOND * 9);
        assert_eq!(session.next_heartbeat(now), now + SECOND * 5, "a heartbeat comes twice in a session");
    }

    #[test]
    fn a_member_releases_a_revoked_partition_before_the_broker_expels_it() {
        for (session, rebalance) in [(1, None), (10, Some(0)), (10, Some(60)), (1_800, None), (1, Some(86_400))] {
            let settings = ConsumerSettings {
                session_timeout: SECOND * session,
                rebalance_timeout: rebalance.map(|seconds| SECOND * seconds),
                ..ConsumerSettings::default()
            };
            let session = MemberSession::new(&settings, Instant::now());
            assert!(session.rebalance_timeout() < session.broker_rebalance_timeout().min(SESSION_MAX), "{session:?}");
        }
    }

    #[test]
    fn a_session_expires_a_timeout_after_the_last_answered_heartbeat() {
        let now = Instant::now();
        let mut session = session(now);
        session.record_answer(now + SECOND, false, SECOND);
        assert_eq!(session.answer_deadline(true, now + SECOND * 5), now + SECOND * 11);
        let error = RequestError::TimedOut { after: SECOND };
        assert!(!session.record_failure(&error, now + SECOND * 10, 0));
        assert!(session.record_failure(&error, now + SECOND * 11, 0));
        assert_eq!(session.next_heartbeat(now), now + retry::wait(Some(&error), 2, 0));
        session.record_success();
        assert_eq!(session.next_heartbeat(now), now + SECOND * 2);
    }
}
