//! Fetch sessions: the broker keeps the partitions that a client reads, and its position in each.
//!
//! A slot with news stands in its session's queue of [ready slots](ready); any other waits with its partition. So an
//! append touches the slots that wait for its partition, an answer the slots that have news, and a long poll that ends
//! without any touches none. The [state](state) of a session knows no request, no clock and no connection.
//!
//! A request that finds enough is answered with its burst. Any other waits, and one task serves the waiting requests of
//! a session in their order.

mod changes;
mod gather;
mod ready;
mod session;
mod sessions;
mod source;
mod state;

pub(super) use sessions::FetchSessions;

use super::burst::{Burst, Reply};
use super::fetch::WAIT_MAX;
use super::{Api, RequestContext};
use crate::metrics::{RequestClass, RequestTimer};
use changes::{PlacedRequest, SlotChanges};
use gather::GatheredNews;
use grower_protocol::message::{ErrorCode, Failure, FetchSession, FetchSessionId, Response, SessionPlace, SessionStep};
use grower_storage::log::Slice;
use session::{AnswerLimits, ServedSession, WaitingFetchRequest, placed};
use source::ServedSource;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

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
        let source = self.source(&session);
        let mut queue = session.lock()?;
        queue.state.change(&changes, &source);
        queue.state.next_number = 1;
        let mut news = GatheredNews::default();
        if 0 < request.max_bytes {
            queue.state.gather(&source, self.limits(request).most, &mut news);
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
            let (mut timer, call) = unanswered.take().expect("a request begins to wait once");
            timer.reclassify(RequestClass::FetchWait);
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
        let room = self.sessions.reserve(request.add.len(), Some(session.id))?;
        let source = self.source(&session);
        let (limits, number) = (self.limits(request), placed.place.number);
        let mut queue = session.lock()?;
        queue.check(placed)?;
        drop(room); // The session counts the slots itself from here on.
        let lost = queue.apply(placed, &source);
        let mut news = GatheredNews::default();
        let answers = if placed.wants_news && !queue.waiting.is_empty() {
            false
        } else if placed.wants_news {
            queue.state.gather(&source, limits.most, &mut news);
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

    /// Ends the requests that waited when their session was resumed.
    fn end_lost(&self, session: &ServedSession, lost: Vec<Reply>) {
        if !lost.is_empty() {
            session.ready.look();
            let detail = "the fetch session was resumed by a later request";
            self.sessions.refuse(lost, &Failure::new(ErrorCode::UnknownFetchSession, detail));
        }
    }

    /// Serves the requests of a session that wait, in their order, until none is left.
    async fn serve_session(self: Arc<Self>, session: Arc<ServedSession>) {
        let _closes = ClosesAfterPanic { api: &self, id: session.id };
        let (mut first, mut over) = (None, false);
        loop {
            match self.serve_first(&session, &mut first, over) {
                Served::Answered(reply, (response, slices)) => {
                    session.touch(self.state.clock.monotonic());
                    reply.send_slices(&response, slices);
                }
                Served::Waits => {}
                Served::NoneLeft => return,
            }
            over = match &mut first {
                Some(first) => first.wait(&self, &session).await,
                None => false,
            };
        }
    }

    /// Answers the first request that waits, if it has enough or its wait is `over`.
    fn serve_first(&self, session: &ServedSession, first: &mut Option<FirstWait>, over: bool) -> Served {
        let Ok(mut guard) = session.lock() else {
            let _ = self.sessions.close(session.id); // A panic ended it, if it is still there.
            return Served::NoneLeft;
        };
        let queue = &mut *guard;
        let Some(request) = queue.waiting.front_mut() else {
            queue.served = false;
            return Served::NoneLeft;
        };
        let over = over && first.as_ref().is_some_and(|first| first.number == request.number);
        let wait = match first.take_if(|first| first.number == request.number) {
            Some(wait) => wait,
            None => FirstWait::of(request),
        };
        if !wait.ended.is_cancelled() {
            queue.state.gather(&self.source(session), request.limits.most, &mut request.news);
        }
        if !over && !request.news.is_enough(request.limits.least) {
            *first = Some(wait);
            return Served::Waits;
        }
        *first = None;
        let WaitingFetchRequest { number, mut news, reply, .. } = queue.waiting.pop_front().expect("it is the first");
        queue.state.answered(number, std::mem::take(&mut news.moves));
        Served::Answered(reply, session.answer(number, news))
    }

    fn source<'a>(&'a self, session: &'a ServedSession) -> ServedSource<'a> {
        ServedSource { topics: &self.state.topics, ready: &session.ready }
    }

    fn limits(&self, request: &FetchSession) -> AnswerLimits {
        let most = (request.max_bytes as usize).min(self.state.settings.now().broker.fetch_bytes_max);
        AnswerLimits { least: request.min_bytes as usize, most }
    }
}

/// What became of the first request that waits.
enum Served {
    Answered(Reply, (Response, Vec<Slice>)),
    Waits,
    NoneLeft,
}

/// What the first request of a session waits for, besides news.
struct FirstWait {
    number: u64,
    deadline: Pin<Box<Sleep>>,
    ended: CancellationToken,
    holds_memory: bool,
}

impl FirstWait {
    fn of(request: &mut WaitingFetchRequest) -> Self {
        let reply = &request.reply;
        let deadline = request.deadline.take().expect("a request becomes the first once");
        Self { number: request.number, deadline, ended: reply.ended().clone(), holds_memory: reply.holds_memory() }
    }

    /// Waits for news, or until the wait is over: then it returns true.
    async fn wait(&mut self, api: &Api, session: &ServedSession) -> bool {
        tokio::select! {
            () = session.ready.news() => false,
            () = &mut self.deadline => true,
            () = api.state.memory.wanted(), if self.holds_memory => true,
            () = self.ended.cancelled() => true,
        }
    }
}

/// Ends a session if a panic ends the task that serves it: its other requests would wait for ever.
struct ClosesAfterPanic<'a> {
    api: &'a Api,
    id: FetchSessionId,
}

impl Drop for ClosesAfterPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.api.sessions.close(self.id);
        }
    }
}
