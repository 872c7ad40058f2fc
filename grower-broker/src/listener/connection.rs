//! One native connection: prefaces, then frames until either side closes it.
//!
//! The task that reads a request also handles it; waits (for a sync, for records, for a member) happen elsewhere. A
//! request is admitted before it is decoded, a large one before it is received: it takes a slot among the connection's
//! requests in flight, and the memory for itself and its answer. Until it has both, no more bytes are read. The task
//! yields after each 256 KiB, so that two busy connections cannot starve the rest.

use super::frame_receiver::{FrameReceiver, ReceiveOutcome};
use super::outbox::{ConnectionOutbox, ConnectionShare};
use super::stream::Stream;
use crate::api::{Answer, Api, Burst, InFlightLimit, Outbox, Peer, Permit, RequestContext, decoded};
use crate::background::contained;
use crate::config::ZeroCopy;
use crate::descriptors::HttpDescriptors;
use crate::memory::Memory;
use futures_util::FutureExt;
use grower_protocol::message::{MemoryUse, Request, RequestKind};
use grower_protocol::wire::{FRAME_HEAD_LENGTH, FrameHead, PREFACE_LENGTH, Preface, PrefaceError};
use grower_storage::disk::OpenFiles;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The limits of a connection.
pub(crate) struct ConnectionLimits {
    /// Connections at a time.
    pub(crate) connections_max: usize,
    /// The longest frame in bytes.
    pub(crate) frame_bytes_max: usize,
    /// Requests of one connection in flight at a time.
    pub(crate) requests_in_flight_max: usize,
    /// Time for the preface.
    pub(crate) handshake_timeout: Duration,
    /// Time for the rest of a frame after its first byte, without the time in which we do not read.
    pub(crate) frame_timeout: Duration,
    /// Time without a request, sent or in flight.
    pub(crate) idle_timeout: Duration,
    /// Time for the peer to take 64 KiB of its answers, or all of them.
    pub(crate) write_timeout: Duration,
    /// Whether log bytes go to a socket inside the kernel.
    pub(crate) zero_copy: ZeroCopy,
    /// Shared by all connections.
    pub(crate) memory: Memory,
    /// Descriptors that connections leave to files.
    pub(crate) open_files: OpenFiles,
    /// Descriptors that connections leave to HTTP.
    pub(crate) http_descriptors: Arc<HttpDescriptors>,
}

const YIELD_EACH: usize = 256 * 1024;

/// Why a connection ended, unless its peer closed it.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionEnd {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Preface(#[from] PrefaceError),
    #[error(transparent)]
    Frame(#[from] grower_protocol::wire::FrameError),
    #[error("cannot decode a request: {0}")]
    Request(#[from] grower_protocol::wire::DecodeError),
    #[error("a message of {length} bytes is over the limit of {limit} (a 256th of broker.memory)")]
    Message { length: usize, limit: usize },
    #[error("{0} took too long")]
    Slow(&'static str),
    #[error("one of its requests panicked")]
    Panicked,
}

/// Serves one connection to its end. Its share stays taken as long as an answer may be under way; requests that only
/// wait, as a fetch does for records, end with the connection.
pub(crate) async fn run(
    stream: Stream,
    share: ConnectionShare,
    api: Arc<Api>,
    limits: Arc<ConnectionLimits>,
    stop: CancellationToken,
) {
    let ended = stop.child_token();
    let _ends = ended.clone().drop_guard();
    let held = (share, api.state().health.metrics().connected());
    let address = stream.peer();
    let peer = Arc::new(Peer::at(address));
    let (source, sink) = stream.split();
    let outbox = Arc::new(ConnectionOutbox::new(sink, limits.zero_copy, limits.memory.clone(), ended, held));
    let mut connection = ServedConnection {
        receiver: FrameReceiver::new(source, &limits),
        peer,
        outbox: outbox.clone(),
        api,
        requests: InFlightLimit::new(limits.requests_in_flight_max, &limits.memory),
        admitted: None,
        since_yield: 0,
        limits: limits.clone(),
    };
    let writer = outbox.write_queued(limits.write_timeout);
    let reader = async {
        let ended = tokio::select! {
            biased; // A connection that opens while the broker stops is not served.
            () = stop.cancelled() => Ok(()),
            ended = connection.serve() => ended,
        };
        connection.requests.drain().await;
        outbox.finish();
        ended
    };
    tokio::pin!(writer);
    tokio::pin!(reader);
    // The side that fails first ends the connection. A reader that ends lets the writer finish.
    let ended = tokio::select! {
        ended = &mut reader => {
            if let Err(error) = writer.await {
                tracing::debug!(%error, "answers were not sent");
            }
            ended
        }
        written = &mut writer => written.map_err(ConnectionEnd::Io),
        () = outbox.aborted() => Err(ConnectionEnd::Panicked),
    };
    match ended {
        Ok(()) => {}
        Err(ConnectionEnd::Io(error)) => tracing::debug!(%error, "connection lost"),
        Err(error @ ConnectionEnd::Panicked) => tracing::error!(peer = ?address, %error, "connection closed"),
        Err(error) => tracing::info!(%error, "connection closed"),
    }
}

struct ServedConnection {
    receiver: FrameReceiver,
    peer: Arc<Peer>,
    outbox: Arc<ConnectionOutbox>,
    api: Arc<Api>,
    requests: InFlightLimit,
    /// The permit of the frame that is being received.
    admitted: Option<Permit>,
    since_yield: usize,
    limits: Arc<ConnectionLimits>,
}

impl ServedConnection {
    async fn serve(&mut self) -> Result<(), ConnectionEnd> {
        if !self.open().await? {
            return Ok(());
        }
        loop {
            self.handle_received().await?;
            if YIELD_EACH <= self.since_yield {
                self.since_yield = 0;
                tokio::task::yield_now().await;
            }
            if !self.receive().await? {
                return Ok(());
            }
        }
    }

    /// Exchanges prefaces; `false` if the peer left without one.
    async fn open(&mut self) -> Result<bool, ConnectionEnd> {
        while self.receiver.unread.len() < PREFACE_LENGTH {
            if !matches!(self.receiver.receive().await?, ReceiveOutcome::Received(1..)) {
                return Ok(false);
            }
            let unread = &self.receiver.unread;
            if !b"GROW".starts_with(&unread[..unread.len().min(4)]) {
                self.explain_to_browsers();
                return Err(PrefaceError::NotGrower.into());
            }
        }
        let theirs = self.receiver.unread.split_to(PREFACE_LENGTH);
        let theirs = Preface::decode(theirs.as_ref().try_into().unwrap_or_default())?;
        self.send_raw(&Preface::OURS.encode());
        Preface::OURS.agree(theirs)?;
        self.receiver.frame_done();
        Ok(true)
    }

    /// Tells browsers and curl which port serves HTTP.
    fn explain_to_browsers(&self) {
        let unread = &self.receiver.unread;
        if unread.starts_with(b"GET ") || unread.starts_with(b"HEAD") || unread.starts_with(b"POST") {
            self.send_raw(
                b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
                  This is the data port of a Grower broker; HTTP is served on the --http address.\n",
            );
        }
    }

    fn send_raw(&self, bytes: &[u8]) {
        self.outbox.send(Answer { head: bytes.to_vec(), slices: Vec::new(), permits: Vec::new() });
    }

    /// Receives bytes; `false` if the peer closed its side.
    async fn receive(&mut self) -> Result<bool, ConnectionEnd> {
        loop {
            match self.receiver.receive().await? {
                ReceiveOutcome::Received(bytes) => return Ok(0 < bytes),
                ReceiveOutcome::Silent => {}
                // A consumer that waits for records is not idle.
                ReceiveOutcome::Idle if self.requests.is_idle() => return Err(ConnectionEnd::Slow("the next request")),
                ReceiveOutcome::Idle => {}
            }
        }
    }

    /// Handles every whole frame in the buffer; answers that are ready leave together.
    async fn handle_received(&mut self) -> Result<(), ConnectionEnd> {
        let mut burst = Burst::new(self.outbox.clone());
        let handled = AssertUnwindSafe(self.handle_frames(&mut burst)).catch_unwind().await;
        burst.last = self.receiver.unread.is_empty();
        burst.send(&self.api); // Also after an error: batches appended before it must be synced.
        handled.unwrap_or_else(|panic| {
            contained(&self.api.state().health, "a request", &*panic);
            self.outbox.abort();
            Err(ConnectionEnd::Panicked)
        })
    }

    async fn handle_frames(&mut self, burst: &mut Burst) -> Result<(), ConnectionEnd> {
        while let Some(head) = self.receiver.next_head()? {
            if self.admitted.is_none() {
                self.admitted = Some(self.admit(&head, burst).await?);
            }
            let Some(frame) = self.receiver.next_frame()? else { break };
            let Some(mut permit) = self.admitted.take() else { break };
            let request: Request = grower_protocol::wire::decode(&frame.message)?;
            permit.fit(request.kind(), head.message);
            let peer = self.peer.clone();
            let call = RequestContext { correlation: frame.correlation, permit, attachment: frame.attachment, peer };
            self.api.handle(request, call, burst);
            self.receiver.frame_done();
            self.since_yield += head.total;
        }
        Ok(())
    }

    /// Waits for a slot among the requests in flight, and for the memory of the request. Before it waits, the
    /// connection gives back memory that it can do without: no task waits for memory while it holds some.
    async fn admit(&mut self, head: &FrameHead, burst: &mut Burst) -> Result<Permit, ConnectionEnd> {
        let limit = self.limits.memory.message_bytes_max();
        if limit < head.message {
            return Err(ConnectionEnd::Message { length: head.message, limit });
        }
        let slot = match self.requests.try_take() {
            Some(slot) => slot,
            None => {
                burst.send(&self.api); // A slot may be waiting for its answers.
                self.receiver.unload();
                self.requests.take().await
            }
        };
        let handling_bytes = decoded(head.message) + self.listing() + self.requests.cost();
        let memory = match self.receiver.try_reserve(head, handling_bytes) {
            Some(reserved) => reserved,
            None => {
                burst.send(&self.api);
                self.receiver.reserve(head, handling_bytes).await
            }
        };
        Ok(Permit::new(slot, memory))
    }

    /// Memory for the answer to the first request, if that is a list of all there is.
    fn listing(&self) -> usize {
        let message = self.receiver.unread.get(FRAME_HEAD_LENGTH..).unwrap_or_default();
        let lists = RequestKind::of_encoded(message).is_some_and(|kind| kind.memory == MemoryUse::List);
        if lists { self.limits.memory.listing_bytes() } else { 0 }
    }
}
