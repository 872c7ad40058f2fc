//! Health and metrics over HTTP: `/healthz`, `/readyz`, `/metrics`.
//!
//! A thread of its own serves them: a broker busy with records still answers health probes, and scrapers cost producers
//! and readers nothing. No request changes the broker. Headers and time of a connection are bounded, and a client that
//! exceeds the bounds is disconnected. A new connection is always accepted: [`connections`] decides which one is closed
//! for it. Only requests that name this server in their `Host` header are answered.

mod connections;
mod exposition;
mod server_names;
mod status;

pub use server_names::ServerNames;
pub(crate) use status::{Phase, Status};

use crate::background;
use crate::clock::Clock;
use crate::descriptors::HttpDescriptors;
use crate::health::Health;
use crate::log_pace::LogPace;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use connections::{HttpConnection, HttpConnections};
use exposition::Format;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::io::Errno;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The state of the broker that HTTP reports. Reasons are for people.
pub(crate) trait Probe: Send + Sync + 'static {
    /// An error once only a restart helps.
    fn alive(&self) -> Result<(), String>;

    /// An error while clients should use another broker.
    fn ready(&self) -> Result<(), String>;

    /// All metrics, in OpenMetrics text.
    fn metrics(&self) -> String;
}

/// The bounds of the server.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Connections at a time; one more closes the most silent one.
    connections: usize,
    /// Time for the head of a request, from the end of the answer before it.
    head_time: Duration,
    /// Lines in the head of a request.
    head_lines: usize,
    /// Bytes of the head of a request.
    head_bytes: usize,
    /// Time for a connection. It is closed then, after the answer under way or after [`LAST_ANSWER_TIME`].
    connection_time: Duration,
}

const BOUNDS: Bounds = Bounds {
    connections: 64,
    head_time: Duration::from_secs(10),
    head_lines: 64,
    head_bytes: 16 * 1024,
    connection_time: Duration::from_secs(300),
};

/// Time for the answer under way once its connection is to close.
const LAST_ANSWER_TIME: Duration = Duration::from_secs(5);

/// The running server. Dropping it stops it.
pub(crate) struct Http {
    address: SocketAddr,
    stop: CancellationToken,
}

impl Http {
    /// Binds `address` and serves from then on.
    pub(crate) fn start(
        address: SocketAddr,
        names: ServerNames,
        probe: Arc<dyn Probe>,
        descriptors: Arc<HttpDescriptors>,
        clock: Arc<dyn Clock>,
        health: &Health,
    ) -> io::Result<Self> {
        Self::start_bounded(address, routes(probe, names), BOUNDS, descriptors, clock, health)
    }

    fn start_bounded(
        address: SocketAddr,
        routes: Router,
        bounds: Bounds,
        descriptors: Arc<HttpDescriptors>,
        clock: Arc<dyn Clock>,
        health: &Health,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        background::thread("grower-http", health, move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, routes, bounds, &descriptors, clock) => {}
                    () = stopped.cancelled() => {}
                }
            });
        })?;
        Ok(Self { address, stop })
    }

    /// The address that it serves.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn routes(probe: Arc<dyn Probe>, server_names: ServerNames) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .fallback(|| async { (StatusCode::NOT_FOUND, "the paths are /healthz, /readyz and /metrics\n") })
        .with_state(probe)
        .layer(axum::middleware::from_fn_with_state(server_names, server_names::check))
}

async fn healthz(State(probe): State<Arc<dyn Probe>>) -> Response {
    verdict(probe.alive())
}

async fn readyz(State(probe): State<Arc<dyn Probe>>) -> Response {
    verdict(probe.alive().and_then(|()| probe.ready()))
}

fn verdict(well: Result<(), String>) -> Response {
    match well {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn metrics(State(probe): State<Arc<dyn Probe>>, headers: HeaderMap) -> Response {
    let accepted: Vec<_> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let format = Format::accepted(&accepted.join(","));
    ([(header::CONTENT_TYPE, format.content_type())], format.print(probe.metrics())).into_response()
}

/// Accepts until the server is stopped. No error of a connection, or of accepting one, ends it.
async fn serve(
    listener: TcpListener,
    routes: Router,
    bounds: Bounds,
    descriptors: &HttpDescriptors,
    clock: Arc<dyn Clock>,
) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot serve HTTP"),
    };
    let connections = HttpConnections::new(bounds.connections, clock);
    let failed = LogPace::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve_connection(stream, connections.add(), routes.clone(), bounds));
                descriptors.refill();
            }
            // At once: other threads want the descriptor, too.
            Err(error) if is_out_of_descriptors(&error) && descriptors.lend() => {}
            Err(error) => {
                // Most likely out of descriptors. One is freed here or elsewhere, so wait instead of spinning.
                connections.evict_silent();
                if let Some(left_out) = failed.admit() {
                    tracing::warn!(%error, left_out, "cannot accept an HTTP connection");
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
                descriptors.refill();
            }
        }
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE))
}

async fn serve_connection(stream: tokio::net::TcpStream, opened: HttpConnection, routes: Router, bounds: Bounds) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new()) // Without a timer the timeout for the head is off.
        .header_read_timeout(bounds.head_time)
        .max_headers(bounds.head_lines)
        .max_buf_size(bounds.head_bytes)
        .serve_connection(TokioIo::new(opened.watch(stream)), TowerToHyperService::new(routes));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = opened.evicted() => return,
        () = tokio::time::sleep(bounds.connection_time) => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(LAST_ANSWER_TIME, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "HTTP connection closed");
    }
}

#[cfg(test)]
mod tests;
