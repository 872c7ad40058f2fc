//! An answer on its way from a connection to the fetcher.

use crate::connection::{BrokerAnswer, WeakConnection};
use crate::error::RequestError;
use bytes::Bytes;
use grower_protocol::message::{FetchSession, FetchSessionAnswer, Request, Response, SessionStep};

/// An answer of a fetch session. If it opens the session and nothing takes it, it closes the session: its consumer was
/// dropped, or reads its partitions elsewhere by now.
pub(super) struct ArrivedAnswer {
    answer: Option<Result<BrokerAnswer, RequestError>>,
    /// The connection of a request that opens a session.
    opened_over: Option<WeakConnection>,
}

impl ArrivedAnswer {
    pub(super) fn new(answer: Result<BrokerAnswer, RequestError>, opened_over: Option<WeakConnection>) -> Self {
        Self { answer: Some(answer), opened_over }
    }

    pub(super) fn take(mut self) -> Result<BrokerAnswer, RequestError> {
        self.answer.take().expect("an answer is taken once")
    }
}

impl Drop for ArrivedAnswer {
    fn drop(&mut self) {
        if let (Some(Ok(answer)), Some(connection)) = (&self.answer, &self.opened_over)
            && let Some(connection) = connection.upgrade()
            && let Response::FetchSession(FetchSessionAnswer { session, .. }) = &answer.response
        {
            let (drop_slots, add) = (Vec::new(), Vec::new());
            let step = SessionStep::Close(*session);
            let close = FetchSession { step, max_wait_ms: 0, min_bytes: 0, max_bytes: 0, drop: drop_slots, add };
            connection.submit(&Request::FetchSession(close), Bytes::new(), Default::default(), Box::new(drop));
        }
    }
}
