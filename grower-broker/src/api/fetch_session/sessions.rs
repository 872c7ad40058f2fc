//! All sessions of the broker, within their share of its memory.

use super::session::{BrokerFetchSession, SESSION_BYTES, SLOT_BYTES, unknown};
use crate::api::burst::Reply;
use crate::memory::{Memory, StateKind, StateReservation};
use crate::random::random_bytes;
use crate::state::BrokerState;
use grower_protocol::message::{ErrorCode, Failure, FetchSessionId, Response};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A session that is unused for this long is forgotten.
const IDLE_MAX: Duration = Duration::from_secs(120);
const EXPIRE_EACH: Duration = Duration::from_secs(10);
/// After requests waited this long for memory, sessions that are unused for [`UNUSED_MIN`] are evicted.
const EVICT_AFTER: Duration = Duration::from_secs(1);
/// After this many such waits, other sessions are evicted, too.
const EVICT_ALL_AFTER: u32 = 10;
/// A client that still reads uses its session more often.
const UNUSED_MIN: Duration = Duration::from_secs(10);
/// Divides the sessions' share while requests wait for memory. To evict more would hardly help the others.
const PRESSURE_DIVISOR: usize = 4;

/// The sessions by id.
pub(in crate::api) struct FetchSessions {
    state: Arc<BrokerState>,
    sessions: RwLock<HashMap<u64, Arc<BrokerFetchSession>>>,
}

impl FetchSessions {
    pub(in crate::api) fn new(state: Arc<BrokerState>) -> Self {
        Self { state, sessions: RwLock::default() }
    }

    /// Opens an empty session whose memory is reserved.
    pub(super) fn open(&self, memory: StateReservation) -> Arc<BrokerFetchSession> {
        let now = self.state.clock.monotonic();
        let account = (memory, self.state.health.metrics().fetch_sessions().opened());
        let mut sessions = self.sessions.write();
        loop {
            let id = u64::from_ne_bytes(random_bytes());
            if let std::collections::hash_map::Entry::Vacant(free) = sessions.entry(id) {
                return free.insert(Arc::new(BrokerFetchSession::new(FetchSessionId(id), account, now))).clone();
            }
        }
    }

    /// Finds a session and marks it as used.
    pub(super) fn find(&self, id: FetchSessionId) -> Result<Arc<BrokerFetchSession>, Failure> {
        let session = self.sessions.read().get(&id.0).cloned().ok_or_else(|| unknown(id))?;
        session.touch(self.state.clock.monotonic());
        Ok(session)
    }

    pub(super) fn close(&self, id: FetchSessionId) -> Result<(), Failure> {
        let session = self.sessions.write().remove(&id.0).ok_or_else(|| unknown(id))?;
        self.end(&session);
        Ok(())
    }

    fn end(&self, session: &BrokerFetchSession) {
        self.refuse(session.end(), &unknown(session.id));
    }

    /// Refuses requests that waited in a session that ended or was resumed. They do not count as failed: a client that
    /// closes its session leaves one.
    pub(super) fn refuse(&self, replies: Vec<Reply>, failure: &Failure) {
        for reply in replies {
            reply.send(&Response::Failed(failure.clone()));
        }
    }

    /// Reserves memory for slots, and for their session unless it exists already (`except`). Evicts other sessions
    /// without a waiting request, the longest unused first. The caller holds no session's lock.
    pub(super) fn reserve(&self, slots: usize, except: Option<FetchSessionId>) -> Result<StateReservation, Failure> {
        let bytes = slots * SLOT_BYTES + if except.is_none() { SESSION_BYTES } else { 0 };
        let memory = &self.state.memory;
        let opens_under_pressure = except.is_none() && memory.is_wanted(); // An open one may change what it reads.
        let bytes_max = if opens_under_pressure {
            self.bytes_under_pressure()
        } else {
            memory.state_bytes_max(StateKind::FetchSessions)
        };
        let bytes_left = || bytes_max.saturating_sub(memory.state_bytes(StateKind::FetchSessions));
        if bytes_left() < bytes {
            self.evict((memory.state_bytes(StateKind::FetchSessions) + bytes).saturating_sub(bytes_max), except);
        }
        if 0 < bytes && bytes_left() < bytes {
            let detail = format_args!(
                "fetch sessions may take {bytes_max} bytes now, and {bytes} more do not fit: read fewer partitions \
                 or raise `broker.memory`"
            );
            return Err(Failure::new(ErrorCode::MemoryFull, detail));
        }
        let mut reservation = memory.state_reservation(StateKind::FetchSessions);
        reservation.set(bytes);
        Ok(reservation)
    }

    /// Bytes that sessions may take while requests wait for memory.
    fn bytes_under_pressure(&self) -> usize {
        self.state.memory.state_bytes_max(StateKind::FetchSessions) / PRESSURE_DIVISOR
    }

    /// Evicts idle sessions until `bytes` are free, and a little more. Evicts none if all of them do not suffice.
    fn evict(&self, bytes: usize, except: Option<FetchSessionId>) {
        let idle = self.all(|session| session.is_idle() && Some(session.id) != except);
        if idle.iter().map(|session| session.bytes()).sum::<usize>() < bytes {
            return;
        }
        let surplus = self.state.memory.state_bytes_max(StateKind::FetchSessions) / 64;
        self.evict_oldest(idle, bytes.max(surplus));
    }

    /// Evicts sessions until `bytes` are free, the longest unused first.
    fn evict_oldest(&self, mut sessions: Vec<Arc<BrokerFetchSession>>, bytes: usize) {
        let used = || self.state.memory.state_bytes(StateKind::FetchSessions);
        let bytes_kept = used().saturating_sub(bytes);
        sessions.sort_unstable_by_key(|session| session.last_used_ms());
        for session in sessions {
            if used() <= bytes_kept {
                break;
            }
            if self.close(session.id).is_ok() {
                self.state.health.metrics().fetch_sessions().evicted();
                tracing::debug!(session = format_args!("{:016x}", session.id.0), "a fetch session was evicted");
            }
        }
    }

    fn all(&self, wanted: impl Fn(&BrokerFetchSession) -> bool) -> Vec<Arc<BrokerFetchSession>> {
        self.sessions.read().values().filter(|session| wanted(session)).cloned().collect()
    }

    /// Sessions without a waiting request that were unused for longer than `time`.
    fn unused(&self, time: Duration) -> Vec<Arc<BrokerFetchSession>> {
        let since = self.state.clock.monotonic().saturating_sub(time).as_millis();
        self.all(|session| session.is_idle() && u128::from(session.last_used_ms()) < since)
    }

    /// Forgets sessions that are unused for [`IDLE_MAX`].
    fn expire(&self) {
        for session in self.unused(IDLE_MAX) {
            let _ = self.close(session.id); // It may have been closed meanwhile.
        }
    }

    /// Evicts sessions for requests that wait for memory: unused ones, or any if the wait is `long`.
    fn evict_for_waiting_requests(&self, long: bool) {
        let bytes_max = self.state.memory.state_bytes_max(StateKind::FetchSessions);
        let surplus =
            self.state.memory.state_bytes(StateKind::FetchSessions).saturating_sub(self.bytes_under_pressure());
        if 0 < surplus {
            let sessions = if long { self.all(|_| true) } else { self.unused(UNUSED_MIN) };
            self.evict_oldest(sessions, if long { surplus.min(bytes_max / 4) } else { surplus });
        }
    }

    /// Forgets unused sessions, and evicts others for requests that wait for memory, until the broker stops.
    pub(in crate::api) async fn run(sessions: Weak<Self>, memory: Memory, stop: CancellationToken) {
        let mut waits: u32 = 0;
        while !stop.is_cancelled() {
            let pause = if waits == 0 { EXPIRE_EACH } else { EVICT_AFTER };
            tokio::select! {
                () = stop.cancelled() => return,
                () = memory.wanted(), if waits == 0 => {}
                () = tokio::time::sleep(pause) => {}
            }
            let Some(sessions) = sessions.upgrade() else { return };
            sessions.expire();
            if 0 < waits && memory.is_wanted() {
                sessions.evict_for_waiting_requests(waits.is_multiple_of(EVICT_ALL_AFTER));
            }
            waits = if memory.is_wanted() { waits + 1 } else { 0 };
        }
    }
}
