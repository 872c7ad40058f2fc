//! Moves the bytes of one connection, both ways, in one task.
//!
//! Requests that wait together leave in one write; an answer's receiver is called right here, so that what it asks next
//! is written without waking anybody. Answers that came together may wake many tasks, which then ask one after the other:
//! a write gives them a turn first. The first thing that goes wrong ends the connection and fails what still waits.

use super::DialerSettings;
use super::pending::{BrokerAnswer, PendingRequests};
use crate::error::ConnectionError;
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

/// How many requests leave in one write at most.
const BURST_MAX: usize = 128;
/// The receive buffer when nothing is known about the next frame, in bytes.
const READ_AHEAD: usize = 64 << 10;
/// A frame up to this size gets its memory at once; for a longer one memory grows as its bytes arrive.
const TRUSTED_FRAME: usize = 8 << 20;

/// A request ready to be written.
pub(super) struct OutgoingRequest {
    pub(super) head: Vec<u8>,
    pub(super) attachment: Bytes,
    /// The request's number, if being written is all it waits for.
    pub(super) unanswered: Option<u32>,
}

/// What both directions need.
pub(super) struct ConnectionTask {
    address: Arc<str>,
    pending: Arc<PendingRequests>,
    decoder: FrameDecoder,
    request_timeout: Duration,
    /// There are requests to write.
    asked: Notify,
    /// How many answers came since the last write. Atomic only because a task may move between threads.
    answered: AtomicUsize,
}

impl ConnectionTask {
    pub(super) fn new(address: Arc<str>, pending: Arc<PendingRequests>, settings: &DialerSettings) -> Self {
        let decoder = FrameDecoder::new(settings.frame_bytes_max);
        let (request_timeout, asked, answered) = (settings.request_timeout, Notify::new(), AtomicUsize::new(0));
        Self { address, pending, decoder, request_timeout, asked, answered }
    }

    /// Runs until the connection ends or nobody holds its connection any more.
    pub(super) async fn run(
        self,
        stream: Box<dyn Connection>,
        unread: BytesMut,
        outgoing: mpsc::UnboundedReceiver<OutgoingRequest>,
    ) {
        let (read, write) = tokio::io::split(stream);
        let error = tokio::select! {
            biased; // Answers first: what they cause is then written in the same turn.
            error = self.receive(read, unread) => error,
            error = self.send(write, outgoing) => error,
        };
        self.pending.close(&error);
    }

    async fn send(
        &self,
        mut write: WriteHalf<Box<dyn Connection>>,
        mut outgoing: mpsc::UnboundedReceiver<OutgoingRequest>,
    ) -> ConnectionError {
        let mut burst = Vec::with_capacity(BURST_MAX);
        while 0 < outgoing.recv_many(&mut burst, BURST_MAX).await {
            self.asked.notify_one();
            self.gather(&mut burst, &mut outgoing).await;
            if let Err(error) = write_all(&mut write, &burst).await {
                return ConnectionError::io(&self.address, error);
            }
            for written in burst.drain(..).filter_map(|outgoing| outgoing.unanswered) {
                if let Some(done) = self.pending.take(written) {
                    done(Ok(BrokerAnswer { response: Response::Done, attachment: Bytes::new() }));
                }
            }
        }
        ConnectionError::Closed { address: self.address.clone() } // No handle is left to see it.
    }

    /// Waits for one turn of all tasks if more were answered than ask again so far.
    async fn gather(&self, burst: &mut Vec<OutgoingRequest>, outgoing: &mut mpsc::UnboundedReceiver<OutgoingRequest>) {
        if self.answered.swap(0, Ordering::Relaxed) <= burst.len() {
            return; // Nobody is to be expected: one that asks alone loses no time.
        }
        yield_now().await;
        while burst.len() < BURST_MAX
            && let Ok(more) = outgoing.try_recv()
        {
            burst.push(more);
        }
    }

    async fn receive(&self, mut read: ReadHalf<Box<dyn Connection>>, mut unread: BytesMut) -> ConnectionError {
        let mut overdue = interval((self.request_timeout / 10).clamp(Duration::from_millis(5), Duration::from_secs(1)));
        overdue.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_idle = false; // Then nothing can be overdue, and thousands of idle connections cost nothing.
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

    /// Hands out every whole frame and makes room for the rest of the next.
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
            return Err(ConnectionError::Unasked { address: address(), correlation });
        };
        self.answered.fetch_add(1, Ordering::Relaxed);
        done(Ok(BrokerAnswer { response, attachment: frame.attachment.freeze() }));
        Ok(())
    }
}

/// Writes all pieces of all requests, several at a time.
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
