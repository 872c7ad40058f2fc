//! One native connection: preface, then frames until either side has enough.
//!
//! The task that reads a request also handles it; what must wait (for a sync, for records, for a member) waits
//! elsewhere. It reads no further while the memory budget is spent or too many answers are unsent, and it yields
//! after each 256 KiB so that two busy connections cannot starve the rest.

use super::outbox::Outbox;
use super::stream::{Source, Stream};
use crate::api::{Api, Burst, Call, Peer};
use crate::config::ZeroCopy;
use crate::memory::{Memory, Reserved};
use bytes::BytesMut;
use grower_protocol::wire::{FrameDecoder, PREFACE_LENGTH, Preface, PrefaceError};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
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
    /// For the rest of a frame once its first byte is here.
    pub(crate) frame_timeout: Duration,
    /// Without any request.
    pub(crate) idle_timeout: Duration,
    /// For the peer to take a piece of an answer.
    pub(crate) write_timeout: Duration,
    /// How log bytes get into a socket.
    pub(crate) zero_copy: ZeroCopy,
    /// Shared by all connections.
    pub(crate) memory: Memory,
}

const BUFFER: usize = 64 * 1024;
const YIELD_EACH: usize = 256 * 1024;

/// Why a connection ended other than by its peer's wish.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Preface(#[from] PrefaceError),
    #[error(transparent)]
    Frame(#[from] grower_protocol::wire::FrameError),
    #[error("request cannot be read: {0}")]
    Request(#[from] grower_protocol::wire::DecodeError),
    #[error("{0} took too long")]
    Slow(&'static str),
}

/// Serves one connection to its end.
pub(crate) async fn run(stream: Stream, api: Arc<Api>, limits: Arc<ConnectionLimits>, stop: CancellationToken) {
    let _counted = api.health.metrics().connected();
    let peer = Arc::new(Peer::at(stream.peer()));
    let (source, sink) = stream.split();
    let outbox = Arc::new(Outbox::new(sink, limits.zero_copy));
    let mut connection = Connection {
        source,
        peer,
        outbox: outbox.clone(),
        api,
        in_flight: Arc::new(Semaphore::new(limits.requests_in_flight_max)),
        decoder: FrameDecoder::new(limits.frame_bytes_max),
        limits: limits.clone(),
        unread: BytesMut::with_capacity(BUFFER),
        reserved: None,
    };
    let writer = outbox.write_queued(limits.write_timeout);
    let reader = async {
        let ended = tokio::select! {
            biased; // A connection that opens while the broker stops is not served at all.
            () = stop.cancelled() => Ok(()),
            ended = connection.serve() => ended,
        };
        connection.drain().await;
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
    };
    match ended {
        Ok(()) => {}
        Err(Ended::Io(error)) => tracing::debug!(%error, "connection lost"),
        Err(error) => tracing::info!(%error, "connection closed"),
    }
}

struct Connection {
    source: Source,
    peer: Arc<Peer>,
    outbox: Arc<Outbox>,
    api: Arc<Api>,
    in_flight: Arc<Semaphore>,
    decoder: FrameDecoder,
    limits: Arc<ConnectionLimits>,
    unread: BytesMut,
    /// The budget's share for the large frame that is being received.
    reserved: Option<Reserved>,
}

impl Connection {
    async fn serve(&mut self) -> Result<(), Ended> {
        if !self.open().await? {
            return Ok(());
        }
        let mut since_yield = 0;
        loop {
            let before = self.unread.len();
            self.handle_received().await?;
            since_yield += before - self.unread.len();
            if YIELD_EACH <= since_yield {
                since_yield = 0;
                tokio::task::yield_now().await;
            }
            if !self.receive_more().await? {
                return Ok(());
            }
        }
    }

    /// Exchanges prefaces; `false` if the peer left without a word.
    async fn open(&mut self) -> Result<bool, Ended> {
        let deadline = tokio::time::sleep(self.limits.handshake_timeout);
        tokio::pin!(deadline);
        while self.unread.len() < PREFACE_LENGTH {
            let received = tokio::select! {
                received = self.source.receive(&mut self.unread) => received?,
                () = &mut deadline => return Err(Ended::Slow("the preface")),
            };
            if received == 0 {
                return Ok(false);
            }
            if !b"GROW".starts_with(&self.unread[..self.unread.len().min(4)]) {
                self.explain_to_browsers();
                return Err(PrefaceError::NotGrower.into());
            }
        }
        let theirs = self.unread.split_to(PREFACE_LENGTH);
        let theirs = Preface::decode(theirs.as_ref().try_into().unwrap_or_default())?;
        self.send_raw(&Preface::OURS.encode());
        Preface::OURS.agree(theirs)?;
        Ok(true)
    }

    /// Whoever points a browser or curl at the data port should learn where to go.
    fn explain_to_browsers(&self) {
        if self.unread.starts_with(b"GET ") || self.unread.starts_with(b"HEAD") || self.unread.starts_with(b"POST") {
            self.send_raw(
                b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
                  This is the data port of a Grower broker; HTTP is served on the --http address.\n",
            );
        }
    }

    fn send_raw(&self, bytes: &[u8]) {
        let head = bytes::Bytes::copy_from_slice(bytes);
        self.outbox.send(super::Answer { head, slices: Vec::new(), permits: Vec::new() });
    }

    /// Handles every whole frame in the buffer; answers that are ready leave together.
    async fn handle_received(&mut self) -> Result<(), Ended> {
        let mut burst = Burst::new(self.outbox.clone());
        let handled = self.handle_frames(&mut burst).await;
        burst.last = self.unread.is_empty();
        burst.send(&self.api); // Also after an error: what was appended before it must be synced all the same.
        handled
    }

    async fn handle_frames(&mut self, burst: &mut Burst) -> Result<(), Ended> {
        while let Some(frame) = self.decoder.next_frame(&mut self.unread)? {
            let permit = match self.in_flight.clone().try_acquire_owned() {
                Ok(permit) => permit,
                Err(_) => {
                    burst.send(&self.api); // Its answers may be what we are waiting for.
                    let acquired = self.in_flight.clone().acquire_owned().await;
                    acquired.map_err(|_| Ended::Slow("a free place"))?
                }
            };
            let request = grower_protocol::wire::decode(&frame.message)?;
            let peer = self.peer.clone();
            let call = Call { correlation: frame.correlation, permit, attachment: frame.attachment, peer };
            self.api.handle(request, call, burst);
            self.reserved = None; // A large frame is alone in its buffer: now it is handled.
        }
        Ok(())
    }

    /// Receives until there is at least one whole frame; `false` if the peer is done.
    async fn receive_more(&mut self) -> Result<bool, Ended> {
        let mut waits_for_frame = !self.unread.is_empty();
        let deadline = tokio::time::sleep(self.timeout(waits_for_frame));
        tokio::pin!(deadline);
        loop {
            let wanted = self.decoder.frame_length(&self.unread)?;
            if wanted.is_some_and(|length| length <= self.unread.len()) {
                return Ok(true);
            }
            if let Some(length) = wanted.filter(|length| BUFFER < *length)
                && self.reserved.is_none()
            {
                self.reserved = Some(self.limits.memory.reserve(length).await);
            }
            self.make_room(wanted);
            let received = tokio::select! {
                received = self.source.receive(&mut self.unread) => received?,
                () = &mut deadline => {
                    return Err(Ended::Slow(if waits_for_frame { "the rest of a frame" } else { "the next request" }));
                }
            };
            if received == 0 {
                return Ok(false);
            }
            if !waits_for_frame {
                waits_for_frame = true;
                deadline.as_mut().reset(tokio::time::Instant::now() + self.timeout(true));
            }
        }
    }

    fn timeout(&self, waits_for_frame: bool) -> Duration {
        if waits_for_frame { self.limits.frame_timeout } else { self.limits.idle_timeout }
    }

    /// Room for more bytes, never for more than twice what has come: a declared length allocates nothing by itself.
    fn make_room(&mut self, wanted: Option<usize>) {
        let missing = wanted.map_or(BUFFER, |length| length.saturating_sub(self.unread.len()));
        let room = missing.clamp(BUFFER, self.unread.len().max(BUFFER));
        if self.unread.capacity() - self.unread.len() < room.min(missing.max(1)) {
            self.unread.reserve(room);
        }
    }

    /// Gives requests in work a moment to be answered before the outbox closes.
    async fn drain(&self) {
        let all = self.in_flight.acquire_many(self.limits.requests_in_flight_max as u32);
        let _ = tokio::time::timeout(Duration::from_secs(2), all).await;
    }
}
