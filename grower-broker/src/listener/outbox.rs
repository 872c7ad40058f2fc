//! Answers on their way out of one connection.
//!
//! Whoever finishes a request sends its answer: the connection's own task, a flusher thread, a task that waited for
//! records. If nothing is queued the bytes go straight to the socket, without waking anybody; what does not fit
//! waits for the writer task. Every answer holds a [`Permit`] until it is sent, and there are only so many: a peer
//! that never reads its answers is soon no longer read from.

use super::stream::Sink;
use bytes::Bytes;
use grower_storage::log::Slice;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit};

/// The right to have one request in work; given back when its answer is sent or the request needs none.
pub(crate) type Permit = OwnedSemaphorePermit;

/// File slices are read and sent in pieces of this size.
const PIECE: usize = 256 * 1024;

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
    pub(crate) fn new(sink: Sink) -> Self {
        Self { sink, queue: Mutex::default(), wake: Notify::new() }
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
        self.write_bytes(&answer.head, deadline).await?;
        let mut piece = Vec::new();
        for slice in &answer.slices {
            let mut sent = 0;
            while sent < slice.len() {
                piece.resize(PIECE.min(slice.len() - sent), 0);
                let read = slice.read_into(&mut piece, sent).map_err(io::Error::other)?;
                if read == 0 {
                    // Truncated under us: the head promised more, so only closing is honest.
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.write_bytes(&piece[..read], deadline).await?;
                sent += read;
            }
        }
        Ok(())
    }

    /// The deadline is for each piece: a slow reader may take its time, one that stopped may not.
    async fn write_bytes(&self, bytes: &[u8], deadline: Duration) -> io::Result<()> {
        match tokio::time::timeout(deadline, self.sink.send_all(bytes)).await {
            Ok(sent) => sent,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read its answers")),
        }
    }
}
