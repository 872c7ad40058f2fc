//! Connections beyond the limit: their first request is answered with the reason, then they are closed.
//!
//! A client whose connection is just closed cannot tell a full broker from a broken one. Only a few connections are
//! answered at a time, for a second each. A client asks within a round trip, so a connection that has long been silent
//! is no client: the oldest is closed for the next one.

use super::ConnectionLimits;
use crate::background::Tasks;
use bytes::BytesMut;
use grower_protocol::message::{ErrorCode, Failure, Response};
use grower_protocol::wire::{Correlation, FrameDecoder, PREFACE_LENGTH, Preface, encode, encode_frame};
use std::collections::VecDeque;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::AbortHandle;

/// Connections that are answered at a time.
const AT_ONCE: usize = 64;
/// Time for reading the request and answering it.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Longer than any introduction.
const INTRODUCTION_MAX: usize = 1024;

/// The connections that are being answered, the oldest first.
pub(super) struct Refusals {
    telling: VecDeque<AbortHandle>,
    failure: Failure,
}

impl Refusals {
    pub(super) fn new(limits: &ConnectionLimits) -> Self {
        let detail = format!(
            "the broker takes no more connections than {} (network.max_connections, and five eighths of broker.memory)",
            limits.connections_max
        );
        Self { telling: VecDeque::new(), failure: Failure::new(ErrorCode::TooManyConnections, detail) }
    }

    /// Answers the client.
    pub(super) fn refuse(&mut self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, tasks: &Tasks) {
        self.telling.retain(|told| !told.is_finished());
        if AT_ONCE <= self.telling.len()
            && let Some(oldest) = self.telling.pop_front()
        {
            oldest.abort();
        }
        let failure = self.failure.clone();
        let told = tasks.spawn("a refusal", async move {
            // A client that does not listen needs no reason.
            let _ = tokio::time::timeout(TIMEOUT, tell(stream, failure)).await;
        });
        self.telling.push_back(told.abort_handle());
    }
}

async fn tell(mut stream: impl AsyncRead + AsyncWrite + Unpin, failure: Failure) -> io::Result<()> {
    let Some(correlation) = introduction(&mut stream).await? else { return Ok(()) };
    let mut answer = Preface::OURS.encode().to_vec();
    answer.extend_from_slice(&encode_frame(correlation, &encode(&Response::Failed(failure)), 0));
    stream.write_all(&answer).await?;
    stream.shutdown().await?;
    // Closing with bytes unread would reset the connection, and the answer with it.
    let mut rest = [0; 64];
    while 0 < stream.read(&mut rest).await? {}
    Ok(())
}

/// The correlation id of the first request; `None` if the peer is no client.
async fn introduction(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Correlation>> {
    let mut preface = [0; PREFACE_LENGTH];
    stream.read_exact(&mut preface).await?;
    if Preface::decode(preface).is_err() {
        return Ok(None);
    }
    let mut unread = BytesMut::with_capacity(INTRODUCTION_MAX);
    loop {
        match FrameDecoder::new(INTRODUCTION_MAX).next_frame(&mut unread) {
            Ok(Some(frame)) => return Ok(Some(frame.correlation)),
            Ok(None) if 0 < stream.read_buf(&mut unread).await? => {}
            _ => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grower_protocol::message::{Hello, Request};
    use grower_protocol::wire::decode;

    /// Introduces itself and checks that the answer is `failure`.
    async fn learns(mut client: impl AsyncRead + AsyncWrite + Unpin, failure: Failure) {
        let hello = Hello { software: "test".into(), version: "1".into(), features: Vec::new() };
        let mut greeting = Preface::OURS.encode().to_vec();
        greeting.extend_from_slice(&encode_frame(Correlation(7), &encode(&Request::Hello(hello)), 0));
        client.write_all(&greeting).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        let mut frames = BytesMut::from(&answer[PREFACE_LENGTH..]);
        let frame = FrameDecoder::new(1024).next_frame(&mut frames).unwrap().unwrap();
        assert_eq!(frame.correlation, Correlation(7));
        assert_eq!(decode::<Response>(&frame.message).unwrap(), Response::Failed(failure));
    }

    #[tokio::test]
    async fn a_refused_client_learns_why() {
        let (client, server) = tokio::io::duplex(4096);
        let failure = Failure::new(ErrorCode::TooManyConnections, "full");
        let telling = tokio::spawn(tell(server, failure.clone()));
        learns(client, failure).await;
        telling.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_refused_client_learns_why_although_many_others_are_silent() {
        let failure = Failure::new(ErrorCode::TooManyConnections, "full");
        let (mut refusals, tasks) = (
            Refusals { telling: VecDeque::new(), failure: failure.clone() },
            Tasks::new(crate::health::Health::new(crate::metrics::Metrics::for_test())),
        );
        let mut silent = Vec::new();
        for _ in 0..3 * AT_ONCE {
            let (client, server) = tokio::io::duplex(4096);
            refusals.refuse(server, &tasks);
            silent.push(client);
        }
        let (client, server) = tokio::io::duplex(4096);
        refusals.refuse(server, &tasks);
        learns(client, failure).await;
        assert!(tasks.len() <= AT_ONCE, "{} are being told", tasks.len());
    }

    #[tokio::test]
    async fn a_peer_that_is_no_client_gets_no_answer() {
        for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"GROW\0\x01\0\x01\xff\xff\xff\xff", b"GR"] {
            let (mut client, server) = tokio::io::duplex(4096);
            client.write_all(bytes).await.unwrap();
            client.shutdown().await.unwrap();
            let _ = tell(server, Failure::new(ErrorCode::TooManyConnections, "full")).await;
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            assert!(answer.is_empty(), "{bytes:?}");
        }
    }
}
