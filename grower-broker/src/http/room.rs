//! Which HTTP connections are open, and which one has to leave for a newcomer.
//!
//! Everybody is accepted at once, so that a probe of the broker's health never waits behind connections that say
//! nothing. Where there are too many, the one on which no byte moved for the longest time is closed.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

/// A connection on which no byte moved for this long gives its descriptor back where there are no more.
const SILENCE: Duration = Duration::from_secs(1);

/// The open connections, at most `most`.
pub(super) struct Room {
    most: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    connections: BTreeMap<u64, Arc<Connection>>,
}

struct Connection {
    last_byte: Mutex<Instant>,
    evicted: CancellationToken,
}

/// One connection's place in the room. Dropping it gives the place back.
pub(super) struct Place {
    room: Arc<Room>,
    id: u64,
    connection: Arc<Connection>,
}

impl Room {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, open: Mutex::default() })
    }

    /// Takes a place for a new connection, and another one's if all are taken.
    pub(super) fn enter(self: &Arc<Self>, now: Instant) -> Place {
        let connection = Arc::new(Connection { last_byte: Mutex::new(now), evicted: CancellationToken::new() });
        let mut open = self.open.lock();
        while self.most <= open.connections.len() && open.evict_most_silent(|_| true) {}
        let id = open.next;
        open.next += 1;
        open.connections.insert(id, connection.clone());
        Place { room: self.clone(), id, connection }
    }

    /// Closes the most silent connection, as its descriptor is needed, but none on which a byte moved within a second:
    /// it may be about to get its answer. `false` if there is none to close.
    pub(super) fn evict_silent(&self, now: Instant) -> bool {
        self.open.lock().evict_most_silent(|last_byte| SILENCE <= now - last_byte)
    }
}

impl Open {
    fn evict_most_silent(&mut self, may_go: impl Fn(Instant) -> bool) -> bool {
        let by_last_byte = self.connections.iter().map(|(id, connection)| (*connection.last_byte.lock(), *id));
        let Some((_, id)) = by_last_byte.min().filter(|(last_byte, _)| may_go(*last_byte)) else { return false };
        let evicted = self.connections.remove(&id).expect("it was just found");
        evicted.evicted.cancel();
        true
    }
}

impl Place {
    /// Notes the time of each byte that moves on `stream`.
    pub(super) fn watch<S>(&self, stream: S) -> Watched<S> {
        Watched { stream, connection: self.connection.clone() }
    }

    /// Returns once the place was given to another connection.
    pub(super) async fn evicted(&self) {
        self.connection.evicted.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.open.lock().connections.remove(&self.id);
    }
}

/// A stream that tells its connection when bytes move.
pub(super) struct Watched<S> {
    stream: S,
    connection: Arc<Connection>,
}

impl<S> Watched<S> {
    fn moved(&self) {
        *self.connection.last_byte.lock() = Instant::now();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if before < into.filled().len() {
            self.moved();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.moved();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn is_evicted(place: &Place) -> bool {
        place.connection.evicted.is_cancelled()
    }

    #[tokio::test]
    async fn the_most_silent_connection_leaves_for_a_newcomer() {
        let room = Room::new(2);
        let start = Instant::now() - Duration::from_secs(60);
        let (read, written) = (room.enter(start), room.enter(start));
        let (mut ours, mut theirs) = tokio::io::duplex(8);
        let mut stream = read.watch(&mut theirs);
        ours.write_all(b"x").await.unwrap();
        stream.read_u8().await.unwrap();
        let third = room.enter(start);
        assert!(is_evicted(&written) && !is_evicted(&read));

        drop(third); // Its place is free, so the next connection takes nobody's.
        let fourth = room.enter(start);
        assert!(!is_evicted(&read));
        fourth.watch(&mut ours).write_u8(b'x').await.unwrap();
        room.enter(Instant::now());
        assert!(is_evicted(&read) && !is_evicted(&fourth));
    }

    #[test]
    fn the_place_of_an_evicted_connection_is_given_back_once() {
        let room = Room::new(1);
        let now = Instant::now();
        let first = room.enter(now);
        let second = room.enter(now);
        drop(first); // It must not take the second one's place with it.
        assert!(room.evict_silent(now + SILENCE) && is_evicted(&second));
        assert!(!room.evict_silent(now + SILENCE));
    }

    #[test]
    fn a_connection_that_is_not_silent_keeps_its_descriptor() {
        let room = Room::new(1);
        let now = Instant::now();
        let place = room.enter(now);
        assert!(!room.evict_silent(now + SILENCE / 2) && !is_evicted(&place));
    }
}
