//! One session: its state, and the requests that wait for news.

use super::changes::PlacedRequest;
use super::gather::GatheredNews;
use super::ready::ReadySlots;
use super::state::SessionState;
use crate::api::burst::Reply;
use crate::memory::StateReservation;
use crate::metrics::CountedFetchSession;
use grower_protocol::message::{
    ErrorCode, Failure, FetchSession, FetchSessionAnswer, FetchSessionId, Response, SessionPlace,
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

/// Requests of one session that wait.
pub(super) const WAITING_MAX: usize = 8;

/// Bytes of an empty session, a slot, a part that was not taken in and a request that waits. The sizes were measured,
/// with what the allocator adds.
pub(super) const SESSION_BYTES: usize = 2_048;
pub(super) const SLOT_BYTES: usize = 416;
const MOVE_BYTES: usize = 24;
const WAITING_BYTES: usize = 1_024;

/// A session that this broker keeps.
pub(super) struct ServedSession {
    pub(super) id: FetchSessionId,
    pub(super) ready: Arc<ReadySlots>,
    /// When it was last used, in milliseconds of the monotonic clock.
    used: AtomicU64,
    /// A request waits.
    waits: AtomicBool,
    queue: Mutex<SessionQueue>,
}

/// What requests of a session change, one at a time.
pub(super) struct SessionQueue {
    pub(super) state: SessionState,
    /// The requests that wait, in their order.
    pub(super) waiting: VecDeque<WaitingFetchRequest>,
    /// A task serves them.
    pub(super) served: bool,
    pub(super) memory: StateReservation,
    /// None once it has ended.
    counted: Option<CountedFetchSession>,
    /// The session is closed or evicted, or a panic left it half changed.
    ended: bool,
}

/// A request that waits for news.
pub(super) struct WaitingFetchRequest {
    pub(super) number: u64,
    pub(super) limits: AnswerLimits,
    pub(super) news: GatheredNews,
    pub(super) reply: Reply,
    /// Ends its wait. The task that serves it takes it.
    pub(super) deadline: Option<Pin<Box<Sleep>>>,
}

/// The limits of one answer, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnswerLimits {
    pub(super) least: usize,
    pub(super) most: usize,
}

/// The exclusive right to change a session. A panic meanwhile ends it.
pub(super) struct FetchSessionGuard<'a> {
    session: &'a ServedSession,
    queue: MutexGuard<'a, SessionQueue>,
}

impl ServedSession {
    pub(super) fn new(
        id: FetchSessionId,
        (memory, counted): (StateReservation, CountedFetchSession),
        now: Duration,
    ) -> Self {
        let ready = Arc::new(ReadySlots::default());
        let state = SessionState::new(ready.clone());
        let queue = SessionQueue {
            state,
            waiting: VecDeque::new(),
            served: false,
            memory,
            counted: Some(counted),
            ended: false,
        };
        let session =
            Self { id, ready, used: AtomicU64::new(0), waits: AtomicBool::new(false), queue: Mutex::new(queue) };
        session.touch(now);
        session
    }

    /// Locks the session, unless it has ended.
    pub(super) fn lock(&self) -> Result<FetchSessionGuard<'_>, Failure> {
        let queue = self.queue.lock();
        if queue.ended { Err(unknown(self.id)) } else { Ok(FetchSessionGuard { session: self, queue }) }
    }

    /// It is used now.
    pub(super) fn touch(&self, now: Duration) {
        self.used.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Milliseconds of the monotonic clock.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether no request waits.
    pub(super) fn is_idle(&self) -> bool {
        !self.waits.load(Ordering::Acquire)
    }

    /// Bytes that it counts.
    pub(super) fn bytes(&self) -> usize {
        self.queue.lock().memory.bytes()
    }

    /// Ends the session: its waits, its memory, and the requests that wait, which the caller refuses.
    pub(super) fn end(&self) -> Vec<Reply> {
        let mut queue = self.queue.lock();
        queue.ended = true;
        queue.state.end();
        queue.memory.set(0);
        queue.counted = None;
        self.waits.store(false, Ordering::Relaxed);
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        self.ready.look();
        waiting.into_iter().map(|waiting| waiting.reply).collect()
    }

    /// The answer to one of its requests.
    pub(super) fn answer(&self, number: u64, news: GatheredNews) -> (Response, Vec<Slice>) {
        let GatheredNews { parts, slices, .. } = news;
        (Response::FetchSession(FetchSessionAnswer { session: self.id, number, parts }), slices)
    }
}

impl SessionQueue {
    /// Refuses a request that the session cannot take, and leaves all as it was.
    pub(super) fn check(&self, request: &PlacedRequest<'_>) -> Result<(), Failure> {
        let answered_below = self.waiting.front().map_or(self.state.next_number, |first| first.number);
        self.state.check(request, answered_below)?;
        if request.wants_news && !request.resumes && WAITING_MAX <= self.waiting.len() {
            let detail = format_args!("{WAITING_MAX} requests of the fetch session wait already");
            return Err(Failure::new(ErrorCode::LimitReached, detail));
        }
        Ok(())
    }

    /// Applies a request that was checked. Returns the requests that end because it resumes the session.
    pub(super) fn apply(&mut self, request: &PlacedRequest<'_>) -> Vec<Reply> {
        let mut lost = Vec::new();
        if request.resumes {
            while let Some(waiting) = self.waiting.pop_back() {
                self.state.take_back(waiting.news.moves);
                lost.push(waiting.reply);
            }
        }
        self.state.apply(request);
        lost
    }

    fn bytes(&self) -> usize {
        let state = &self.state;
        SESSION_BYTES
            + (state.slots.len() + state.stale) * SLOT_BYTES
            + state.unacknowledged_moves * MOVE_BYTES
            + self.waiting.len() * WAITING_BYTES
            + self.waiting.front().map_or(0, |first| first.news.memory()) // Only the first one gathers.
    }
}

impl Deref for FetchSessionGuard<'_> {
    type Target = SessionQueue;

    fn deref(&self) -> &SessionQueue {
        &self.queue
    }
}

impl DerefMut for FetchSessionGuard<'_> {
    fn deref_mut(&mut self) -> &mut SessionQueue {
        &mut self.queue
    }
}

impl Drop for FetchSessionGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.queue.ended = true;
            self.session.ready.look(); // The task that serves it refuses the requests that wait.
        }
        let bytes = self.queue.bytes();
        self.queue.memory.set(bytes);
        let partitions = self.queue.state.slots.len();
        if let Some(counted) = &mut self.queue.counted {
            counted.set_partitions(partitions);
        }
        self.session.waits.store(!self.queue.waiting.is_empty(), Ordering::Release);
    }
}

/// The place of a request that its step names.
pub(super) fn placed(place: SessionPlace, resumes: bool, request: &FetchSession) -> PlacedRequest<'_> {
    let changes = super::changes::SlotChanges { drop: &request.drop, add: &request.add };
    PlacedRequest { place, resumes, wants_news: 0 < request.max_bytes, changes }
}

/// The failure of a request to a session that there is not.
pub(super) fn unknown(id: FetchSessionId) -> Failure {
    let detail = format_args!("there is no fetch session {:016x}; it may have been evicted: open another one", id.0);
    Failure::new(ErrorCode::UnknownFetchSession, detail)
}
