//! Fetch sessions: the broker keeps the partitions that a client reads, and its position in each.
//!
//! A slot with news stands in its session's queue of [ready slots](ready); any other waits with its partition. So an
//! append touches the slots that wait for its partition, an answer the slots that have news, and a long poll that ends
//! without any touches none. The [state](state) of a session knows no request, no clock and no connection.
//!
//! A request that finds enough is answered with its burst. Any other waits, and one task serves the waiting requests of
//! a session in their order.

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
use changes::{PlacedRequest, SlotChanges};
use gather::GatheredNews;
use grower_protocol::message::{ErrorCode, Failure, FetchSession, FetchSessionId, Response, SessionPlace, SessionStep};
use grower_storage::log::Slice;
use session::{AnswerLimits, ServedSession, WaitingFetchRequest, placed};
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
            SessionStep::Continue(place) => {
                return self.continue_session((place, false), &request, (timer, call), burst);
            }
            SessionStep::Resume(place) => return self.continue_session((place, true), &request, (timer, call), burst),
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
        changes.check()?;
        let session = self.sessions.open(self.sessions.reserve(request.add.len(), None)?);
        let mut queue = session.lock()?;
        queue.state.change(&changes);
        queue.state.next_number = 1;
        let mut news = GatheredNews::default();
        if 0 < request.max_bytes {
            queue.state.gather(&*self.state.topics, self.limits(request).most, &mut news);
        }
        queue.state.answered(0, std::mem::take(&mut news.moves));
        Ok(session.answer(0, news))
    }

    fn close_session(&self, id: FetchSessionId) -> Result<(Response, Vec<Slice>), Failure> {
        let session = self.sessions.find(id)?;
        let number = session.lock()?.state.next_number;
        self.sessions.close(id)?;
        Ok(session.answer(number, GatheredNews::default()))
    }

    fn continue_session(
        self: &Arc<Self>,
        (place, resumes): (SessionPlace, bool),
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
        let answered = self.take_in(&placed(place, resumes, request), request, wait);
        if let Some((_timer, call)) = unanswered {
            self.answer_session(answered, call, burst);
        }
    }

    /// Takes a request in: answers it, or has it wait and answers nothing yet.
    fn take_in(
        self: &Arc<Self>,
        placed: &PlacedRequest<'_>,
        request: &FetchSession,
        wait: impl FnOnce() -> Reply,
    ) -> Result<(Response, Vec<Slice>), Failure> {
        let session = self.sessions.find(placed.place.session)?;
        let room = self.room(&session, placed)?;
        let (limits, number) = (self.limits(request), placed.place.number);
        let mut queue = session.lock()?;
        queue.check(placed)?;
        drop(room); // The session counts the slots itself from here on.
        let lost = queue.apply(placed);
        let mut news = GatheredNews::default();
        let answers = if placed.wants_news && !queue.waiting.is_empty() {
            false
        } else if placed.wants_news {
            queue.state.gather(&*self.state.topics, limits.most, &mut news);
            request.max_wait_ms == 0 || news.is_enough(limits.least)
        } else {
            true
        };
        if answers {
            queue.state.answered(number, std::mem::take(&mut news.moves));
        } else {
            let deadline = tokio::time::sleep(Duration::from_millis(request.max_wait_ms.into()).min(WAIT_MAX));
            let news = std::mem::take(&mut news);
            queue.waiting.push_back(WaitingFetchRequest {
                number,
                limits,
                news,
                reply: wait(),
                deadline: Some(Box::pin(deadline)),
            });
            if !std::mem::replace(&mut queue.served, true) {
                let (api, session) = (self.clone(), session.clone());
                self.state.tasks.spawn("a fetch session", async move { api.serve_session(session).await });
            }
        }
        drop(queue);
        self.end_lost(&session, lost);
        Ok(session.answer(number, news))
    }

    /// Memory for the slots that a request adds, if its session would take it: a wrong request evicts no other session.
    fn room(&self, session: &ServedSession, placed: &PlacedRequest<'_>) -> Result<Option<StateReservation>, Failure> {
        if placed.changes.add.is_empty() {
            return Ok(None);
        }
        let queue = session.lock()?;
        queue.check(placed)?;
        let added = queue.state.new_slots(placed.changes.add).count();
        drop(queue);
        self.sessions.reserve(added, Some(session.id)).map(Some)
    }

    /// Ends the requests that waited when their session was resumed.
    fn end_lost(&self, session: &ServedSession, lost: Vec<Reply>) {
        if !lost.is_empty() {
            session.ready.look();
            let detail = "the fetch session was resumed by a later request";
            self.sessions.refuse(lost, &Failure::new(ErrorCode::UnknownFetchSession, detail));
        }
    }

    fn limits(&self, request: &FetchSession) -> AnswerLimits {
        let most = (request.max_bytes as usize).min(self.state.settings.now().broker.fetch_bytes_max);
        AnswerLimits { least: request.min_bytes as usize, most }
    }
}

#[cfg(test)]
mod tests;
