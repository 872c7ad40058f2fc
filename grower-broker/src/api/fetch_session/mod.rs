//! Fetch sessions: the broker keeps the partitions that a client reads, and its position in each.
//!
//! A slot that has something to send is in its session's queue of [ready slots](ready). Every other slot waits with its
//! partition. So an append costs as much as the slots that it wakes, and an answer as much as the slots that it reads.
//!
//! A request that finds enough is answered with its burst. Every other request waits, and one task serves the waiting
//! requests of a session in their order.

mod changes;
pub(super) mod fuzzed;
mod gather;
mod ready;
mod serve;
mod session;
mod sessions;
mod source;
mod state;

pub(super) use sessions::FetchSessions;

use super::burst::{Burst, Reply};
use super::fetch::WAIT_MAX;
use super::{Api, RequestContext};
use crate::memory::StateReservation;
use crate::metrics::{RequestClass, RequestTimer};
use changes::{SessionRequest, SlotChanges};
use gather::GatheredParts;
use grower_protocol::message::{
    ErrorCode, Failure, FetchSession, FetchSessionId, Response, SessionSequence, SessionStep,
};
use grower_storage::log::Slice;
use session::{AnswerLimits, BrokerFetchSession, WaitingFetchRequest, session_request};
use std::sync::Arc;
use std::time::Duration;

impl Api {
    pub(super) fn fetch_session(
        self: &Arc<Self>,
        timer: RequestTimer,
        request: FetchSession,
        call: RequestContext,
        burst: &mut Burst,
    ) {
        let answered = match request.step {
            SessionStep::Open => self.open_session(&request),
            SessionStep::Close(id) => self.close_session(id),
            SessionStep::Continue(sequence) => {
                return self.continue_session((sequence, false), &request, (timer, call), burst);
            }
            SessionStep::Resume(sequence) => {
                return self.continue_session((sequence, true), &request, (timer, call), burst);
            }
        };
        self.answer_session(answered, call, burst);
    }

    fn answer_session(
        &self,
        answered: Result<(Response, Vec<Slice>), Failure>,
        call: RequestContext,
        burst: &mut Burst,
    ) {
        match answered {
            Ok((response, slices)) => burst.answer_slices(call.correlation, &response, slices, call.permit),
            Err(failure) => {
                self.state.health.metrics().request_failed(failure.code);
                burst.answer(call.correlation, &Response::Failed(failure), call.permit);
            }
        }
    }

    fn open_session(&self, request: &FetchSession) -> Result<(Response, Vec<Slice>), Failure> {
        let changes = SlotChanges { drop: &request.drop, add: &request.add };
        changes.check_order()?;
        let session = self.sessions.open(self.sessions.reserve(request.add.len(), None)?);
        let mut locked = session.lock()?;
        locked.state.change(&changes);
        locked.state.next_number = 1;
        let mut gathered = GatheredParts::default();
        if 0 < request.max_bytes {
            locked.state.gather(&*self.state.topics, self.limits(request).max_bytes, &mut gathered);
        }
        locked.state.record_answer(0, std::mem::take(&mut gathered.rewind_points));
        Ok(session.answer(0, gathered))
    }

    fn close_session(&self, id: FetchSessionId) -> Result<(Response, Vec<Slice>), Failure> {
        let session = self.sessions.find(id)?;
        let number = session.lock()?.state.next_number;
        self.sessions.close(id)?;
        Ok(session.answer(number, GatheredParts::default()))
    }

    fn continue_session(
        self: &Arc<Self>,
        (sequence, resumes): (SessionSequence, bool),
        request: &FetchSession,
        (timer, call): (RequestTimer, RequestContext),
        burst: &mut Burst,
    ) {
        let mut unanswered = Some((timer, call));
        let wait = || {
            let (mut timer, mut call) = unanswered.take().expect("a request begins to wait once");
            timer.reclassify(RequestClass::FetchWait);
            call.permit.release_memory(); // Its changes are applied, and its session counts what it gathers.
            burst.reply(call.correlation, call.permit, timer)
        };
        let answered = self.accept_request(&session_request(sequence, resumes, request), request, wait);
        if let Some((_timer, call)) = unanswered {
            self.answer_session(answered, call, burst);
        }
    }

    /// Applies a request, then answers it or queues it. A queued request calls `wait`, and its answer here is ignored.
    fn accept_request(
        self: &Arc<Self>,
        session_request: &SessionRequest<'_>,
        request: &FetchSession,
        wait: impl FnOnce() -> Reply,
    ) -> Result<(Response, Vec<Slice>), Failure> {
        let session = self.sessions.find(session_request.sequence.session)?;
        let reserved = self.reserve_slots(&session, session_request)?;
        let (limits, number) = (self.limits(request), session_request.sequence.number);
        let mut locked = session.lock()?;
        locked.check(session_request)?;
        drop(reserved); // The session counts the slots itself from here on.
        let lost = locked.apply(session_request);
        let mut gathered = GatheredParts::default();
        let answers = if session_request.wants_records && !locked.waiting.is_empty() {
            false
        } else if session_request.wants_records {
            locked.state.gather(&*self.state.topics, limits.max_bytes, &mut gathered);
            request.max_wait_ms == 0 || gathered.is_enough(limits.min_bytes)
        } else {
            true
        };
        if answers {
            locked.state.record_answer(number, std::mem::take(&mut gathered.rewind_points));
        } else {
            let deadline = tokio::time::sleep(Duration::from_millis(request.max_wait_ms.into()).min(WAIT_MAX));
            let gathered = std::mem::take(&mut gathered);
            locked.waiting.push_back(WaitingFetchRequest {
                number,
                limits,
                gathered,
                reply: wait(),
                deadline: Some(Box::pin(deadline)),
            });
            if !std::mem::replace(&mut locked.has_task, true) {
                let (api, session) = (self.clone(), session.clone());
                self.state.tasks.spawn("a fetch session", async move { api.serve_session(session).await });
            }
        }
        drop(locked);
        self.end_lost(&session, lost);
        Ok(session.answer(number, gathered))
    }

    /// Reserves memory for the slots that a request adds. Checks the request before, so that a wrong one evicts no
    /// other session; the caller checks it again, as the lock is released meanwhile.
    fn reserve_slots(
        &self,
        session: &BrokerFetchSession,
        request: &SessionRequest<'_>,
    ) -> Result<Option<StateReservation>, Failure> {
        if request.changes.add.is_empty() {
            return Ok(None);
        }
        let locked = session.lock()?;
        locked.check(request)?;
        let added = locked.state.new_slots(request.changes.add).count();
        drop(locked);
        self.sessions.reserve(added, Some(session.id)).map(Some)
    }

    /// Ends the requests that waited when their session was resumed.
    fn end_lost(&self, session: &BrokerFetchSession, lost: Vec<Reply>) {
        if !lost.is_empty() {
            session.ready.wake_task();
            let detail = "the fetch session was resumed by a later request";
            self.sessions.refuse(lost, &Failure::new(ErrorCode::UnknownFetchSession, detail));
        }
    }

    fn limits(&self, request: &FetchSession) -> AnswerLimits {
        let max_bytes = (request.max_bytes as usize).min(self.state.settings.now().broker.fetch_bytes_max);
        AnswerLimits { min_bytes: request.min_bytes as usize, max_bytes }
    }
}

#[cfg(test)]
mod tests;
