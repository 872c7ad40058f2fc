//! The open HTTP connections, and which of them is closed for a new one.
//!
//! Every connection is accepted at once, so that a health probe never waits behind silent connections. At the limit the
//! connection on which no byte moved for the longest time is closed.

use crate::clock::Clock;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

/// A connection on which no byte moved for this long is closed when the process runs out of descriptors.
const SILENCE: Duration = Duration::from_secs(1);

/// The open connections, at most `connections_max`.
pub(super) struct HttpConnections {
    connections_max: usize,
    clock: Arc<dyn Clock>,
    open: Mutex<OpenConnections>,
}

#[derive(Default)]
struct OpenConnections {
    next: u64,
    connections: BTreeMap<u64, Arc<ConnectionActivity>>,
}

struct ConnectionActivity {
    clock: Arc<dyn Clock>,
    /// When a byte moved, on the monotonic clock.
    last_byte: Mutex<Duration>,
    evicted: CancellationToken,
}

/// One open connection. Dropping it makes room for another one.
pub(super) struct HttpConnection {
    connections: Arc<HttpConnections>,
    id: u64,
    connection: Arc<ConnectionActivity>,
}

impl HttpConnections {
    pub(super) fn new(connections_max: usize, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { connections_max, clock, open: Mutex::default() })
    }

    /// Adds a new connection; at the limit the most silent one is closed.
    pub(super) fn add(self: &Arc<Self>) -> HttpConnection {
        let (clock, last_byte) = (self.clock.clone(), Mutex::new(self.clock.monotonic()));
        let connection = Arc::new(ConnectionActivity { clock, last_byte, evicted: CancellationToken::new() });
        let mut open = self.open.lock();
        while self.connections_max <= open.connections.len() && open.evict_most_silent(|_| true) {}
        let id = open.next;
        open.next += 1;
        open.connections.insert(id, connection.clone());
        HttpConnection { connections: self.clone(), id, connection }
    }

    /// Closes the most silent connection to free its descriptor. Spares those on which a byte moved within a second:
    /// their answers may be under way. `false` if there is none to close.
    pub(super) fn evict_silent(&self) -> bool {
        let now = self.clock.monotonic();
        self.open.lock().evict_most_silent(|last_byte| SILENCE <= now.saturating_sub(last_byte))
    }
}

impl OpenConnections {
    fn evict_most_silent(&mut self, may_go: impl Fn(Duration) -> bool) -> bool {
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
        *self.connection.last_byte.lock() = self.connection.clock.monotonic();
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
    use crate::clock::Calendar;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn connections(connections_max: usize) -> (Arc<HttpConnections>, Arc<Calendar>) {
        let calendar = Arc::new(Calendar::default());
        (HttpConnections::new(connections_max, calendar.clone()), calendar)
    }

    fn is_evicted(connection: &HttpConnection) -> bool {
        connection.connection.evicted.is_cancelled()
    }

    #[tokio::test]
    async fn a_new_connection_closes_the_most_silent_one() {
        let (connections, calendar) = connections(2);
        let (read, written) = (connections.add(), connections.add());
        calendar.pass(60_000);
        let (mut ours, mut theirs) = tokio::io::duplex(8);
        let mut stream = read.watch(&mut theirs);
        ours.write_all(b"x").await.unwrap();
        stream.read_u8().await.unwrap();
        let third = connections.add();
        assert!(is_evicted(&written) && !is_evicted(&read));

        drop(third); // Its slot is free, so the next connection closes no other.
        let fourth = connections.add();
        assert!(!is_evicted(&read));
        calendar.pass(1);
        fourth.watch(&mut ours).write_u8(b'x').await.unwrap();
        connections.add();
        assert!(is_evicted(&read) && !is_evicted(&fourth));
    }

    #[test]
    fn the_slot_of_a_closed_connection_is_freed_once() {
        let (connections, calendar) = connections(1);
        let first = connections.add();
        let second = connections.add();
        drop(first); // The slot of the second connection stays taken.
        calendar.pass(1_000);
        assert!(connections.evict_silent() && is_evicted(&second));
        assert!(!connections.evict_silent());
    }

    #[test]
    fn a_connection_that_is_not_silent_keeps_its_descriptor() {
        let (connections, calendar) = connections(1);
        let connection = connections.add();
        calendar.pass(500);
        assert!(!connections.evict_silent() && !is_evicted(&connection));
    }
}
