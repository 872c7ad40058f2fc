//! Opens connections: transport, preface and handshake within one time limit.

use super::BrokerConnection;
use crate::error::{ConnectError, ConnectionError};
use crate::events::{ClientEvent, EventSubscribers};
use crate::transport::{Connection, Transport};
use bytes::BytesMut;
use grower_protocol::message::{Feature, Hello, HelloAnswer, Request, Response};
use grower_protocol::wire::{self, Correlation, Frame, FrameDecoder, PREFACE_LENGTH, Preface};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// The settings of all connections of a client.
#[derive(Clone, Debug)]
pub(crate) struct DialerSettings {
    /// The name that the client tells brokers.
    pub(crate) client_id: String,
    /// The time limit for connecting, including the handshake.
    pub(crate) connect_timeout: Duration,
    /// The time limit for an answer.
    pub(crate) request_timeout: Duration,
    /// The size limit for a frame from a broker, in bytes.
    pub(crate) frame_bytes_max: usize,
}

/// Opens connections.
pub(crate) struct Dialer {
    transport: Arc<dyn Transport>,
    pub(crate) events: Arc<EventSubscribers>,
    pub(crate) settings: DialerSettings,
}

impl Dialer {
    pub(crate) fn new(transport: Arc<dyn Transport>, settings: DialerSettings) -> Self {
        Self { transport, events: Arc::default(), settings }
    }

    /// Connects, agrees on a protocol version and exchanges hellos.
    pub(crate) async fn dial(&self, address: &Arc<str>) -> Result<BrokerConnection, ConnectError> {
        let after = self.settings.connect_timeout;
        let silent = |_| ConnectError::Silent { address: address.clone(), after };
        timeout(after, self.open(address)).await.map_err(silent)?
    }

    async fn open(&self, address: &Arc<str>) -> Result<BrokerConnection, ConnectError> {
        let unreachable = |source| ConnectError::Unreachable { address: address.clone(), source: Arc::new(source) };
        let stream = self.transport.connect(address).await.map_err(unreachable)?;
        let mut handshake = Handshake { stream, address, unread: BytesMut::new() };
        let hello = handshake.run(&self.settings).await?;
        tracing::debug!(%address, node = %hello.node, version = hello.version, "connected");
        self.events.tell(|| ClientEvent::Connected { address: address.clone(), node: hello.node });
        let Handshake { stream, unread, .. } = handshake;
        Ok(BrokerConnection::start(stream, unread, address.clone(), hello, &self.settings, &self.events))
    }
}

/// A connection during its handshake.
struct Handshake<'a> {
    stream: Box<dyn Connection>,
    address: &'a Arc<str>,
    unread: BytesMut,
}

impl Handshake<'_> {
    async fn run(&mut self, settings: &DialerSettings) -> Result<HelloAnswer, ConnectError> {
        self.stream.write_all(&opening_bytes(&settings.client_id)).await.map_err(|error| self.broken(error))?;
        self.stream.flush().await.map_err(|error| self.broken(error))?;
        let theirs = Preface::decode(self.preface().await?);
        theirs.and_then(|theirs| Preface::OURS.agree(theirs)).map_err(|e| ConnectError::preface(self.address, e))?;
        let frame = self.first_frame(settings.frame_bytes_max).await?;
        match wire::decode(&frame.message) {
            Ok(Response::Hello(hello)) => Ok(hello),
            Ok(Response::Failed(failure)) => Err(ConnectError::Refused { address: self.address.clone(), failure }),
            Ok(_) => Err(self.unreadable("the answer to the hello is another message".to_owned())),
            Err(error) => Err(self.unreadable(error.to_string())),
        }
    }

    async fn preface(&mut self) -> Result<[u8; PREFACE_LENGTH], ConnectError> {
        while self.unread.len() < PREFACE_LENGTH {
            self.receive().await?;
        }
        let mut preface = [0; PREFACE_LENGTH];
        preface.copy_from_slice(&self.unread.split_to(PREFACE_LENGTH));
        Ok(preface)
    }

    async fn first_frame(&mut self, limit: usize) -> Result<Frame, ConnectError> {
        loop {
            match FrameDecoder::new(limit).next_frame(&mut self.unread) {
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => self.receive().await?,
                Err(source) => return Err(ConnectionError::Frame { address: self.address.clone(), source }.into()),
            }
        }
    }

    async fn receive(&mut self) -> Result<(), ConnectError> {
        match self.stream.read_buf(&mut self.unread).await {
            Ok(0) => Err(ConnectionError::Closed { address: self.address.clone() }.into()),
            Ok(_) => Ok(()),
            Err(error) => Err(self.broken(error)),
        }
    }

    fn broken(&self, error: std::io::Error) -> ConnectError {
        ConnectionError::io(self.address, error).into()
    }

    fn unreadable(&self, reason: String) -> ConnectError {
        ConnectionError::Message { address: self.address.clone(), reason }.into()
    }
}

/// Returns preface and hello in one piece, which saves a round trip.
fn opening_bytes(client_id: &str) -> Vec<u8> {
    let hello = Request::Hello(Hello {
        software: client_id.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        features: Feature::ours(),
    });
    let mut bytes = Preface::OURS.encode().to_vec();
    bytes.extend_from_slice(&wire::encode_frame(Correlation(0), &wire::encode(&hello), 0));
    bytes
}
