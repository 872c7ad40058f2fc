//! Keeps one connection to each broker for one purpose: control requests, the small batches of all producers of a
//! client, the batches of one bulk producer, or the fetches of one consumer.
//!
//! Purposes do not share connections, so a heartbeat or a small record never waits behind a megabyte of records. Small
//! batches do share a connection: they are written, read and answered together, and fifty producers cost little more
//! than one.
//!
//! All callers that need a connection to one address wait for the same dial and get its outcome. The backoff belongs to
//! the address: the next dial waits for it, however many callers come meanwhile. Each caller leaves at its own deadline
//! without ending the dial.

use super::{BrokerConnection, Dialer};
use crate::backoff;
use crate::deadline::Deadline;
use crate::error::ConnectError;
use crate::single_flight::{AttemptLost, SingleFlight};
use futures_core::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::time::{Instant, sleep_until};

/// The connections of one purpose.
pub(crate) struct ConnectionPool {
    dialer: Arc<Dialer>,
    entries: Mutex<HashMap<Arc<str>, Arc<PoolEntry>>>,
}

/// The connection to one address, if one is open, and the state of dialing.
#[derive(Default)]
struct PoolEntry {
    connection: Mutex<Option<BrokerConnection>>,
    attempts: Mutex<DialAttempts>,
    dialing: SingleFlight<Result<BrokerConnection, ConnectError>>,
}

#[derive(Default)]
struct DialAttempts {
    failures: u32,
    not_before: Option<Instant>,
    /// The error of the last dial, until the next one begins.
    error: Option<ConnectError>,
}

impl ConnectionPool {
    pub(crate) fn new(dialer: Arc<Dialer>) -> Self {
        Self { dialer, entries: Mutex::default() }
    }

    pub(crate) fn dialer(&self) -> &Arc<Dialer> {
        &self.dialer
    }

    /// Returns the connection to `address` if it is open.
    pub(crate) fn open_connection(&self, address: &str) -> Option<BrokerConnection> {
        let entry = self.entries.lock().get(address).cloned()?;
        entry.current()
    }

    /// Returns the connection to `address`; dials if none is open, after the backoff of earlier failures.
    pub(crate) async fn connect(
        &self,
        address: &Arc<str>,
        deadline: Deadline,
    ) -> Result<BrokerConnection, ConnectError> {
        let entry = self.entries.lock().entry(address.clone()).or_default().clone();
        if let Some(connection) = entry.current() {
            return Ok(connection);
        }
        let dialed = entry.dialing.join(|| dial(self.dialer.clone(), entry.clone(), address.clone()));
        match deadline.wait(dialed).await {
            Some(Ok(dialed)) => dialed,
            Some(Err(AttemptLost)) => Err(ConnectError::Aborted { address: address.clone() }),
            None => Err(entry.error_at(address, deadline)),
        }
    }
}

/// Dials after the backoff. The future is boxed and owns what it needs: it runs in a task of its own.
#[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
fn dial(
    dialer: Arc<Dialer>,
    entry: Arc<PoolEntry>,
    address: Arc<str>,
) -> BoxFuture<'static, Result<BrokerConnection, ConnectError>> {
    Box::pin(async move {
        if let Some(connection) = entry.current() {
            return Ok(connection); // The previous dial opened it.
        }
        let not_before = entry.attempts.lock().not_before;
        if let Some(not_before) = not_before {
            sleep_until(not_before).await;
        }
        entry.attempts.lock().error = None;
        let result = dialer.dial(&address).await;
        let mut attempts = entry.attempts.lock();
        match &result {
            Ok(connection) => {
                attempts.succeeded(Instant::now());
                *entry.connection.lock() = Some(connection.clone());
            }
            Err(error) => attempts.failed(error, Instant::now()),
        }
        drop(attempts);
        result
    })
}

impl DialAttempts {
    /// Sets a backoff too, so that a broker that accepts and closes at once is not dialed in a tight loop.
    fn succeeded(&mut self, now: Instant) {
        *self = Self { failures: 0, not_before: Some(now + backoff::delay(1, backoff::random())), error: None };
    }

    fn failed(&mut self, error: &ConnectError, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + backoff::delay(self.failures, backoff::random()));
        self.error = Some(error.clone());
    }
}

impl PoolEntry {
    fn current(&self) -> Option<BrokerConnection> {
        self.connection.lock().clone().filter(BrokerConnection::is_open)
    }

    /// Returns the error of a caller whose deadline has passed: that of the last dial if the next one has not begun.
    fn error_at(&self, address: &Arc<str>, deadline: Deadline) -> ConnectError {
        let last = self.attempts.lock().error.clone();
        last.unwrap_or_else(|| ConnectError::TimedOut { address: address.clone(), after: deadline.limit() })
    }
}
