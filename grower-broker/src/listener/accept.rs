//! The data port: accepts sockets until the broker stops. No error of a connection, or of accepting one, ends it.

use super::refusal::Refusals;
use super::{ConnectionLimits, ConnectionShare, Stream, run};
use crate::api::Api;
use crate::background::Tasks;
use crate::log_pace::LogPace;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// A bound port.
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Listener {
    pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }
}

/// Accepts until `stop`. Each connection runs as a task of its own once the budget has its share; until then further
/// ones wait to be accepted. Connections beyond the limit are told so.
pub(crate) async fn serve(
    listener: Listener,
    api: Arc<Api>,
    limits: Arc<ConnectionLimits>,
    tasks: Tasks,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let mut refusals = Refusals::new(&limits);
    let (refused, failed) = (LogPace::new(), LogPace::new());
    loop {
        let accepted = tokio::select! {
            accepted = listener.socket.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Ok(slot) = slots.clone().try_acquire_owned() else {
                    api.state().health.metrics().connection_refused();
                    if let Some(left_out) = refused.admit() {
                        let limit = limits.connections_max;
                        tracing::warn!(%peer, limit, left_out, "connection refused: the limit of connections is reached");
                    }
                    refusals.refuse(stream, &tasks);
                    continue;
                };
                if !limits.http_descriptors.refill() || limits.open_files.is_reserve_low() {
                    api.state().health.metrics().connection_refused();
                    if let Some(left_out) = refused.admit() {
                        tracing::warn!(%peer, left_out, "connection refused: files and HTTP need the last descriptors (LimitNOFILE)");
                    }
                    continue; // An answer would keep its descriptor.
                }
                let memory = tokio::select! {
                    memory = limits.memory.connection() => memory,
                    () = stop.cancelled() => return,
                };
                let (api, limits, stop) = (api.clone(), limits.clone(), stop.clone());
                let share = ConnectionShare { memory, slot: Some(slot) };
                tasks.spawn("a connection", async move { run(prepared(stream), share, api, limits, stop).await });
            }
            Err(error) => {
                // Most likely out of descriptors: other files get closed, so wait a little instead of spinning.
                if let Some(left_out) = failed.admit() {
                    tracing::warn!(%error, left_out, "cannot accept a connection");
                }
                if limits.open_files.close_one() {
                    continue;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn prepared(stream: TcpStream) -> Stream {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    Stream::Tcp(stream)
}
