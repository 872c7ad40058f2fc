//! One open connection, shared by everybody who has something to ask.

use super::DialerSettings;
use super::pending::{BrokerAnswer, PendingRequests, ResponseCallback};
use super::task::{ConnectionTask, OutgoingRequest};
use crate::error::{ConnectError, RequestError, unexpected_response};
use crate::transport::Connection;
use bytes::{Bytes, BytesMut};
use grower_protocol::message::{Feature, HelloAnswer, Request, Response};
use grower_protocol::wire::{self, Correlation, FRAME_HEAD_LENGTH, MESSAGE_BYTES_MAX};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// A handle; when the last one is dropped the connection closes.
#[derive(Clone, Debug)]
pub(crate) struct BrokerConnection {
    shared: Arc<SharedConnection>,
}

/// The same connection, not one like it.
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
    /// Takes over a connection whose sides have introduced themselves; `unread` is what came after.
    pub(super) fn start(
        stream: Box<dyn Connection>,
        unread: BytesMut,
        address: Arc<str>,
        hello: HelloAnswer,
        settings: &DialerSettings,
    ) -> Self {
        let pending = Arc::new(PendingRequests::default());
        // Unbounded, since every sender waits for its answer and bounds itself.
        let (outbox, outgoing) = mpsc::unbounded_channel();
        let task = ConnectionTask::new(address.clone(), pending.clone(), settings);
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

    pub(crate) fn address(&self) -> &Arc<str> {
        &self.shared.address
    }

    /// How the broker introduced itself.
    pub(crate) fn hello(&self) -> &HelloAnswer {
        &self.shared.hello
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.shared.pending.is_closed()
    }

    /// Fails if the broker cannot do `name`.
    pub(crate) fn require(&self, name: &str) -> Result<(), ConnectError> {
        let feature = Feature(name.to_owned());
        if self.hello().features.contains(&feature) {
            return Ok(());
        }
        Err(ConnectError::missing(self.address(), &self.hello().version, &feature))
    }

    /// Asks and waits for the answer, at most the request timeout and `extra_wait` for what the broker itself waits for.
    pub(crate) async fn call(&self, request: &Request, extra_wait: Duration) -> Result<BrokerAnswer, RequestError> {
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |result| drop(sender.send(result))); // Nobody may be waiting any more.
        self.submit(request, Bytes::new(), extra_wait, done);
        receiver.await.expect("a connection answers every request or fails it")
    }

    /// Like [`BrokerConnection::call`], for answers without records.
    pub(crate) async fn ask(&self, request: &Request) -> Result<Response, RequestError> {
        match self.call(request, Duration::ZERO).await?.response {
            Response::Failed(failure) => Err(failure.into()),
            response => Ok(response),
        }
    }

    /// What it means that `response` is not the answer to `request`.
    pub(crate) fn unexpected(&self, request: &'static str, response: Response) -> RequestError {
        unexpected_response(self.address(), request, response)
    }

    /// Asks; `done` gets the answer on the connection's task. Requests go out in the order of these calls.
    pub(crate) fn submit(&self, request: &Request, attachment: Bytes, extra_wait: Duration, done: ResponseCallback) {
        self.send(request, attachment, extra_wait, true, done);
    }

    /// Sends what the broker does not answer; `done` is called once it was handed to the transport.
    pub(crate) fn submit_unanswered(&self, request: &Request, attachment: Bytes, done: ResponseCallback) {
        self.send(request, attachment, Duration::ZERO, false, done);
    }

    fn send(&self, request: &Request, attachment: Bytes, extra_wait: Duration, answered: bool, done: ResponseCallback) {
        let message = wire::encode(request);
        if let Err(error) = self.check_size(&message, &attachment) {
            return done(Err(error));
        }
        let deadline = Instant::now() + self.shared.request_timeout + extra_wait;
        let correlation = match self.shared.pending.add(deadline, done) {
            Ok(correlation) => correlation,
            Err((error, done)) => return done(Err(RequestError::NotSent(error))),
        };
        let head = wire::encode_frame(Correlation(correlation), &message, attachment.len());
        let unanswered = (!answered).then_some(correlation);
        // If the task has just ended, it fails this request too: it stands in `pending`.
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
