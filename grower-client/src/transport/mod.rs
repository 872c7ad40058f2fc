//! How a client reaches a broker: over TCP, inside the process, or however a test likes.

pub mod contract;

use async_trait::async_trait;
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Both directions of a byte stream to one broker.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + ?Sized> Connection for T {}

/// Opens connections to brokers. [`contract::check`] tests an implementation.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Connects to `address`, as it was given at bootstrap or as a broker advertises it (`host:port`).
    ///
    /// Each call opens a connection of its own. The client sets the time limit, so this may wait for as long as it takes.
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Connection>>;
}

/// TCP with Nagle's delay switched off.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

#[async_trait]
impl Transport for Tcp {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Connection>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

/// A transport made of a closure; see [`in_process`].
#[derive(Clone, Copy, Debug)]
pub struct FnTransport<F>(F);

/// Connections to a broker in the same process: `in_process(broker.connector())`. Addresses mean nothing to it.
pub const fn in_process<F, C>(connect: F) -> FnTransport<F>
where
    F: Fn() -> C + Send + Sync,
    C: Connection + 'static,
{
    FnTransport(connect)
}

#[async_trait]
impl<F, C> Transport for FnTransport<F>
where
    F: Fn() -> C + Send + Sync,
    C: Connection + 'static,
{
    async fn connect(&self, _address: &str) -> io::Result<Box<dyn Connection>> {
        Ok(Box::new((self.0)()))
    }
}
