//! The two transports of a connection: a socket, or a pipe inside the process.

use crate::config::ZeroCopy;
use bytes::{BufMut, BytesMut};
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, Interest, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Mutex;

/// A connection as it was accepted.
pub(crate) enum Stream {
    Tcp(TcpStream),
    InProcess(DuplexStream),
}

/// Its receiving side.
pub(crate) enum Source {
    Tcp(OwnedReadHalf),
    InProcess(ReadHalf<DuplexStream>),
}

/// Its sending side. Any thread may try; only the writer task waits.
pub(crate) enum Sink {
    Tcp(OwnedWriteHalf),
    InProcess(Mutex<WriteHalf<DuplexStream>>),
}

impl Stream {
    /// The address of the peer; none within the process.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::InProcess(_) => None,
        }
    }

    pub(crate) fn split(self) -> (Source, Sink) {
        match self {
            Self::Tcp(stream) => {
                let (source, sink) = stream.into_split();
                (Source::Tcp(source), Sink::Tcp(sink))
            }
            Self::InProcess(stream) => {
                let (source, sink) = split(stream);
                (Source::InProcess(source), Sink::InProcess(Mutex::new(sink)))
            }
        }
    }
}

impl Source {
    /// Returns when there may be bytes to receive. A pipe cannot tell without receiving.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        match self {
            Self::Tcp(half) => half.readable().await,
            Self::InProcess(_) => Ok(()),
        }
    }

    /// Receives up to `limit` bytes at the end of `into`, within its capacity; 0 means that the other side is done.
    pub(crate) async fn receive(&mut self, into: &mut BytesMut, limit: usize) -> io::Result<usize> {
        let room = (into.capacity() - into.len()).min(limit).max(1);
        match self {
            Self::Tcp(half) => half.read_buf(&mut into.limit(room)).await,
            Self::InProcess(half) => half.read_buf(&mut into.limit(room)).await,
        }
    }
}

impl Sink {
    /// Sends the bytes that can be sent without waiting, and returns how many.
    pub(crate) fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => match half.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                sent => sent,
            },
            Self::InProcess(_) => Ok(0), // A pipe wakes its reader by a task anyway: leave it to the writer.
        }
    }

    /// Returns when bytes can be sent without waiting. A pipe cannot tell without sending.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        match self {
            Self::Tcp(half) => half.writable().await,
            Self::InProcess(_) => Ok(()),
        }
    }

    /// Whether [`Sink::try_send`] can send at all.
    pub(crate) fn sends_at_once(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    /// Waits until bytes can be sent, sends them, and returns how many.
    pub(crate) async fn send_some(&self, bytes: &[u8]) -> io::Result<usize> {
        let half = match self {
            Self::Tcp(half) => half,
            Self::InProcess(half) => return half.lock().await.write(bytes).await,
        };
        loop {
            half.writable().await?;
            match half.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return sent,
            }
        }
    }

    /// Whether bytes go from file to socket inside the kernel. Over loopback copying them is faster.
    pub(crate) fn takes_files(&self, policy: ZeroCopy) -> bool {
        match (self, policy) {
            (Self::InProcess(_), _) | (_, ZeroCopy::Never) => false,
            (Self::Tcp(_), ZeroCopy::Always) => true,
            (Self::Tcp(half), ZeroCopy::Auto) => half.peer_addr().is_ok_and(|peer| !peer.ip().is_loopback()),
        }
    }

    /// Sends up to `length` bytes of a file by `sendfile(2)` and returns how many; 0 at its end.
    pub(crate) async fn send_file(&self, file: BorrowedFd<'_>, position: u64, length: usize) -> io::Result<usize> {
        let Self::Tcp(half) = self else { return Err(io::ErrorKind::Unsupported.into()) };
        let socket: &TcpStream = half.as_ref();
        let sendfile = || Ok(rustix::fs::sendfile(socket, file, Some(&mut position.clone()), length)?);
        socket.async_io(Interest::WRITABLE, sendfile).await
    }
}
