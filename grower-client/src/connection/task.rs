//! Reads and writes the bytes of one connection in one task.
//!
//! Queued requests leave in one write. The task calls an answer's receiver itself, so the receiver's next request is
//! written without a wake-up. Answers that arrive together may wake many tasks with a next request each; the task
//! yields to them before it writes. The first error ends the connection and fails all pending requests.

use super::DialerSettings;
use super::pending::{BrokerAnswer, PendingRequests};
use crate::error::ConnectionError;
use crate::events::{ClientEvent, EventSubscribers};
use crate::transport::Connection;
use bytes::{Bytes, BytesMut};
use grower_protocol::message::Response;
use grower_protocol::wire::{self, Frame, FrameDecoder};
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio::task::yield_now;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// The most requests in one write.
const BURST_MAX: usize = 128;
/// The free space of the receive buffer while the next frame's length is unknown, in bytes.
const READ_AHEAD: usize = 64 << 10;
/// The longest frame that gets its memory at once, in bytes. Memory for a longer one grows as its bytes arrive.
const TRUSTED_FRAME: usize = 8 << 20;

/// A request that is ready to be written.
pub(super) struct OutgoingRequest {
    pub(super) head: Vec<u8>,
    pub(super) attachment: Bytes,
    /// The correlation id of a request that is done once it is written.
    pub(super) unanswered: Option<u32>,
}

/// The state that reading and writing share.
pub(super) struct ConnectionTask {
    address: Arc<str>,
    pending: Arc<PendingRequests>,
    events: Arc<EventSubscribers>,
    decoder: FrameDecoder,
    request_timeout: Duration,
    /// Notified when requests are written, so that an idle reader checks deadlines again.
    asked: Notify,
    /// The answers since the last write. Atomic only because a task may move between threads.
    answered: AtomicUsize,
}

impl ConnectionTask {
    pub(super) fn new(
        address: Arc<str>,
        pending: Arc<PendingRequests>,
        settings: &DialerSettings,
        events: Arc<EventSubscribers>,
    ) -> Self {
        let decoder = FrameDecoder::new(settings.frame_bytes_max);
        let (request_timeout, asked, answered) = (settings.request_timeout, Notify::new(), AtomicUsize::new(0));
        Self { address, pending, events, decoder, request_timeout, asked, answered }
    }

    /// Runs until the connection ends or the last handle is dropped.
    pub(super) async fn run(
        self,
        stream: Box<dyn Connection>,
        unread: BytesMut,
        outgoing: mpsc::UnboundedReceiver<OutgoingRequest>,
    ) {
        let (read, write) = tokio::io::split(stream);
        let lost = tokio::select! {
            biased; // Answers first: the requests that follow from them are then written in the same turn.
            error = self.receive(read, unread) => Some(error),
            error = self.send(write, outgoing) => error,
        };
        self.end(lost);
    }

    /// Fails all requests; without an error the last handle is dropped, and none is left to see it.
    fn end(&self, lost: Option<ConnectionError>) {
        if let Some(reason) = &lost
            && !self.pending.is_closed()
        {
            self.events.tell(|| ClientEvent::Lost { address: self.address.clone(), reason: reason.clone() });
        }
        self.pending.close(&lost.unwrap_or_else(|| ConnectionError::Closed { address: self.address.clone() }));
    }

    async fn send(
        &self,
        mut write: WriteHalf<Box<dyn Connection>>,
        mut outgoing: mpsc::UnboundedReceiver<OutgoingRequest>,
    ) -> Option<ConnectionError> {
        let mut burst = Vec::with_capacity(BURST_MAX);
        while 0 < outgoing.recv_many(&mut burst, BURST_MAX).await {
            self.asked.notify_one();
            self.gather(&mut burst, &mut outgoing).await;
            if let Err(error) = write_all(&mut write, &burst).await {
                return Some(ConnectionError::io(&self.address, error));
            }
            for written in burst.drain(..).filter_map(|outgoing| outgoing.unanswered) {
                if let Some(done) = self.pending.take(written) {
                    done(Ok(BrokerAnswer { response: Response::Done, attachment: Bytes::new() }));
                }
            }
        }
        None // The last handle was dropped.
    }

    /// Yields to the other tasks once if more requests were answered than are queued, then collects theirs.
    async fn gather(&self, burst: &mut Vec<OutgoingRequest>, outgoing: &mut mpsc::UnboundedReceiver<OutgoingRequest>) {
        if self.answered.swap(0, Ordering::Relaxed) <= burst.len() {
            return; // No further request is expected: a single caller loses no time.
        }
        yield_now().await;
        while burst.len() < BURST_MAX
            && let Ok(more) = outgoing.try_recv()
        {
            burst.push(more);
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
    async fn receive(&self, mut read: ReadHalf<Box<dyn Connection>>, mut unread: BytesMut) -> ConnectionError {
        let mut overdue = interval((self.request_timeout / 10).clamp(Duration::from_millis(5), Duration::from_secs(1)));
        overdue.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_idle = false; // An idle connection checks no deadlines, so thousands of them cost nothing.
        loop {
            if let Err(error) = self.deliver(&mut unread) {
                return error;
            }
            tokio::select! {
                read = read.read_buf(&mut unread) => match read {
                    Ok(0) => return ConnectionError::Closed { address: self.address.clone() },
                    Ok(_) => {}
                    Err(error) => return ConnectionError::io(&self.address, error),
                },
                _ = overdue.tick(), if !is_idle => {
                    if self.pending.is_overdue(Instant::now()) {
                        return ConnectionError::TimedOut { address: self.address.clone(), after: self.request_timeout };
                    }
                    is_idle = self.pending.is_empty();
                }
                () = self.asked.notified(), if is_idle => is_idle = false,
            }
        }
    }

    /// Delivers every complete frame and reserves memory for the rest of the next one.
    fn deliver(&self, unread: &mut BytesMut) -> Result<(), ConnectionError> {
        let unreadable = |source| ConnectionError::Frame { address: self.address.clone(), source };
        while let Some(frame) = self.decoder.next_frame(unread).map_err(unreadable)? {
            self.answer(frame)?;
        }
        let wanted = match self.decoder.frame_length(unread).map_err(unreadable)? {
            Some(length) if length <= TRUSTED_FRAME => (length - unread.len()).max(READ_AHEAD / 16),
            Some(_) => unread.len().max(READ_AHEAD),
            None => READ_AHEAD,
        };
        unread.reserve(wanted);
        Ok(())
    }

    fn answer(&self, frame: Frame) -> Result<(), ConnectionError> {
        let address = || self.address.clone();
        let correlation = frame.correlation.0;
        let response = wire::decode(&frame.message)
            .map_err(|error| ConnectionError::Message { address: address(), reason: error.to_string() })?;
        let Some(done) = self.pending.take(correlation) else {
            return Err(ConnectionError::UnexpectedAnswer { address: address(), correlation });
        };
        self.events.tell_if_throttled(&self.address, &response);
        self.answered.fetch_add(1, Ordering::Relaxed);
        done(Ok(BrokerAnswer { response, attachment: frame.attachment.freeze() }));
        Ok(())
    }
}

/// The end of the runtime drops the task: its requests fail then too, and no caller on another runtime waits for them.
impl Drop for ConnectionTask {
    fn drop(&mut self) {
        self.end(Some(ConnectionError::Closed { address: self.address.clone() }));
    }
}

/// Writes all requests with vectored writes.
async fn write_all(write: &mut WriteHalf<Box<dyn Connection>>, burst: &[OutgoingRequest]) -> io::Result<()> {
    let pieces = burst.iter().flat_map(|outgoing| [&outgoing.head[..], &outgoing.attachment[..]]);
    let mut slices: Vec<IoSlice<'_>> = pieces.filter(|piece| !piece.is_empty()).map(IoSlice::new).collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        match write.write_vectored(rest).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => IoSlice::advance_slices(&mut rest, written),
        }
    }
    write.flush().await
}
