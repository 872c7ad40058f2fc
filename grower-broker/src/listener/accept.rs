//! The data port: accepts sockets for as long as the broker lives. No error of one connection, and none of accepting, ends it.

use super::refusal::Refusals;
use super::{ConnectionLimits, ConnectionPlace, Stream, run};
use crate::api::Api;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

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

/// Accepts until `stop`; each connection runs as a task of its own, once the budget has its share. Until then further
/// ones wait to be accepted. Those beyond the limit are told so.
pub(crate) async fn serve(
    listener: Listener,
    api: Arc<Api>,
    limits: Arc<ConnectionLimits>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let mut refusals = Refusals::new(&limits);
    loop {
        let accepted = tokio::select! {
            accepted = listener.socket.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Ok(place) = room.clone().try_acquire_owned() else {
                    api.health.metrics().connection_refused();
                    tracing::warn!(%peer, limit = limits.connections_max, "connection refused: there are too many");
                    refusals.refuse(stream, &tasks);
                    continue;
                };
                let share = tokio::select! {
                    share = limits.memory.connection() => share,
                    () = stop.cancelled() => return,
                };
                let (api, limits, stop) = (api.clone(), limits.clone(), stop.clone());
                let place = ConnectionPlace { share, place: Some(place) };
                tasks.spawn(async move { run(prepared(stream), place, api, limits, stop).await });
            }
            Err(error) => {
                // Out of descriptors, most likely: others will be closed, so wait a little instead of spinning.
                tracing::warn!(%error, "cannot accept a connection");
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
