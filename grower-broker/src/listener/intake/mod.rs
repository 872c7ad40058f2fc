//! The receiving side of a connection: bytes become frames, within memory that was reserved for them.
//!
//! Frames up to [`BUFFER`] bytes are received within the connection's share of the budget. For a longer one the buffer
//! grows once its bytes are reserved. The large buffer and its reservation, the loan, stay for the next large frame,
//! but not through a moment of silence, and not while others wait for memory. A silent connection has no buffer at all.

use super::alarm::Alarm;
use super::connection::{ConnectionLimits, Ended};
use super::stream::Source;
use crate::memory::{Memory, Reserved};
use bytes::BytesMut;
use grower_protocol::wire::{FRAME_HEAD_LENGTH, Frame, FrameDecoder, FrameError, FrameHead};
use std::time::Duration;
use tokio::time::Instant;

/// Received at a time while no longer frame is on its way.
const BUFFER: usize = 48 << 10;
/// A loan beyond this goes back as soon as its frame is handled.
const LOAN_KEPT_MAX: usize = 4 << 20;
/// After this long without a byte a connection is silent.
const MOMENT: Duration = Duration::from_millis(100);

/// What came of waiting for bytes.
pub(super) enum Quiet {
    /// Bytes came; none means that the peer is done.
    No { received: usize },
    /// Not for a moment. What is kept for a busy connection was given up.
    ForAMoment,
    /// Not for the idle timeout.
    TooLong,
}

/// What is waited for; each has its deadline.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// Nothing yet: the next wait sets a deadline.
    Unset,
    Preface,
    /// A request, after bytes came a moment ago.
    Request,
    /// A request, after silence.
    RequestAfterSilence,
    RestOfFrame,
}

pub(super) struct Intake {
    source: Source,
    /// Received and not handled. At most [`BUFFER`] bytes, except while a longer frame is received.
    pub(super) unread: BytesMut,
    loan: Option<Reserved>,
    /// The first frame is a long one and has its memory.
    receives_long: bool,
    decoder: FrameDecoder,
    memory: Memory,
    waiting: Waiting,
    alarm: Alarm,
    /// When we stopped waiting for bytes.
    left_off: Instant,
    frame_timeout: Duration,
    idle_timeout: Duration,
}

impl Intake {
    pub(super) fn new(source: Source, limits: &ConnectionLimits) -> Self {
        Self {
            source,
            unread: BytesMut::new(),
            loan: None,
            receives_long: false,
            decoder: FrameDecoder::new(limits.frame_bytes_max),
            memory: limits.memory.clone(),
            waiting: Waiting::Preface,
            alarm: Alarm::after(limits.handshake_timeout),
            left_off: Instant::now(),
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
        self.waiting = Waiting::Unset;
        self.receives_long = false;
        if self.loan.as_ref().is_some_and(|loan| LOAN_KEPT_MAX < loan.bytes() || self.memory.is_wanted()) {
            self.unload();
        }
    }

    /// Gives up the large buffer and its memory. There must be no longer frame in it.
    pub(super) fn unload(&mut self) {
        self.unread = BytesMut::from(&self.unread[..]);
        self.loan = None;
    }

    /// Takes memory for a frame, if it is long, and `beside` bytes for whoever handles it; `None` if that is not free.
    pub(super) fn try_reserve(&mut self, head: &FrameHead, beside: usize) -> Option<Option<Reserved>> {
        let frame = if is_long(head) && !self.has_room(head.total) { head.total } else { 0 };
        let reserved = match rounded(frame) + rounded(beside) {
            0 => None,
            bytes => Some(self.memory.try_reserve(bytes)?),
        };
        self.receives_long = is_long(head);
        Some(reserved.and_then(|reserved| self.assign(head, reserved, beside)))
    }

    /// Does the same, and waits until it is free.
    pub(super) async fn reserve(&mut self, head: &FrameHead, beside: usize) -> Option<Reserved> {
        self.unload();
        let frame = if is_long(head) { head.total } else { 0 };
        let reserved = self.memory.reserve(rounded(frame) + rounded(beside)).await;
        self.waiting = Waiting::Unset; // The peer could not send while we waited.
        self.receives_long = is_long(head);
        self.assign(head, reserved, beside)
    }

    fn assign(&mut self, head: &FrameHead, mut reserved: Reserved, beside: usize) -> Option<Reserved> {
        let for_handling = reserved.split_off(rounded(beside));
        if 0 < reserved.bytes() {
            let mut larger = BytesMut::with_capacity(head.total);
            larger.extend_from_slice(&self.unread);
            self.unread = larger;
            self.loan = Some(reserved);
        }
        Some(for_handling).filter(|reserved| 0 < reserved.bytes())
    }

    /// Whether the loan pays for a frame of `length` bytes and the buffer can hold it without growing.
    fn has_room(&mut self, length: usize) -> bool {
        let more = length.saturating_sub(self.unread.len());
        let paid = self.loan.as_ref().is_some_and(|loan| length <= loan.bytes());
        paid && (length <= self.unread.capacity() || self.unread.try_reclaim(more))
    }

    /// Waits for bytes, as long as what is waited for may take. The time between two calls does not count: the peer cannot
    /// send while we do not read.
    pub(super) async fn receive(&mut self) -> Result<Quiet, Ended> {
        self.alarm.postpone(self.left_off.elapsed());
        let received = self.receive_in_time().await;
        self.left_off = Instant::now();
        received
    }

    async fn receive_in_time(&mut self) -> Result<Quiet, Ended> {
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
            biased; // What has come is in time, also if we are late to look.
            received = received => Ok(Quiet::No { received: received? }),
            () = self.alarm.rings() => self.rang(),
        }
    }

    /// Makes room for more bytes and says for how many: to the end of a long frame, so that what follows it never has
    /// to be moved, or up to [`BUFFER`].
    fn make_room(&mut self) -> Result<usize, FrameError> {
        if let Some(head) = self.decoder.head(&self.unread)?.filter(|_| self.receives_long) {
            return Ok(head.total - self.unread.len());
        }
        let limit = BUFFER - self.unread.len();
        if 0 < self.unread.capacity() && self.unread.capacity() < BUFFER {
            self.unread.reserve(limit); // Reuses the memory of frames that were handled.
        }
        Ok(limit)
    }

    fn set_deadline(&mut self) {
        match (self.waiting, self.unread.is_empty()) {
            (Waiting::Unset, true) => self.wait_for(Waiting::Request, MOMENT.min(self.idle_timeout)),
            (Waiting::Unset | Waiting::Request | Waiting::RequestAfterSilence, false) => {
                self.wait_for(Waiting::RestOfFrame, self.frame_timeout);
            }
            _ => {}
        }
    }

    fn wait_for(&mut self, what: Waiting, timeout: Duration) {
        self.waiting = what;
        self.alarm.set(timeout);
    }

    fn rang(&mut self) -> Result<Quiet, Ended> {
        match self.waiting {
            Waiting::Preface => Err(Ended::Slow("the preface")),
            Waiting::RestOfFrame => Err(Ended::Slow("the rest of a frame")),
            Waiting::Unset | Waiting::Request => {
                self.unload();
                self.wait_for(Waiting::RequestAfterSilence, self.idle_timeout.saturating_sub(MOMENT));
                Ok(Quiet::ForAMoment)
            }
            Waiting::RequestAfterSilence => {
                self.alarm.set(self.idle_timeout);
                Ok(Quiet::TooLong)
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
