//! The receiving side of a connection: bytes become frames, within memory that was reserved for them.
//!
//! Frames up to [`BUFFER`] bytes are received within the connection's share of the budget. For a longer frame the
//! buffer grows once its bytes are reserved. The large buffer and its reservation stay for the next large frame, but
//! neither through silence nor while another connection waits for memory. A silent connection has no buffer at all.

use super::connection::{ConnectionEnd, ConnectionLimits};
use super::deadline_timer::DeadlineTimer;
use super::stream::Source;
use crate::memory::{Memory, Reserved};
use bytes::BytesMut;
use grower_protocol::wire::{FRAME_HEAD_LENGTH, Frame, FrameDecoder, FrameError, FrameHead};
use std::time::Duration;

/// Received at a time while no longer frame is on its way.
const BUFFER: usize = 48 << 10;
/// A reservation beyond this goes back as soon as its frame is handled.
const RESERVATION_KEPT_MAX: usize = 4 << 20;
/// A connection without a byte for this long is silent.
const SILENT_AFTER: Duration = Duration::from_millis(100);

/// The outcome of waiting for bytes.
pub(super) enum ReceiveOutcome {
    /// The number of bytes received; 0 means that the peer closed its side.
    Received(usize),
    /// The connection became silent: its buffer and reservation are released.
    Silent,
    /// The idle timeout passed.
    Idle,
}

/// The input that the connection waits for; each has its deadline.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AwaitedInput {
    /// Nothing yet: the next wait sets a deadline.
    Unset,
    Preface,
    /// A request, after bytes came a moment ago.
    Request,
    /// A request, after silence.
    RequestAfterSilence,
    RestOfFrame,
}

/// Receives the bytes of a connection and cuts them into frames.
pub(super) struct FrameReceiver {
    source: Source,
    /// Received and not handled. At most [`BUFFER`] bytes, except while a longer frame is received.
    pub(super) unread: BytesMut,
    reservation: Option<Reserved>,
    /// The first frame is long, and its memory is reserved.
    receives_long: bool,
    decoder: FrameDecoder,
    memory: Memory,
    awaited: AwaitedInput,
    deadline_timer: DeadlineTimer,
    frame_timeout: Duration,
    idle_timeout: Duration,
}

impl FrameReceiver {
    pub(super) fn new(source: Source, limits: &ConnectionLimits) -> Self {
        let mut deadline_timer = DeadlineTimer::after(limits.handshake_timeout);
        deadline_timer.pause();
        Self {
            source,
            unread: BytesMut::new(),
            reservation: None,
            receives_long: false,
            decoder: FrameDecoder::new(limits.frame_bytes_max),
            memory: limits.memory.clone(),
            awaited: AwaitedInput::Preface,
            deadline_timer,
            frame_timeout: limits.frame_timeout,
            idle_timeout: limits.idle_timeout,
        }
    }

    /// The head of the first frame, once that is whole or known to be too long for the share.
    pub(super) fn next_head(&self) -> Result<Option<FrameHead>, FrameError> {
        let head = self.decoder.head(&self.unread)?;
        // One byte more than the head tells what kind of request it is.
        Ok(head
            .filter(|head| head.total <= self.unread.len() || is_long(head) && FRAME_HEAD_LENGTH < self.unread.len()))
    }

    /// Takes the first frame off, once it is whole.
    pub(super) fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        self.decoder.next_frame(&mut self.unread)
    }

    /// The frame taken last, or the preface, is handled.
    pub(super) fn frame_done(&mut self) {
        self.awaited = AwaitedInput::Unset;
        self.receives_long = false;
        if self
            .reservation
            .as_ref()
            .is_some_and(|reservation| RESERVATION_KEPT_MAX < reservation.bytes() || self.memory.is_wanted())
        {
            self.unload();
        }
    }

    /// Releases the large buffer and its reservation. It must hold no part of a long frame.
    pub(super) fn unload(&mut self) {
        debug_assert!(!self.receives_long, "the buffer of a long frame stays until the frame is handled");
        self.unread = BytesMut::from(&self.unread[..]);
        self.reservation = None;
    }

    /// Reserves memory for a frame, if it is long, and `handling_bytes` to handle it; `None` if that is not free.
    pub(super) fn try_reserve(&mut self, head: &FrameHead, handling_bytes: usize) -> Option<Option<Reserved>> {
        let frame = if is_long(head) && !self.has_room(head.total) { head.total } else { 0 };
        let reserved = match rounded(frame) + rounded(handling_bytes) {
            0 => None,
            bytes => Some(self.memory.try_reserve(bytes)?),
        };
        self.receives_long = is_long(head);
        Some(reserved.and_then(|reserved| self.assign(head, reserved, handling_bytes)))
    }

    /// Reserves the same, and waits until it is free.
    pub(super) async fn reserve(&mut self, head: &FrameHead, handling_bytes: usize) -> Option<Reserved> {
        self.unload();
        let frame = if is_long(head) { head.total } else { 0 };
        let reserved = self.memory.reserve(rounded(frame) + rounded(handling_bytes)).await;
        self.awaited = AwaitedInput::Unset; // The peer could not send while we waited.
        self.receives_long = is_long(head);
        self.assign(head, reserved, handling_bytes)
    }

    fn assign(&mut self, head: &FrameHead, mut reserved: Reserved, handling_bytes: usize) -> Option<Reserved> {
        let for_handling = reserved.split_off(rounded(handling_bytes));
        if 0 < reserved.bytes() {
            let mut larger = BytesMut::with_capacity(head.total);
            larger.extend_from_slice(&self.unread);
            self.unread = larger;
            self.reservation = Some(reserved);
        }
        Some(for_handling).filter(|reserved| 0 < reserved.bytes())
    }

    /// Whether the reservation pays for a frame of `length` bytes and the buffer can hold it without growing.
    fn has_room(&mut self, length: usize) -> bool {
        let more = length.saturating_sub(self.unread.len());
        let paid = self.reservation.as_ref().is_some_and(|reservation| length <= reservation.bytes());
        paid && (length <= self.unread.capacity() || self.unread.try_reclaim(more))
    }

    /// Waits for bytes, as long as what is waited for may take. The time between two calls does not count: the peer
    /// cannot send while we do not read.
    pub(super) async fn receive(&mut self) -> Result<ReceiveOutcome, ConnectionEnd> {
        self.deadline_timer.resume();
        let received = self.receive_in_time().await;
        self.deadline_timer.pause();
        received
    }

    async fn receive_in_time(&mut self) -> Result<ReceiveOutcome, ConnectionEnd> {
        self.set_deadline();
        let limit = self.make_room()?;
        let received = async {
            if self.unread.capacity() == 0 {
                self.source.ready().await?;
                self.unread.reserve(BUFFER);
            }
            self.source.receive(&mut self.unread, limit).await
        };
        tokio::select! {
            biased; // Bytes that are here came in time, also if we look late.
            received = received => Ok(ReceiveOutcome::Received(received?)),
            () = self.deadline_timer.reached() => self.deadline_passed(),
        }
    }

    /// Makes room for more bytes and returns for how many: to the end of a long frame, so that the bytes after it never
    /// have to be moved, or up to [`BUFFER`].
    fn make_room(&mut self) -> Result<usize, FrameError> {
        if let Some(head) = self.decoder.head(&self.unread)?.filter(|_| self.receives_long) {
            return Ok(head.total - self.unread.len());
        }
        debug_assert!(self.unread.len() <= BUFFER, "only a long frame has more");
        let limit = BUFFER - self.unread.len();
        if 0 < self.unread.capacity() && self.unread.capacity() < BUFFER {
            self.unread.reserve(limit); // Reuses the memory of frames that were handled.
        }
        Ok(limit)
    }

    fn set_deadline(&mut self) {
        match (self.awaited, self.unread.is_empty()) {
            (AwaitedInput::Unset, true) => self.wait_for(AwaitedInput::Request, SILENT_AFTER.min(self.idle_timeout)),
            (AwaitedInput::Unset | AwaitedInput::Request | AwaitedInput::RequestAfterSilence, false) => {
                self.wait_for(AwaitedInput::RestOfFrame, self.frame_timeout);
            }
            _ => {}
        }
    }

    fn wait_for(&mut self, what: AwaitedInput, timeout: Duration) {
        self.awaited = what;
        self.deadline_timer.set(timeout);
    }

    fn deadline_passed(&mut self) -> Result<ReceiveOutcome, ConnectionEnd> {
        match self.awaited {
            AwaitedInput::Preface => Err(ConnectionEnd::Slow("the preface")),
            AwaitedInput::RestOfFrame => Err(ConnectionEnd::Slow("the rest of a frame")),
            AwaitedInput::Unset | AwaitedInput::Request => {
                self.unload();
                self.wait_for(AwaitedInput::RequestAfterSilence, self.idle_timeout.saturating_sub(SILENT_AFTER));
                Ok(ReceiveOutcome::Silent)
            }
            AwaitedInput::RequestAfterSilence => {
                self.deadline_timer.set(self.idle_timeout);
                Ok(ReceiveOutcome::Idle)
            }
        }
    }
}

fn is_long(head: &FrameHead) -> bool {
    BUFFER < head.total
}

/// Reservations are counted in whole KiB.
fn rounded(bytes: usize) -> usize {
    bytes.next_multiple_of(1024)
}

#[cfg(test)]
mod tests;
