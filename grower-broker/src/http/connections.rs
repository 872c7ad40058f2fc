//! The open HTTP connections, and which of them is closed for a new one.
//!
//! Every connection is accepted at once, so that a health probe never waits behind silent connections. At the limit the
//! connection on which no byte moved for the longest time is closed.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

/// A connection on which no byte moved for this long is closed when the process runs out of descriptors.
const SILENCE: Duration = Duration::from_secs(1);

/// The open connections, at most `connections_max`.
pub(super) struct HttpConnections {
    connections_max: usize,
    open: Mutex<OpenConnections>,
}

#[derive(Default)]
struct OpenConnections {
    next: u64,
    connections: BTreeMap<u64, Arc<ConnectionActivity>>,
}

struct ConnectionActivity {
    last_byte: Mutex<Instant>,
    evicted: CancellationToken,
}

/// One open connection. Dropping it makes room for another one.
pub(super) struct HttpConnection {
    connections: Arc<HttpConnections>,
    id: u64,
    connection: Arc<ConnectionActivity>,
}

impl HttpConnections {
    pub(super) fn new(connections_max: usize) -> Arc<Self> {
        Arc::new(Self { connections_max, open: Mutex::default() })
    }

    /// Adds a new connection; at the limit the most silent one is closed.
    pub(super) fn add(self: &Arc<Self>, now: Instant) -> HttpConnection {
        let connection = Arc::new(ConnectionActivity { last_byte: Mutex::new(now), evicted: CancellationToken::new() });
        let mut open = self.open.lock();
        while self.connections_max <= open.connections.len() && open.evict_most_silent(|_| true) {}
        let id = open.next;
        open.next += 1;
        open.connections.insert(id, connection.clone());
        HttpConnection { connections: self.clone(), id, connection }
    }

    /// Closes the most silent connection to free its descriptor. Spares those on which a byte moved within a second:
    /// their answers may be under way. `false` if there is none to close.
    pub(super) fn evict_silent(&self, now: Instant) -> bool {
        self.open.lock().evict_most_silent(|last_byte| SILENCE <= now - last_byte)
    }
}

impl OpenConnections {
    fn evict_most_silent(&mut self, may_go: impl Fn(Instant) -> bool) -> bool {
        let by_last_byte = self.connections.iter().map(|(id, connection)| (*connection.last_byte.lock(), *id));
        let Some((_, id)) = by_last_byte.min().filter(|(last_byte, _)| may_go(*last_byte)) else { return false };
        let evicted = self.connections.remove(&id).expect("the connection was just found");
        evicted.evicted.cancel();
        true
    }
}

impl HttpConnection {
    /// Notes the time of each byte that moves on `stream`.
    pub(super) fn watch<S>(&self, stream: S) -> WatchedStream<S> {
        WatchedStream { stream, connection: self.connection.clone() }
    }

    /// Returns once the connection has to be closed.
    pub(super) async fn evicted(&self) {
        self.connection.evicted.cancelled().await;
    }
}

impl Drop for HttpConnection {
    fn drop(&mut self) {
        self.connections.open.lock().connections.remove(&self.id);
    }
}

/// A stream that notes when bytes move.
pub(super) struct WatchedStream<S> {
    stream: S,
    connection: Arc<ConnectionActivity>,
}

impl<S> WatchedStream<S> {
    fn moved(&self) {
        *self.connection.last_byte.lock() = Instant::now();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if before < into.filled().len() {
            self.moved();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
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

    fn is_evicted(connection: &HttpConnection) -> bool {
        connection.connection.evicted.is_cancelled()
    }

    #[tokio::test]
    async fn a_new_connection_closes_the_most_silent_one() {
        let connections = HttpConnections::new(2);
        let start = Instant::now() - Duration::from_secs(60);
        let (read, written) = (connections.add(start), connections.add(start));
        let (mut ours, mut theirs) = tokio::io::duplex(8);
        let mut stream = read.watch(&mut theirs);
        ours.write_all(b"x").await.unwrap();
        stream.read_u8().await.unwrap();
        let third = connections.add(start);
        assert!(is_evicted(&written) && !is_evicted(&read));

        drop(third); // Its slot is free, so the next connection closes no other.
        let fourth = connections.add(start);
        assert!(!is_evicted(&read));
        fourth.watch(&mut ours).write_u8(b'x').await.unwrap();
        connections.add(Instant::now());
        assert!(is_evicted(&read) && !is_evicted(&fourth));
    }

    #[test]
    fn the_slot_of_a_closed_connection_is_freed_once() {
        let connections = HttpConnections::new(1);
        let now = Instant::now();
        let first = connections.add(now);
        let second = connections.add(now);
        drop(first); // The slot of the second connection stays taken.
        assert!(connections.evict_silent(now + SILENCE) && is_evicted(&second));
        assert!(!connections.evict_silent(now + SILENCE));
    }

    #[test]
    fn a_connection_that_is_not_silent_keeps_its_descriptor() {
        let connections = HttpConnections::new(1);
        let now = Instant::now();
        let connection = connections.add(now);
        assert!(!connections.evict_silent(now + SILENCE / 2) && !is_evicted(&connection));
    }
}
