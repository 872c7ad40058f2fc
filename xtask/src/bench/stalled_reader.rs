//! Connections that stop reading after their first bytes, so that later data stays with the sender.

use async_trait::async_trait;
use grower_client::transport::{Connection, Tcp, Transport};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Opens connections that stop reading.
#[derive(Clone, Default)]
pub(crate) struct StalledTransport(Arc<Mutex<Vec<Weak<StalledStream>>>>);

/// The stream of one connection until it is closed, and the waker of its reader.
type StalledStream = Mutex<(Option<Box<dyn Connection>>, Option<Waker>)>;

impl StalledTransport {
    /// Closes all connections, as if the process had ended.
    pub(crate) fn close_all(&self) {
        for line in lock(&self.0).drain(..).filter_map(|line| line.upgrade()) {
            let (stream, waiting) = std::mem::take(&mut *lock(&line));
            drop(stream);
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Transport for StalledTransport {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Connection>> {
        let line = Arc::new(StalledStream::new((Some(Tcp.connect(address).await?), None)));
        lock(&self.0).push(Arc::downgrade(&line));
        Ok(Box::new(StalledConnection { line, left: 64 << 10 }))
    }
}

struct StalledConnection {
    line: Arc<StalledStream>,
    left: usize,
}

impl StalledConnection {
    fn poll<T>(&self, poll: impl FnOnce(Pin<&mut dyn Connection>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &mut lock(&self.line).0 {
            Some(stream) => poll(Pin::new(&mut **stream)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncRead for StalledConnection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = into.remaining().min(self.left);
        let read = self.poll(|stream| {
            if room == 0 {
                return Poll::Pending; // Until the connection is closed.
            }
            let mut some = ReadBuf::new(into.initialize_unfilled_to(room));
            stream.poll_read(cx, &mut some).map_ok(|()| some.filled().len())
        });
        if read.is_pending() {
            lock(&self.line).1 = Some(cx.waker().clone());
        }
        read.map_ok(|heard| {
            into.advance(heard);
            self.left -= heard;
        })
    }
}

impl AsyncWrite for StalledConnection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(|stream| stream.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_shutdown(cx))
    }
}
