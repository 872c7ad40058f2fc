//! The answers of one connection on their way to its socket.
//!
//! The thread that finishes a request sends its answer: that of the connection, one of the sync pool, or a task that
//! waited for records. With an empty queue the bytes go straight to the socket, and no task is woken; the bytes that
//! the socket does not take wait for the writer task. Every answer holds a [`Permit`] until it is sent. A peer that
//! never reads its answers uses up the permits, is no longer read from, and is closed after the write timeout, as is a
//! peer that reads more slowly than [`ReadPace`] asks.
//!
//! Records wait in their files, never in memory: a piece is read when the socket can take it, and bytes that the socket
//! refuses are read again later.

use super::deadline_timer::within;
use super::read_pace::ReadPace;
use super::stream::Sink;
use crate::api::{Answer, Outbox, Permit};
use crate::config::ZeroCopy;
use crate::memory::{Memory, Reserved};
use crate::metrics::Connected;
use crate::partition::SendGathered;
use bytes::Bytes;
use grower_storage::log::Slice;
use parking_lot::{Mutex, MutexGuard};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::pin::{Pin, pin};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio_util::sync::CancellationToken;

/// Slices are read and sent in pieces of this size.
const COPY_PIECE: usize = 256 * 1024;
/// Bytes of one `sendfile`, bounded because a cold page blocks the thread.
const SENDFILE_PIECE: usize = 1 << 20;
/// An answer with slices up to this size leaves as one write, without the writer task.
const SMALL: usize = 64 * 1024;

thread_local! {
    /// Buffer for slices between file and socket. Never borrowed across a wait.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::default();
}

/// One answer and how much of it is sent.
struct QueuedAnswer {
    head: Bytes,
    slices: Vec<Slice>,
    /// Bytes of the slices that are sent.
    sent: usize,
    /// Given back when this is dropped, which is after it was sent.
    #[expect(dead_code, reason = "held for their drop")]
    permits: Vec<Permit>,
    /// Memory of the head while that is queued.
    queued: Option<Reserved>,
}

impl From<Answer> for QueuedAnswer {
    fn from(Answer { head, slices, permits }: Answer) -> Self {
        Self { head: head.into(), slices, sent: 0, permits, queued: None }
    }
}

impl QueuedAnswer {
    fn slices_length(&self) -> usize {
        self.slices.iter().map(Slice::len).sum()
    }

    fn is_sent(&self) -> bool {
        self.head.is_empty() && self.sent == self.slices_length()
    }

    /// Notes that its next `count` bytes are sent.
    fn advance(&mut self, count: usize) {
        let of_head = count.min(self.head.len());
        drop(self.head.split_to(of_head));
        self.sent += count - of_head;
        debug_assert!(self.sent <= self.slices_length(), "no more is sent than there is");
    }

    /// Copies head and slices; fails if a file cannot be read or ends early.
    fn copy_to(&self, buffer: &mut Vec<u8>) -> io::Result<()> {
        buffer.clear();
        buffer.extend_from_slice(&self.head);
        for slice in &self.slices {
            let start = buffer.len();
            buffer.resize(start + slice.len(), 0);
            if slice.read_into(&mut buffer[start..], 0).map_err(io::Error::other)? < slice.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

/// A connection's share of the broker, given back with its socket once the last answer is gone.
pub(crate) struct ConnectionShare {
    /// Its part of the memory budget.
    #[expect(dead_code, reason = "held for its drop")]
    pub(crate) memory: Reserved,
    /// Its slot among the connections that the port takes; none within the process.
    #[expect(dead_code, reason = "held for its drop")]
    pub(crate) slot: Option<OwnedSemaphorePermit>,
}

/// The sending side of a connection.
pub(super) struct ConnectionOutbox {
    sink: Sink,
    /// The connection ended, or the broker stops: requests that only wait end early.
    ended: CancellationToken,
    #[expect(dead_code, reason = "held for its drop")]
    held: (ConnectionShare, Connected),
    zero_copy: ZeroCopy,
    memory: Memory,
    queue: Mutex<AnswerQueue>,
    wake: Notify,
    aborted: Notify,
}

#[derive(Default)]
struct AnswerQueue {
    answers: VecDeque<QueuedAnswer>,
    /// Answers without slices that leave in one write, and their permits.
    gathered: (Vec<u8>, Vec<Permit>),
    /// The writer task has taken an answer and is not done with it.
    writing: bool,
    closed: bool,
    /// The error of a failed send, until the writer task reports it.
    failed: Option<io::Error>,
}

impl ConnectionOutbox {
    pub(super) fn new(
        sink: Sink,
        zero_copy: ZeroCopy,
        memory: Memory,
        ended: CancellationToken,
        held: (ConnectionShare, Connected),
    ) -> Self {
        Self {
            sink,
            ended,
            held,
            zero_copy,
            memory,
            queue: Mutex::default(),
            wake: Notify::new(),
            aborted: Notify::new(),
        }
    }

    /// Sends an answer now if the socket takes it, and queues the rest.
    fn send_locked(&self, mut queue: MutexGuard<'_, AnswerQueue>, mut answer: QueuedAnswer) {
        if queue.closed {
            return;
        }
        if queue.answers.is_empty() && !queue.writing && self.sink.sends_at_once() {
            match self.send_now(&answer) {
                Ok(sent) => answer.advance(sent),
                Err(error) => {
                    queue.failed = Some(error);
                    self.discard_locked(&mut queue);
                    return;
                }
            }
            if answer.is_sent() {
                return;
            }
        }
        if !answer.head.is_empty() {
            answer.queued = Some(self.memory.take(answer.head.len()));
        }
        queue.answers.push_back(answer);
        drop(queue);
        self.wake.notify_one();
    }

    /// Sends as much as one write takes: all of a small answer, the head of an answer with many records.
    fn send_now(&self, answer: &QueuedAnswer) -> io::Result<usize> {
        if answer.slices.is_empty() || SMALL < answer.slices_length() {
            return self.sink.try_send(&answer.head);
        }
        SCRATCH.with_borrow_mut(|buffer| match answer.copy_to(buffer) {
            Ok(()) => self.sink.try_send(buffer),
            Err(_) => Ok(0), // The writer task meets the same error and closes the connection.
        })
    }

    /// Lets the writer task end once everything queued is sent. Call it once no request is in flight: later answers are
    /// discarded.
    pub(super) fn finish(&self) {
        self.queue.lock().closed = true;
        self.wake.notify_one();
    }

    /// Returns once the connection has to close.
    pub(super) async fn aborted(&self) {
        self.aborted.notified().await;
    }

    fn discard_locked(&self, queue: &mut AnswerQueue) {
        queue.closed = true;
        queue.answers.clear();
        queue.gathered = Default::default();
        self.wake.notify_one();
    }

    /// The writer task: sends queued answers until the outbox is closed and empty, or the peer reads too slowly.
    /// Returns the first error of a send, by whatever thread.
    pub(super) async fn write_queued(&self, timeout: Duration) -> io::Result<()> {
        let mut pace = ReadPace::new(timeout);
        loop {
            let Some(answer) = self.take(&mut pace).await else {
                return self.queue.lock().failed.take().map_or(Ok(()), Err);
            };
            let sent = self.write(answer, &mut pace).await;
            let mut queue = self.queue.lock();
            queue.writing = false;
            if sent.is_err() {
                self.discard_locked(&mut queue);
                return sent;
            }
        }
    }

    async fn take(&self, pace: &mut ReadPace) -> Option<QueuedAnswer> {
        loop {
            {
                let mut queue = self.queue.lock();
                if let Some(answer) = queue.answers.pop_front() {
                    debug_assert!(!queue.writing, "one task writes the queued answers");
                    queue.writing = true;
                    return Some(answer);
                }
                if queue.closed {
                    return None;
                }
            }
            pace.restart(); // The peer has taken all answers.
            self.wake.notified().await;
        }
    }

    async fn write(&self, answer: QueuedAnswer, pace: &mut ReadPace) -> io::Result<()> {
        self.send_all(&answer.head, pace).await?;
        let mut skip = answer.sent;
        for slice in &answer.slices {
            let start = skip.min(slice.len());
            skip -= start;
            match slice.fd().filter(|_| self.sink.takes_files(self.zero_copy)) {
                Some((file, position)) => self.send_file(file, position, start..slice.len(), pace).await?,
                None => self.copy(slice, start, pace).await?,
            }
        }
        Ok(())
    }

    async fn send_all(&self, mut bytes: &[u8], pace: &mut ReadPace) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = paced(pace, pin!(self.sink.send_some(bytes))).await?;
            pace.took(sent);
            bytes = &bytes[sent..];
        }
        Ok(())
    }

    async fn send_file(
        &self,
        file: BorrowedFd<'_>,
        position: u64,
        bytes: Range<usize>,
        pace: &mut ReadPace,
    ) -> io::Result<()> {
        let mut sent = bytes.start;
        while sent < bytes.end {
            let rest = SENDFILE_PIECE.min(bytes.end - sent);
            let sending = pin!(self.sink.send_file(file, position + sent as u64, rest));
            let taken = nonzero_or_eof(paced(pace, sending).await?)?;
            pace.took(taken);
            sent += taken;
        }
        Ok(())
    }

    async fn copy(&self, slice: &Slice, start: usize, pace: &mut ReadPace) -> io::Result<()> {
        let mut sent = start;
        while sent < slice.len() {
            sent += if self.sink.sends_at_once() {
                paced(pace, pin!(self.sink.ready())).await?;
                let taken = SCRATCH.with_borrow_mut(|buffer| self.sink.try_send(read_piece(slice, sent, buffer)?))?;
                pace.took(taken);
                taken
            } else {
                let mut buffer = Vec::new();
                let length = read_piece(slice, sent, &mut buffer)?.len();
                self.send_all(&buffer[..length], pace).await?;
                length
            };
        }
        Ok(())
    }
}

impl Outbox for ConnectionOutbox {
    fn send(&self, answer: Answer) {
        self.send_locked(self.queue.lock(), answer.into());
    }

    fn gather(&self, frame: Vec<u8>, permit: Permit) -> bool {
        let mut queue = self.queue.lock();
        if queue.closed {
            return false;
        }
        let (head, permits) = &mut queue.gathered;
        if head.is_empty() {
            *head = frame;
        } else {
            head.extend_from_slice(&frame);
        }
        permits.push(permit);
        permits.len() == 1
    }

    fn abort(&self) {
        self.discard_locked(&mut self.queue.lock());
        self.aborted.notify_one();
    }

    fn ended(&self) -> &CancellationToken {
        &self.ended
    }
}

impl SendGathered for ConnectionOutbox {
    fn send_gathered(&self) {
        let mut queue = self.queue.lock();
        let (head, permits) = std::mem::take(&mut queue.gathered);
        if !permits.is_empty() {
            self.send_locked(queue, Answer { head, slices: Vec::new(), permits }.into());
        }
    }
}

/// Waits until bytes are sent, as long as the pace allows. The future comes pinned: by value, each connection would
/// hold it three times.
async fn paced<T>(pace: &mut ReadPace, sending: Pin<&mut impl Future<Output = io::Result<T>>>) -> io::Result<T> {
    let too_slow = || io::Error::new(io::ErrorKind::TimedOut, "the peer reads its answers too slowly");
    let (sent, elapsed) = within(pace.left(), sending).await.ok_or_else(too_slow)?;
    pace.waited(elapsed);
    sent
}

/// Reads the bytes after the first `sent` ones of a slice.
fn read_piece<'a>(slice: &Slice, sent: usize, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
    let wanted = COPY_PIECE.min(slice.len() - sent);
    if buffer.len() < wanted {
        buffer.resize(wanted, 0);
    }
    let read = nonzero_or_eof(slice.read_into(&mut buffer[..wanted], sent).map_err(io::Error::other)?)?;
    Ok(&buffer[..read])
}

/// A file that ends early was truncated. The head promised more bytes, so the connection has to be closed.
fn nonzero_or_eof(bytes: usize) -> io::Result<usize> {
    if bytes == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests;
