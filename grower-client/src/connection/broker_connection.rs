//! A handle to one open connection, shared by all its callers.

use super::DialerSettings;
use super::pending::{BrokerAnswer, PendingRequests, ResponseCallback};
use super::task::{ConnectionTask, OutgoingRequest};
use crate::deadline::Deadline;
use crate::error::{ConnectError, ConnectionError, RequestError, unexpected_response};
use crate::events::EventSubscribers;
use crate::transport::Connection;
use bytes::{Bytes, BytesMut};
use grower_protocol::message::{Feature, HelloAnswer, Request, Response};
use grower_protocol::wire::{self, Correlation, FRAME_HEAD_LENGTH, MESSAGE_BYTES_MAX};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// An open connection. It closes when the last clone of its handle is dropped.
#[derive(Clone, Debug)]
pub(crate) struct BrokerConnection {
    shared: Arc<SharedConnection>,
}

/// A handle that does not keep its connection open.
#[derive(Clone, Debug)]
pub(crate) struct WeakConnection {
    shared: Weak<SharedConnection>,
}

impl WeakConnection {
    /// Returns the connection if others keep it open.
    pub(crate) fn upgrade(&self) -> Option<BrokerConnection> {
        self.shared.upgrade().map(|shared| BrokerConnection { shared })
    }
}

/// Two handles are equal if they belong to the same connection.
impl PartialEq for BrokerConnection {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

#[derive(Debug)]
struct SharedConnection {
    address: Arc<str>,
    hello: HelloAnswer,
    request_timeout: Duration,
    pending: Arc<PendingRequests>,
    outbox: mpsc::UnboundedSender<OutgoingRequest>,
}

impl BrokerConnection {
    /// Takes over a connection after its handshake; `unread` holds the bytes received after it.
    pub(super) fn start(
        stream: Box<dyn Connection>,
        unread: BytesMut,
        address: Arc<str>,
        hello: HelloAnswer,
        settings: &DialerSettings,
        events: &Arc<EventSubscribers>,
    ) -> Self {
        let pending = Arc::new(PendingRequests::default());
        // Unbounded, since every sender waits for its answers and so bounds itself.
        let (outbox, outgoing) = mpsc::unbounded_channel();
        let task = ConnectionTask::new(address.clone(), pending.clone(), settings, events.clone());
        tokio::spawn(task.run(stream, unread, outgoing));
        Self {
            shared: Arc::new(SharedConnection {
                address,
                hello,
                request_timeout: settings.request_timeout,
                pending,
                outbox,
            }),
        }
    }

    pub(crate) fn downgrade(&self) -> WeakConnection {
        WeakConnection { shared: Arc::downgrade(&self.shared) }
    }

    pub(crate) fn address(&self) -> &Arc<str> {
        &self.shared.address
    }

    /// Returns the broker's hello.
    pub(crate) fn hello(&self) -> &HelloAnswer {
        &self.shared.hello
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.shared.pending.is_closed()
    }

    /// Fails if the broker lacks the feature `name`.
    pub(crate) fn require(&self, name: &str) -> Result<(), ConnectError> {
        let feature = Feature(name.to_owned());
        if self.hello().features.contains(&feature) {
            return Ok(());
        }
        Err(ConnectError::missing(self.address(), &self.hello().version, &feature))
    }

    /// Sends a request and waits for its answer, at most the request timeout plus `extra_wait`, the time for which the
    /// broker may hold the answer back.
    pub(crate) async fn call(&self, request: &Request, extra_wait: Duration) -> Result<BrokerAnswer, RequestError> {
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |result| drop(sender.send(result))); // The caller may have stopped waiting.
        self.submit(request, Bytes::new(), extra_wait, done);
        receiver.await.expect("a connection answers every request or fails it")
    }

    /// Sends a request for an answer without records and waits for it, until the deadline. A failure is an error.
    pub(crate) async fn ask(&self, request: &Request, deadline: Deadline) -> Result<Response, RequestError> {
        let extra_wait = match request {
            Request::Heartbeat(beat) => Duration::from_millis(beat.max_wait_ms.into()),
            _ => Duration::ZERO,
        };
        match deadline.wait(self.call(request, extra_wait)).await.ok_or_else(|| self.late(deadline))??.response {
            Response::Failed(failure) => Err(failure.into()),
            response => Ok(response),
        }
    }

    /// The error of a caller whose deadline has passed.
    fn late(&self, deadline: Deadline) -> RequestError {
        let (address, after) = (self.address().clone(), deadline.limit());
        RequestError::Lost(ConnectionError::TimedOut { address, after })
    }

    /// Returns the error for a `response` that does not answer `request`.
    pub(crate) fn unexpected(&self, request: &'static str, response: Response) -> RequestError {
        unexpected_response(self.address(), request, response)
    }

    /// Sends a request; the connection's task passes the answer to `done`. Requests leave in the order of these calls.
    pub(crate) fn submit(&self, request: &Request, attachment: Bytes, extra_wait: Duration, done: ResponseCallback) {
        self.send(request, attachment, extra_wait, true, done);
    }

    /// Sends a request that the broker does not answer; `done` is called once the transport has the bytes.
    pub(crate) fn submit_unanswered(&self, request: &Request, attachment: Bytes, done: ResponseCallback) {
        self.send(request, attachment, Duration::ZERO, false, done);
    }

    fn send(&self, request: &Request, attachment: Bytes, extra_wait: Duration, answered: bool, done: ResponseCallback) {
        let message = wire::encode(request);
        if let Err(error) = self.check_size(&message, &attachment) {
            return done(Err(error));
        }
        let deadline = Deadline::after(self.shared.request_timeout.saturating_add(extra_wait)).end();
        let correlation = match self.shared.pending.add(deadline, done) {
            Ok(correlation) => correlation,
            Err((error, done)) => return done(Err(RequestError::NotSent(error))),
        };
        let head = wire::encode_frame(Correlation(correlation), &message, attachment.len());
        let unanswered = (!answered).then_some(correlation);
        // If the task has just ended, it also fails this request, which is already in `pending`.
        drop(self.shared.outbox.send(OutgoingRequest { head, attachment, unanswered }));
    }

    fn check_size(&self, message: &[u8], attachment: &[u8]) -> Result<(), RequestError> {
        if MESSAGE_BYTES_MAX < message.len() {
            return Err(RequestError::TooLarge { bytes: message.len(), limit: MESSAGE_BYTES_MAX });
        }
        let bytes = FRAME_HEAD_LENGTH + message.len() + attachment.len();
        let limit = self.hello().frame_bytes_max as usize;
        if limit < bytes { Err(RequestError::TooLarge { bytes, limit }) } else { Ok(()) }
    }
}
