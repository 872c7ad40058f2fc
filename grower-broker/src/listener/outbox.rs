//! Answers on their way out of one connection.
//!
//! Whoever finishes a request sends its answer: the connection's own task, a flusher thread, a task that waited for
//! records. If nothing is queued the bytes go straight to the socket, without waking anybody; what does not fit
//! waits for the writer task. Every answer holds a [`Permit`] until it is sent, and there are only so many: a peer
//! that never reads its answers is soon no longer read from, and closed after the write timeout.
//!
//! Records wait in their files, never in memory: a piece is read when the socket can take it, and what the socket leaves
//! is read again later.

use super::permit::Permit;
use super::stream::Sink;
use crate::config::ZeroCopy;
use crate::memory::{Memory, Reserved};
use bytes::Bytes;
use grower_storage::log::Slice;
use parking_lot::Mutex;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::time::Duration;
use tokio::sync::Notify;

/// Slices are read and sent in pieces of this size.
const COPY_PIECE: usize = 256 * 1024;
/// What one `sendfile` may send: a cold page blocks the thread, so not too much at a time.
const SENDFILE_PIECE: usize = 1 << 20;
/// The peer has its deadline for each so many bytes of an answer's head.
const HEAD_PIECE: usize = 64 * 1024;
/// An answer with slices up to this size leaves as one write, without the writer task.
const SMALL: usize = 64 * 1024;

thread_local! {
    /// Where slices pass through on their way from file to socket. Never held while waiting.
    static PIECE: RefCell<Vec<u8>> = RefCell::default();
}

/// One answer: bytes, then slices of log files exactly as they are stored.
pub(crate) struct Answer {
    head: Bytes,
    slices: Vec<Slice>,
    /// Bytes of the slices that are sent.
    sent: usize,
    /// Given back when this is dropped, which is after it was sent.
    #[expect(dead_code, reason = "held for their drop")]
    permits: Vec<Permit>,
    /// Stands for the head while that is queued.
    queued: Option<Reserved>,
}

impl Answer {
    pub(crate) fn new(head: Vec<u8>, slices: Vec<Slice>, permits: Vec<Permit>) -> Self {
        Self { head: head.into(), slices, sent: 0, permits, queued: None }
    }

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
    }

    /// Copies all of it behind each other; fails if a file cannot be read or ends early.
    fn copy_to(&self, piece: &mut Vec<u8>) -> io::Result<()> {
        piece.clear();
        piece.extend_from_slice(&self.head);
        for slice in &self.slices {
            let start = piece.len();
            piece.resize(start + slice.len(), 0);
            if slice.read_into(&mut piece[start..], 0).map_err(io::Error::other)? < slice.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

/// The sending side of a connection.
pub(crate) struct Outbox {
    sink: Sink,
    zero_copy: ZeroCopy,
    memory: Memory,
    queue: Mutex<Queue>,
    wake: Notify,
}

#[derive(Default)]
struct Queue {
    answers: VecDeque<Answer>,
    /// The writer task has taken an answer and is not done with it.
    writing: bool,
    closed: bool,
}

impl Outbox {
    pub(crate) fn new(sink: Sink, zero_copy: ZeroCopy, memory: Memory) -> Self {
        Self { sink, zero_copy, memory, queue: Mutex::default(), wake: Notify::new() }
    }

    /// Sends an answer, now if the socket takes it. Does nothing once the connection is closed.
    pub(crate) fn send(&self, mut answer: Answer) {
        let mut queue = self.queue.lock();
        if queue.closed {
            return;
        }
        if queue.answers.is_empty() && !queue.writing && self.sink.sends_at_once() {
            match self.send_now(&answer) {
                Ok(sent) => answer.advance(sent),
                Err(_) => {
                    self.close_locked(&mut queue);
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

    /// Sends what one write takes: all of a small answer, the head of one with many records.
    fn send_now(&self, answer: &Answer) -> io::Result<usize> {
        if answer.slices.is_empty() || SMALL < answer.slices_length() {
            return self.sink.try_send(&answer.head);
        }
        PIECE.with_borrow_mut(|piece| match answer.copy_to(piece) {
            Ok(()) => self.sink.try_send(piece),
            Err(_) => Ok(0), // The writer task meets the same error and closes the connection.
        })
    }

    /// Lets the writer task end once everything queued is sent.
    pub(crate) fn close(&self) {
        self.queue.lock().closed = true;
        self.wake.notify_one();
    }

    fn close_locked(&self, queue: &mut Queue) {
        queue.closed = true;
        queue.answers.clear();
        self.wake.notify_one();
    }

    /// The writer task: sends what was queued until the outbox is closed and empty, or the peer stops reading.
    pub(crate) async fn write_queued(&self, deadline: Duration) -> io::Result<()> {
        loop {
            let Some(answer) = self.take().await else { return Ok(()) };
            let sent = self.write(answer, deadline).await;
            let mut queue = self.queue.lock();
            queue.writing = false;
            if sent.is_err() {
                self.close_locked(&mut queue);
                return sent;
            }
        }
    }

    async fn take(&self) -> Option<Answer> {
        loop {
            {
                let mut queue = self.queue.lock();
                if let Some(answer) = queue.answers.pop_front() {
                    queue.writing = true;
                    return Some(answer);
                }
                if queue.closed {
                    return None;
                }
            }
            self.wake.notified().await;
        }
    }

    async fn write(&self, answer: Answer, deadline: Duration) -> io::Result<()> {
        for piece in answer.head.chunks(HEAD_PIECE) {
            in_time(deadline, self.sink.send_all(piece)).await?;
        }
        let mut skip = answer.sent;
        for slice in &answer.slices {
            let start = skip.min(slice.len());
            skip -= start;
            match slice.fd().filter(|_| self.sink.takes_files(self.zero_copy)) {
                Some((file, position)) => self.send_file(file, position, start..slice.len(), deadline).await?,
                None => self.copy(slice, start, deadline).await?,
            }
        }
        Ok(())
    }

    async fn send_file(
        &self,
        file: BorrowedFd<'_>,
        position: u64,
        bytes: Range<usize>,
        deadline: Duration,
    ) -> io::Result<()> {
        let mut sent = bytes.start;
        while sent < bytes.end {
            let rest = SENDFILE_PIECE.min(bytes.end - sent);
            sent += whole(in_time(deadline, self.sink.send_file(file, position + sent as u64, rest)).await?)?;
        }
        Ok(())
    }

    async fn copy(&self, slice: &Slice, start: usize, deadline: Duration) -> io::Result<()> {
        let mut sent = start;
        while sent < slice.len() {
            sent += if self.sink.sends_at_once() {
                in_time(deadline, self.sink.ready()).await?;
                PIECE.with_borrow_mut(|piece| self.sink.try_send(read_piece(slice, sent, piece)?))?
            } else {
                let mut piece = Vec::new();
                let length = read_piece(slice, sent, &mut piece)?.len();
                in_time(deadline, self.sink.send_all(&piece[..length])).await?;
                length
            };
        }
        Ok(())
    }
}

/// Reads what comes after the first `sent` bytes of a slice.
fn read_piece<'a>(slice: &Slice, sent: usize, piece: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
    let wanted = COPY_PIECE.min(slice.len() - sent);
    if piece.len() < wanted {
        piece.resize(wanted, 0);
    }
    let read = whole(slice.read_into(&mut piece[..wanted], sent).map_err(io::Error::other)?)?;
    Ok(&piece[..read])
}

/// The deadline is for each piece: a slow reader may take its time, one that stopped may not.
async fn in_time<T>(deadline: Duration, sending: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(deadline, sending).await {
        Ok(sent) => sent,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read its answers")),
    }
}

/// A file that ends early was truncated under us. The head promised more, so only closing is honest.
fn whole(bytes: usize) -> io::Result<usize> {
    if bytes == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}
