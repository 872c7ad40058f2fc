//! Connections whose bytes wait until a test lets them pass, like those of a stopped process.
//!
//! A stopped process has its sockets still: a peer connects, writes and closes, and the bytes arrive after the stop, also
//! those of connections that the peer has given up.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use bytes::{Bytes, BytesMut};
use grower_client::transport::{self, Connection, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

/// Stops and resumes connections, by direction and age. Clones share the state.
#[derive(Clone)]
pub(crate) struct Stall(watch::Sender<Held>);

/// The connections that are held, and how many were opened. Connections are numbered from 0.
#[derive(Clone, Copy, Default)]
struct Held {
    opened: u64,
    /// Requests wait in connections before this number.
    requests_before: u64,
    /// Answers wait in connections before this number.
    answers_before: u64,
}

impl Stall {
    /// Everything passes at first.
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Held::default()))
    }

    /// Holds requests, also those of connections opened later: a stopped broker.
    pub(crate) fn hold_requests(&self) {
        self.0.send_modify(|held| held.requests_before = u64::MAX);
    }

    /// Holds answers, also those of connections opened later: requests are carried out, and nothing is heard of it.
    pub(crate) fn hold_answers(&self) {
        self.0.send_modify(|held| held.answers_before = u64::MAX);
    }

    /// Lets connections pass that are opened from now on, while those opened so far remain held.
    pub(crate) fn pass_new(&self) {
        self.0.send_modify(|held| {
            held.requests_before = held.requests_before.min(held.opened);
            held.answers_before = held.answers_before.min(held.opened);
        });
    }

    /// Lets everything pass. Held bytes arrive, whether or not their connection is still open.
    pub(crate) fn release(&self) {
        self.0.send_modify(|held| (held.requests_before, held.answers_before) = (0, 0));
    }

    /// The number of connections opened so far.
    pub(crate) fn opened(&self) -> u64 {
        self.0.borrow().opened
    }

    /// Connects to a broker through this stall.
    pub(crate) fn transport<C: Connection + 'static>(
        &self,
        connect: impl Fn() -> C + Send + Sync + 'static,
    ) -> impl Transport + 'static {
        let stall = self.clone();
        transport::in_process(move || stall.connect(connect()))
    }

    fn connect(&self, broker: impl Connection + 'static) -> DuplexStream {
        let (near, far) = duplex(1 << 16);
        let (mut number, (from_client, to_client), (from_broker, to_broker)) = (0, split(far), split(broker));
        self.0.send_modify(|held| {
            number = held.opened;
            held.opened += 1;
        });
        let (requests, answers) = (self.0.subscribe(), self.0.subscribe());
        pump(from_client, to_broker, requests, move |held| held.requests_before <= number);
        pump(from_broker, to_client, answers, move |held| held.answers_before <= number);
        near
    }
}

/// Carries bytes in one direction. The writer never waits, and may be gone when its bytes arrive.
fn pump<R: Connection + 'static, W: Connection + 'static>(
    from: ReadHalf<R>,
    to: WriteHalf<W>,
    held: watch::Receiver<Held>,
    passes: impl Fn(&Held) -> bool + Send + Sync + 'static,
) {
    let (buffer, buffered) = unbounded_channel();
    tokio::spawn(read(from, buffer));
    tokio::spawn(write(buffered, to, held, passes));
}

async fn read(mut from: ReadHalf<impl Connection>, buffer: UnboundedSender<Bytes>) {
    let mut bytes = BytesMut::new();
    while from.read_buf(&mut bytes).await.is_ok_and(|read| 0 < read) {
        if buffer.send(bytes.split().freeze()).is_err() {
            return;
        }
    }
}

async fn write(
    mut buffered: UnboundedReceiver<Bytes>,
    mut to: WriteHalf<impl Connection>,
    mut held: watch::Receiver<Held>,
    passes: impl Fn(&Held) -> bool + Sync,
) {
    while let Some(bytes) = buffered.recv().await {
        if held.wait_for(&passes).await.is_err() || to.write_all(&bytes).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
