//! The requests of one connection that wait for their answers.

use crate::error::{ConnectionError, RequestError};
use bytes::Bytes;
use grower_protocol::message::Response;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::time::Instant;

/// A broker's answer.
#[derive(Debug)]
pub(crate) struct BrokerAnswer {
    pub(crate) response: Response,
    /// Record batches, not yet verified.
    pub(crate) attachment: Bytes,
}

/// Receives the answer, exactly once, on the connection's task; so it must not block.
pub(crate) type ResponseCallback = Box<dyn FnOnce(Result<BrokerAnswer, RequestError>) + Send>;

/// All pending requests of one connection. Once closed, it accepts no more.
#[derive(Default)]
pub(super) struct PendingRequests {
    state: Mutex<RequestTable>,
    /// Mirrors `state.closed` without the lock, since producers check it before each batch.
    closed: AtomicBool,
}

#[derive(Default)]
struct RequestTable {
    last: u32,
    waiting: BTreeMap<u32, PendingRequest>,
    closed: Option<ConnectionError>,
}

struct PendingRequest {
    deadline: Instant,
    done: ResponseCallback,
}

impl fmt::Debug for PendingRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingRequests").field("closed", &self.closed).finish_non_exhaustive()
    }
}

impl PendingRequests {
    /// Adds a request and returns its correlation id; returns `done` and the reason if the connection has ended.
    pub(super) fn add(
        &self,
        deadline: Instant,
        done: ResponseCallback,
    ) -> Result<u32, (ConnectionError, ResponseCallback)> {
        let mut state = self.state.lock();
        debug_assert_eq!(self.is_closed(), state.closed.is_some(), "the flag mirrors the state");
        if let Some(error) = &state.closed {
            debug_assert!(state.waiting.is_empty(), "a closed connection has failed all its requests");
            return Err((error.clone(), done));
        }
        let mut correlation = state.last.wrapping_add(1);
        while state.waiting.contains_key(&correlation) {
            correlation = correlation.wrapping_add(1);
        }
        state.last = correlation;
        state.waiting.insert(correlation, PendingRequest { deadline, done });
        Ok(correlation)
    }

    /// Removes the request with this correlation id.
    pub(super) fn take(&self, correlation: u32) -> Option<ResponseCallback> {
        self.state.lock().waiting.remove(&correlation).map(|waiting| waiting.done)
    }

    /// Whether the deadline of a request has passed.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.state.lock().waiting.values().any(|waiting| waiting.deadline <= now)
    }

    /// Whether no request is pending.
    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().waiting.is_empty()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Fails every request, in the order in which they were added. Later requests get the first reason.
    pub(super) fn close(&self, error: &ConnectionError) {
        let waiting = {
            let mut state = self.state.lock();
            state.closed.get_or_insert_with(|| error.clone());
            self.closed.store(true, Ordering::Release);
            std::mem::take(&mut state.waiting)
        };
        for waiting in waiting.into_values() {
            (waiting.done)(Err(RequestError::Lost(error.clone())));
        }
    }
}
