//! Carries bytes between client and broker: over TCP, inside the process, or by your own implementation.

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
    /// Connects to `address`, a bootstrap address or one that a broker advertises (`host:port`).
    ///
    /// Each call opens a new connection. The client applies the connect timeout, so an implementation needs none.
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Connection>>;
}

/// TCP without Nagle's delay.
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

/// A transport that calls a closure; see [`in_process`].
#[derive(Clone, Copy, Debug)]
pub struct FnTransport<F>(F);

/// Connects to a broker in the same process: `in_process(broker.connector())`. The transport ignores addresses.
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
