//! Serves the waiting requests of a session.

use super::session::{BrokerFetchSession, WaitingFetchRequest};
use crate::api::Api;
use crate::api::burst::Reply;
use grower_protocol::message::{FetchSessionId, Response};
use grower_storage::log::Slice;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

/// The answer to the first request, if it is due.
type FirstAnswer = ControlFlow<(), Option<(Reply, (Response, Vec<Slice>))>>;

impl Api {
    /// Serves the waiting requests of a session in their order, until none is left.
    pub(super) async fn serve_session(self: Arc<Self>, session: Arc<BrokerFetchSession>) {
        let _closes = ClosesAfterPanic { api: &self, id: session.id };
        let (mut current, mut wait_is_over) = (None, false);
        loop {
            let ControlFlow::Continue(answered) = self.serve_first(&session, &mut current, wait_is_over) else {
                return;
            };
            if let Some((reply, (response, slices))) = answered {
                reply.send_slices(&response, slices);
            }
            wait_is_over = match &mut current {
                Some(current) => current.wait(&session).await,
                None => false,
            };
        }
    }

    /// Answers the first request that waits, if it has enough or `wait_is_over`. Breaks if none waits.
    fn serve_first(
        &self,
        session: &BrokerFetchSession,
        current: &mut Option<CurrentWait>,
        wait_is_over: bool,
    ) -> FirstAnswer {
        let Ok(mut guard) = session.lock() else {
            let _ = self.sessions.close(session.id); // A panic ended it, if it is still there.
            return ControlFlow::Break(());
        };
        let locked = &mut *guard;
        let Some(request) = locked.waiting.front_mut() else {
            locked.has_task = false;
            return ControlFlow::Break(());
        };
        let wait_is_over = wait_is_over && current.as_ref().is_some_and(|current| current.number == request.number);
        let wait = match current.take_if(|current| current.number == request.number) {
            Some(wait) => wait,
            None => CurrentWait::of(request),
        };
        if !wait.ended.is_cancelled() {
            locked.state.gather(&*self.state.topics, request.limits.max_bytes, &mut request.gathered);
        }
        let short = !request.gathered.parts.is_empty() && locked.memory.room() == 0;
        if !wait_is_over && !short && !request.gathered.is_enough(request.limits.min_bytes) {
            *current = Some(wait);
            return ControlFlow::Continue(None);
        }
        *current = None;
        session.touch(self.state.clock.monotonic()); // Before the session is idle.
        let WaitingFetchRequest { number, mut gathered, reply, .. } =
            locked.waiting.pop_front().expect("it is the first");
        locked.state.record_answer(number, std::mem::take(&mut gathered.rewind_points));
        ControlFlow::Continue(Some((reply, session.answer(number, gathered))))
    }
}

/// The other events that end a request's wait.
struct CurrentWait {
    number: u64,
    deadline: Pin<Box<Sleep>>,
    ended: CancellationToken,
}

impl CurrentWait {
    fn of(request: &mut WaitingFetchRequest) -> Self {
        let reply = &request.reply;
        let deadline = request.deadline.take().expect("a request becomes the first once");
        Self { number: request.number, deadline, ended: reply.ended().clone() }
    }

    /// Waits until a slot is ready, or until the wait is over: then it returns true.
    async fn wait(&mut self, session: &BrokerFetchSession) -> bool {
        tokio::select! {
            () = session.ready.woken() => false,
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
