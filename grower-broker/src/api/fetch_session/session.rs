//! One session: its state, and the requests that wait for records.

use super::changes::SessionRequest;
use super::gather::GatheredParts;
use super::ready::ReadySlots;
use super::state::SessionState;
use crate::api::burst::Reply;
use crate::memory::StateReservation;
use crate::metrics::CountedFetchSession;
use grower_protocol::message::{
    ErrorCode, Failure, FetchSession, FetchSessionAnswer, FetchSessionId, Response, SessionSequence,
};
use grower_storage::log::Slice;
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Sleep;

/// The most waiting requests of a session.
pub(super) const REQUESTS_WAITING_MAX: usize = 8;

/// Bytes of an empty session, a slot, an unacknowledged part and a waiting request. The sizes were measured, with the
/// allocator's share.
pub(super) const SESSION_BYTES: usize = 2_048;
pub(super) const SLOT_BYTES: usize = 416;
const REWIND_POINT_BYTES: usize = 24;
const WAITING_BYTES: usize = 1_024;

/// A session, shared by its requests, its task and the set of all sessions.
pub(super) struct BrokerFetchSession {
    pub(super) id: FetchSessionId,
    pub(super) ready: Arc<ReadySlots>,
    /// Milliseconds of the monotonic clock.
    last_used_ms: AtomicU64,
    /// A request waits.
    has_waiting: AtomicBool,
    locked: Mutex<LockedSession>,
}

/// The state behind a session's lock.
pub(super) struct LockedSession {
    pub(super) state: SessionState,
    /// The requests that wait, in their order.
    pub(super) waiting: VecDeque<WaitingFetchRequest>,
    /// A task serves them.
    pub(super) has_task: bool,
    pub(super) memory: StateReservation,
    /// None once it has ended.
    counted: Option<CountedFetchSession>,
    /// The session is closed or evicted, or a panic left it half changed.
    ended: bool,
}

/// A request that waits for records.
pub(super) struct WaitingFetchRequest {
    pub(super) number: u64,
    pub(super) limits: AnswerLimits,
    pub(super) gathered: GatheredParts,
    pub(super) reply: Reply,
    /// The task takes it when this request becomes the first.
    pub(super) deadline: Option<Pin<Box<Sleep>>>,
}

/// The limits of one answer, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnswerLimits {
    pub(super) min_bytes: usize,
    pub(super) max_bytes: usize,
}

/// The lock of a session. A panic while it is held ends the session.
pub(super) struct FetchSessionGuard<'a> {
    session: &'a BrokerFetchSession,
    locked: MutexGuard<'a, LockedSession>,
}

impl BrokerFetchSession {
    pub(super) fn new(
        id: FetchSessionId,
        (memory, counted): (StateReservation, CountedFetchSession),
        now: Duration,
    ) -> Self {
        let ready = Arc::new(ReadySlots::default());
        let state = SessionState::new(ready.clone());
        let locked = LockedSession {
            state,
            waiting: VecDeque::new(),
            has_task: false,
            memory,
            counted: Some(counted),
            ended: false,
        };
        let session = Self {
            id,
            ready,
            last_used_ms: AtomicU64::new(0),
            has_waiting: AtomicBool::new(false),
            locked: Mutex::new(locked),
        };
        session.touch(now);
        session
    }

    /// Locks the session, unless it has ended.
    pub(super) fn lock(&self) -> Result<FetchSessionGuard<'_>, Failure> {
        let locked = self.locked.lock();
        if locked.ended { Err(unknown(self.id)) } else { Ok(FetchSessionGuard { session: self, locked }) }
    }

    pub(super) fn touch(&self, now: Duration) {
        self.last_used_ms.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Milliseconds of the monotonic clock.
    pub(super) fn last_used_ms(&self) -> u64 {
        self.last_used_ms.load(Ordering::Relaxed)
    }

    pub(super) fn is_idle(&self) -> bool {
        !self.has_waiting.load(Ordering::Acquire)
    }

    pub(super) fn bytes(&self) -> usize {
        self.locked.lock().memory.bytes()
    }

    /// Ends the session: its waits, its memory, and the requests that wait, which the caller refuses.
    pub(super) fn end(&self) -> Vec<Reply> {
        let mut locked = self.locked.lock();
        locked.ended = true;
        locked.state.end();
        locked.memory.set(0);
        locked.counted = None;
        self.has_waiting.store(false, Ordering::Relaxed);
        let waiting = std::mem::take(&mut locked.waiting);
        drop(locked);
        self.ready.wake_task();
        waiting.into_iter().map(|waiting| waiting.reply).collect()
    }

    /// The answer to one of its requests.
    pub(super) fn answer(&self, number: u64, gathered: GatheredParts) -> (Response, Vec<Slice>) {
        let GatheredParts { parts, slices, .. } = gathered;
        (Response::FetchSession(FetchSessionAnswer { session: self.id, number, parts }), slices)
    }
}

impl LockedSession {
    /// Refuses an invalid request, and changes nothing.
    pub(super) fn check(&self, request: &SessionRequest<'_>) -> Result<(), Failure> {
        let answered_below = self.waiting.front().map_or(self.state.next_number, |first| first.number);
        self.state.check_state(request, answered_below)?;
        if request.wants_records && !request.resumes && REQUESTS_WAITING_MAX <= self.waiting.len() {
            let detail = format_args!("at most {REQUESTS_WAITING_MAX} requests of a fetch session may wait");
            return Err(Failure::new(ErrorCode::LimitReached, detail));
        }
        Ok(())
    }

    /// Applies a request that was checked. Returns the requests that end because it resumes the session.
    pub(super) fn apply(&mut self, request: &SessionRequest<'_>) -> Vec<Reply> {
        let mut lost = Vec::new();
        if request.resumes {
            while let Some(waiting) = self.waiting.pop_back() {
                self.state.rewind(waiting.gathered.rewind_points);
                lost.push(waiting.reply);
            }
        }
        self.state.apply(request);
        lost
    }

    fn bytes(&self) -> usize {
        let state = &self.state;
        SESSION_BYTES
            + (state.slots.len() + state.dropped_in_queue) * SLOT_BYTES
            + state.rewind_point_count * REWIND_POINT_BYTES
            + self.waiting.len() * WAITING_BYTES
            + self.waiting.front().map_or(0, |first| first.gathered.memory()) // Only the first one gathers.
    }
}

impl Deref for FetchSessionGuard<'_> {
    type Target = LockedSession;

    fn deref(&self) -> &LockedSession {
        &self.locked
    }
}

impl DerefMut for FetchSessionGuard<'_> {
    fn deref_mut(&mut self) -> &mut LockedSession {
        &mut self.locked
    }
}

impl Drop for FetchSessionGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.locked.ended = true;
            self.session.ready.wake_task(); // The task that serves it refuses the requests that wait.
        }
        let bytes = self.locked.bytes();
        self.locked.memory.set(bytes);
        let partitions = self.locked.state.slots.len();
        if let Some(counted) = &mut self.locked.counted {
            counted.set_partitions(partitions);
        }
        self.session.has_waiting.store(!self.locked.waiting.is_empty(), Ordering::Release);
    }
}

/// The parts of a request that its session checks.
pub(super) fn session_request(sequence: SessionSequence, resumes: bool, request: &FetchSession) -> SessionRequest<'_> {
    let changes = super::changes::SlotChanges { drop: &request.drop, add: &request.add };
    SessionRequest { sequence, resumes, wants_records: 0 < request.max_bytes, changes }
}

/// The failure of a request to an unknown session.
pub(super) fn unknown(id: FetchSessionId) -> Failure {
    let detail = format_args!("there is no fetch session {:016x}; it may have been evicted: open another one", id.0);
    Failure::new(ErrorCode::UnknownFetchSession, detail)
}
