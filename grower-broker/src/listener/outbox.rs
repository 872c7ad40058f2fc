//! Answers on their way out of one connection.
//!
//! Whoever finishes a request sends its answer: the connection's own task, a flusher thread, a task that waited for
//! records. If nothing is queued the bytes go straight to the socket, without waking anybody; what does not fit
//! waits for the writer task. Every answer holds a [`Permit`] until it is sent, and there are only so many: a peer
//! that never reads its answers is soon no longer read from.

use super::stream::Sink;
use crate::config::ZeroCopy;
use bytes::Bytes;
use grower_storage::log::Slice;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit};

/// The right to have one request in work; given back when its answer is sent or the request needs none.
pub(crate) type Permit = OwnedSemaphorePermit;

/// File slices are read and sent in pieces of this size.
const COPY_PIECE: usize = 256 * 1024;
/// What one `sendfile` may send: a cold page blocks the thread, so not too much at a time.
const SENDFILE_PIECE: usize = 1 << 20;

/// One answer: bytes, then slices of log files exactly as they are stored.
pub(crate) struct Answer {
    pub(crate) head: Bytes,
    pub(crate) slices: Vec<Slice>,
    /// Given back when this is dropped, which is after it was sent.
    #[expect(dead_code, reason = "held for their drop")]
    pub(crate) permits: Vec<Permit>,
}

/// The sending side of a connection.
pub(crate) struct Outbox {
    sink: Sink,
    zero_copy: ZeroCopy,
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
    pub(crate) fn new(sink: Sink, zero_copy: ZeroCopy) -> Self {
        Self { sink, zero_copy, queue: Mutex::default(), wake: Notify::new() }
    }

    /// Sends an answer, now if the socket takes it. Does nothing once the connection is closed.
    pub(crate) fn send(&self, mut answer: Answer) {
        let mut queue = self.queue.lock();
        if queue.closed {
            return;
        }
        if queue.answers.is_empty() && !queue.writing {
            match self.sink.try_send(&answer.head) {
                Ok(sent) => drop(answer.head.split_to(sent)),
                Err(_) => {
                    self.close_locked(&mut queue);
                    return;
                }
            }
            if answer.head.is_empty() && answer.slices.is_empty() {
                return;
            }
        }
        queue.answers.push_back(answer);
        drop(queue);
        self.wake.notify_one();
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
        in_time(deadline, self.sink.send_all(&answer.head)).await?;
        for slice in &answer.slices {
            match slice.fd().filter(|_| self.sink.takes_files(self.zero_copy)) {
                Some((file, position)) => self.send_file(file, position, slice.len(), deadline).await?,
                None => self.copy(slice, deadline).await?,
            }
        }
        Ok(())
    }

    async fn send_file(&self, file: BorrowedFd<'_>, start: u64, length: usize, deadline: Duration) -> io::Result<()> {
        let mut sent = 0;
        while sent < length {
            let rest = SENDFILE_PIECE.min(length - sent);
            sent += whole(in_time(deadline, self.sink.send_file(file, start + sent as u64, rest)).await?)?;
        }
        Ok(())
    }

    async fn copy(&self, slice: &Slice, deadline: Duration) -> io::Result<()> {
        let mut piece = vec![0; COPY_PIECE.min(slice.len())];
        let mut sent = 0;
        while sent < slice.len() {
            let read = whole(slice.read_into(&mut piece, sent).map_err(io::Error::other)?)?;
            in_time(deadline, self.sink.send_all(&piece[..read])).await?;
            sent += read;
        }
        Ok(())
    }
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
