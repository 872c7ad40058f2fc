//! Serves the requests of a session that wait.

use super::session::{ServedSession, WaitingFetchRequest};
use crate::api::Api;
use crate::api::burst::Reply;
use grower_protocol::message::{FetchSessionId, Response};
use grower_storage::log::Slice;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

/// The answer to the first request, if it does not wait on.
type ServedFirst = ControlFlow<(), Option<(Reply, (Response, Vec<Slice>))>>;

impl Api {
    /// Serves the requests of a session that wait, in their order, until none is left.
    pub(super) async fn serve_session(self: Arc<Self>, session: Arc<ServedSession>) {
        let _closes = ClosesAfterPanic { api: &self, id: session.id };
        let (mut first, mut over) = (None, false);
        loop {
            let ControlFlow::Continue(answered) = self.serve_first(&session, &mut first, over) else { return };
            if let Some((reply, (response, slices))) = answered {
                reply.send_slices(&response, slices);
            }
            over = match &mut first {
                Some(first) => first.wait(&session).await,
                None => false,
            };
        }
    }

    /// Answers the first request that waits, if it has enough or its wait is `over`. Breaks if none waits.
    fn serve_first(&self, session: &ServedSession, first: &mut Option<FirstWait>, over: bool) -> ServedFirst {
        let Ok(mut guard) = session.lock() else {
            let _ = self.sessions.close(session.id); // A panic ended it, if it is still there.
            return ControlFlow::Break(());
        };
        let queue = &mut *guard;
        let Some(request) = queue.waiting.front_mut() else {
            queue.served = false;
            return ControlFlow::Break(());
        };
        let over = over && first.as_ref().is_some_and(|first| first.number == request.number);
        let wait = match first.take_if(|first| first.number == request.number) {
            Some(wait) => wait,
            None => FirstWait::of(request),
        };
        if !wait.ended.is_cancelled() {
            queue.state.gather(&*self.state.topics, request.limits.most, &mut request.news);
        }
        let short = !request.news.parts.is_empty() && queue.memory.room() == 0;
        if !over && !short && !request.news.is_enough(request.limits.least) {
            *first = Some(wait);
            return ControlFlow::Continue(None);
        }
        *first = None;
        session.touch(self.state.clock.monotonic()); // Before the session is idle.
        let WaitingFetchRequest { number, mut news, reply, .. } = queue.waiting.pop_front().expect("it is the first");
        queue.state.answered(number, std::mem::take(&mut news.moves));
        ControlFlow::Continue(Some((reply, session.answer(number, news))))
    }
}

/// What the first request of a session waits for, besides news.
struct FirstWait {
    number: u64,
    deadline: Pin<Box<Sleep>>,
    ended: CancellationToken,
}

impl FirstWait {
    fn of(request: &mut WaitingFetchRequest) -> Self {
        let reply = &request.reply;
        let deadline = request.deadline.take().expect("a request becomes the first once");
        Self { number: request.number, deadline, ended: reply.ended().clone() }
    }

    /// Waits for news, or until the wait is over: then it returns true.
    async fn wait(&mut self, session: &ServedSession) -> bool {
        tokio::select! {
            () = session.ready.news() => false,
            () = &mut self.deadline => true,
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
