//! One native connection: preface, then frames until either side has enough.
//!
//! The task that reads a request also handles it; what must wait (for a sync, for records, for a member) waits
//! elsewhere. A request is admitted before it is decoded, a large one before it is received: it takes a place among the
//! connection's requests in work and the memory that it and its answer need. Until it has both, nothing more is read.
//! The task yields after each 256 KiB so that two busy connections cannot starve the rest.

use super::intake::{Intake, Quiet};
use super::outbox::{ConnectionOutbox, ConnectionShare};
use super::stream::Stream;
use crate::api::{Answer, Api, Burst, Call, InFlightLimit, Outbox, Peer, Permit, decoded};
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

/// What a connection may take.
pub(crate) struct ConnectionLimits {
    /// Connections at a time.
    pub(crate) connections_max: usize,
    /// The longest frame in bytes.
    pub(crate) frame_bytes_max: usize,
    /// Requests of one connection in work at a time.
    pub(crate) requests_in_flight_max: usize,
    /// For the preface.
    pub(crate) handshake_timeout: Duration,
    /// For the rest of a frame once its first byte is here, not counting the time that we do not read it.
    pub(crate) frame_timeout: Duration,
    /// Without any request, sent or in work.
    pub(crate) idle_timeout: Duration,
    /// For the peer to take 64 KiB of its answers, or all of them.
    pub(crate) write_timeout: Duration,
    /// How log bytes get into a socket.
    pub(crate) zero_copy: ZeroCopy,
    /// Shared by all connections.
    pub(crate) memory: Memory,
    /// Descriptors that connections leave to files.
    pub(crate) open_files: OpenFiles,
    /// Those that they leave to HTTP.
    pub(crate) for_http: Arc<HttpDescriptors>,
}

const YIELD_EACH: usize = 256 * 1024;

/// Why a connection ended other than by its peer's wish.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
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

/// Serves one connection to its end. Its place stays taken for as long as an answer may still be under way; what only
/// waits for something, as a fetch does for records, ends with the connection.
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
    let mut connection = Connection {
        intake: Intake::new(source, &limits),
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
            biased; // A connection that opens while the broker stops is not served at all.
            () = stop.cancelled() => Ok(()),
            ended = connection.serve() => ended,
        };
        connection.requests.drain().await;
        outbox.close();
        ended
    };
    tokio::pin!(writer);
    tokio::pin!(reader);
    // Whichever side fails first ends the connection; a reader that ended lets the writer finish.
    let ended = tokio::select! {
        ended = &mut reader => {
            if let Err(error) = writer.await {
                tracing::debug!(%error, "answers were not sent");
            }
            ended
        }
        written = &mut writer => written.map_err(Ended::Io),
        () = outbox.aborted() => Err(Ended::Panicked),
    };
    match ended {
        Ok(()) => {}
        Err(Ended::Io(error)) => tracing::debug!(%error, "connection lost"),
        Err(error @ Ended::Panicked) => tracing::error!(peer = ?address, %error, "connection closed"),
        Err(error) => tracing::info!(%error, "connection closed"),
    }
}

struct Connection {
    intake: Intake,
    peer: Arc<Peer>,
    outbox: Arc<ConnectionOutbox>,
    api: Arc<Api>,
    requests: InFlightLimit,
    /// For the frame that is being received.
    admitted: Option<Permit>,
    since_yield: usize,
    limits: Arc<ConnectionLimits>,
}

impl Connection {
    async fn serve(&mut self) -> Result<(), Ended> {
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

    /// Exchanges prefaces; `false` if the peer left without a word.
    async fn open(&mut self) -> Result<bool, Ended> {
        while self.intake.unread.len() < PREFACE_LENGTH {
            if !matches!(self.intake.receive().await?, Quiet::No { received } if 0 < received) {
                return Ok(false);
            }
            let unread = &self.intake.unread;
            if !b"GROW".starts_with(&unread[..unread.len().min(4)]) {
                self.explain_to_browsers();
                return Err(PrefaceError::NotGrower.into());
            }
        }
        let theirs = self.intake.unread.split_to(PREFACE_LENGTH);
        let theirs = Preface::decode(theirs.as_ref().try_into().unwrap_or_default())?;
        self.send_raw(&Preface::OURS.encode());
        Preface::OURS.agree(theirs)?;
        self.intake.frame_done();
        Ok(true)
    }

    /// Whoever points a browser or curl at the data port should learn where to go.
    fn explain_to_browsers(&self) {
        let unread = &self.intake.unread;
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

    /// Receives something; `false` if the peer is done.
    async fn receive(&mut self) -> Result<bool, Ended> {
        loop {
            match self.intake.receive().await? {
                Quiet::No { received } => return Ok(0 < received),
                Quiet::ForAMoment => {}
                // A consumer that waits for records is not idle.
                Quiet::TooLong if self.requests.is_idle() => return Err(Ended::Slow("the next request")),
                Quiet::TooLong => {}
            }
        }
    }

    /// Handles every whole frame in the buffer; answers that are ready leave together.
    async fn handle_received(&mut self) -> Result<(), Ended> {
        let mut burst = Burst::new(self.outbox.clone());
        let handled = AssertUnwindSafe(self.handle_frames(&mut burst)).catch_unwind().await;
        burst.last = self.intake.unread.is_empty();
        burst.send(&self.api); // Also after an error: what was appended before it must be synced all the same.
        handled.unwrap_or_else(|panic| {
            contained(&self.api.state().health, "a request", &*panic);
            self.outbox.abort();
            Err(Ended::Panicked)
        })
    }

    async fn handle_frames(&mut self, burst: &mut Burst) -> Result<(), Ended> {
        while let Some(head) = self.intake.next_head()? {
            if self.admitted.is_none() {
                self.admitted = Some(self.admit(&head, burst).await?);
            }
            let Some(frame) = self.intake.next_frame()? else { break };
            let Some(mut permit) = self.admitted.take() else { break };
            let request: Request = grower_protocol::wire::decode(&frame.message)?;
            permit.fit(request.kind(), head.message);
            let peer = self.peer.clone();
            let call = Call { correlation: frame.correlation, permit, attachment: frame.attachment, peer };
            self.api.handle(request, call, burst);
            self.intake.frame_done();
            self.since_yield += head.total;
        }
        Ok(())
    }

    /// Waits for a place among the requests in work and for the memory that the request takes. What this connection
    /// could do without it gives back before it waits: nobody waits for memory while holding some.
    async fn admit(&mut self, head: &FrameHead, burst: &mut Burst) -> Result<Permit, Ended> {
        let limit = self.limits.memory.message_bytes_max();
        if limit < head.message {
            return Err(Ended::Message { length: head.message, limit });
        }
        let slot = match self.requests.try_take() {
            Some(slot) => slot,
            None => {
                burst.send(&self.api); // Its answers may be what we are waiting for.
                self.intake.unload();
                self.requests.take().await
            }
        };
        let beside = decoded(head.message) + self.listing() + self.requests.cost();
        let memory = match self.intake.try_reserve(head, beside) {
            Some(reserved) => reserved,
            None => {
                burst.send(&self.api);
                self.intake.reserve(head, beside).await
            }
        };
        Ok(Permit::new(slot, memory))
    }

    /// What the first request's answer may take because it is a list of all there is.
    fn listing(&self) -> usize {
        let message = self.intake.unread.get(FRAME_HEAD_LENGTH..).unwrap_or_default();
        let lists = RequestKind::of_encoded(message).is_some_and(|kind| kind.memory == MemoryUse::List);
        if lists { self.limits.memory.listing_bytes() } else { 0 }
    }
}
