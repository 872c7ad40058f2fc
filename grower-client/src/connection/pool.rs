//! One connection to each broker, for one purpose: control, the small batches of all producers of a client, the batches of
//! one producer that sends much, one consumer's fetches.
//!
//! Purposes do not share connections, so that a heartbeat never waits behind a megabyte of records, nor does another
//! producer's small record. Small batches do share one: what is asked together is written, read and answered together, and
//! fifty producers cost little more than one.

use super::{BrokerConnection, Dialer};
use crate::backoff;
use crate::error::ConnectError;
use crate::single_flight::SingleFlight;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::time::{Instant, sleep_until};

/// The connections of one purpose.
pub(crate) struct ConnectionPool {
    dialer: Arc<Dialer>,
    entries: Mutex<HashMap<Arc<str>, Arc<PoolEntry>>>,
}

/// The connection to one address, if there is one.
#[derive(Default)]
struct PoolEntry {
    connection: Mutex<Option<BrokerConnection>>,
    attempts: Mutex<DialAttempts>,
    /// Many who wait cause one attempt, and learn together that it failed.
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

    /// The connection to `address`, if it is open now.
    pub(crate) fn open_connection(&self, address: &str) -> Option<BrokerConnection> {
        let entry = self.entries.lock().get(address).cloned()?;
        entry.current()
    }

    /// The connection to `address`; dials if there is none, but not before the backoff of earlier failures is over.
    pub(crate) async fn connect(&self, address: &Arc<str>) -> Result<BrokerConnection, ConnectError> {
        let entry = self.entries.lock().entry(address.clone()).or_default().clone();
        if let Some(connection) = entry.current() {
            return Ok(connection);
        }
        entry.dialing.run(self.dial(&entry, address)).await
    }

    async fn dial(&self, entry: &PoolEntry, address: &Arc<str>) -> Result<BrokerConnection, ConnectError> {
        if let Some(connection) = entry.current() {
            return Ok(connection); // Of the attempt before.
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
    /// A broker that accepts and hangs up at once is not dialed in a tight loop either.
    fn succeeded(&mut self, now: Instant) {
        *self = Self { failures: 0, not_before: Some(now + backoff::jittered(1)) };
    }

    fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + backoff::jittered(self.failures));
    }
}

impl PoolEntry {
    fn current(&self) -> Option<BrokerConnection> {
        self.connection.lock().clone().filter(BrokerConnection::is_open)
    }
}
