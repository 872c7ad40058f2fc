//! Keeps one connection to each broker for one purpose: control requests, the small batches of all producers of a
//! client, the batches of one bulk producer, or the fetches of one consumer.
//!
//! Purposes do not share connections, so a heartbeat or a small record never waits behind a megabyte of records. Small
//! batches do share a connection: they are written, read and answered together, and fifty producers cost little more
//! than one.

use super::{BrokerConnection, Dialer};
use crate::backoff;
use crate::error::ConnectError;
use crate::single_flight::SingleFlight;
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
    /// Concurrent callers share one attempt and its outcome.
    dialing: SingleFlight<Result<BrokerConnection, ConnectError>>,
}

#[derive(Default)]
struct DialAttempts {
    failures: u32,
    not_before: Option<Instant>,
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
    pub(crate) async fn connect(&self, address: &Arc<str>) -> Result<BrokerConnection, ConnectError> {
        let entry = self.entries.lock().entry(address.clone()).or_default().clone();
        if let Some(connection) = entry.current() {
            return Ok(connection);
        }
        entry.dialing.run(self.boxed_dial(&entry, address)).await
    }

    /// Boxed, so that this crate compiles its code once, and not each crate that awaits a connection.
    fn boxed_dial<'a>(
        &'a self,
        entry: &'a PoolEntry,
        address: &'a Arc<str>,
    ) -> BoxFuture<'a, Result<BrokerConnection, ConnectError>> {
        Box::pin(self.dial(entry, address))
    }

    #[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
    async fn dial(&self, entry: &PoolEntry, address: &Arc<str>) -> Result<BrokerConnection, ConnectError> {
        if let Some(connection) = entry.current() {
            return Ok(connection); // The previous attempt opened it.
        }
        let not_before = entry.attempts.lock().not_before;
        if let Some(not_before) = not_before {
            sleep_until(not_before).await;
        }
        let result = self.dialer.dial(address).await;
        match &result {
            Ok(connection) => {
                entry.attempts.lock().succeeded(Instant::now());
                *entry.connection.lock() = Some(connection.clone());
            }
            Err(_) => entry.attempts.lock().failed(Instant::now()),
        }
        result
    }
}

impl DialAttempts {
    /// Sets a backoff too, so that a broker that accepts and closes at once is not dialed in a tight loop.
    fn succeeded(&mut self, now: Instant) {
        *self = Self { failures: 0, not_before: Some(now + backoff::delay(1, backoff::random())) };
    }

    fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + backoff::delay(self.failures, backoff::random()));
    }
}

impl PoolEntry {
    fn current(&self) -> Option<BrokerConnection> {
        self.connection.lock().clone().filter(BrokerConnection::is_open)
    }
}
