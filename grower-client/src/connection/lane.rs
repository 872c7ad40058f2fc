//! One connection to each broker, for one purpose: control, the small batches of all producers of a client, the batches of
//! one producer that sends much, one consumer's fetches.
//!
//! Purposes do not share connections, so that a heartbeat never waits behind a megabyte of records, nor does another
//! producer's small record. Small batches do share one: what is asked together is written, read and answered together, and
//! fifty producers cost little more than one.

use super::{Dialer, Link};
use crate::backoff;
use crate::error::ConnectError;
use crate::single_flight::SingleFlight;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::time::{Instant, sleep_until};

/// The connections of one purpose.
pub(crate) struct Lane {
    dialer: Arc<Dialer>,
    slots: Mutex<HashMap<Arc<str>, Arc<Slot>>>,
}

/// The connection to one address, if there is one.
#[derive(Default)]
struct Slot {
    link: Mutex<Option<Link>>,
    attempts: Mutex<Attempts>,
    /// Many who wait cause one attempt, and learn together that it failed.
    dialing: SingleFlight<Result<Link, ConnectError>>,
}

#[derive(Default)]
struct Attempts {
    failures: u32,
    not_before: Option<Instant>,
}

impl Lane {
    pub(crate) fn new(dialer: Arc<Dialer>) -> Self {
        Self { dialer, slots: Mutex::default() }
    }

    pub(crate) fn dialer(&self) -> &Arc<Dialer> {
        &self.dialer
    }

    /// The link to `address`, if it is open now.
    pub(crate) fn open(&self, address: &str) -> Option<Link> {
        let slot = self.slots.lock().get(address).cloned()?;
        slot.current()
    }

    /// The link to `address`; dials if there is none, but not before the backoff of earlier failures is over.
    pub(crate) async fn link(&self, address: &Arc<str>) -> Result<Link, ConnectError> {
        let slot = self.slots.lock().entry(address.clone()).or_default().clone();
        if let Some(link) = slot.current() {
            return Ok(link);
        }
        slot.dialing.run(self.dial(&slot, address)).await
    }

    async fn dial(&self, slot: &Slot, address: &Arc<str>) -> Result<Link, ConnectError> {
        if let Some(link) = slot.current() {
            return Ok(link); // Of the attempt before.
        }
        let not_before = slot.attempts.lock().not_before;
        if let Some(not_before) = not_before {
            sleep_until(not_before).await;
        }
        let result = self.dialer.dial(address).await;
        match &result {
            Ok(link) => {
                slot.attempts.lock().succeeded(Instant::now());
                *slot.link.lock() = Some(link.clone());
            }
            Err(_) => slot.attempts.lock().failed(Instant::now()),
        }
        result
    }
}

impl Attempts {
    /// A broker that accepts and hangs up at once is not dialed in a tight loop either.
    fn succeeded(&mut self, now: Instant) {
        *self = Self { failures: 0, not_before: Some(now + backoff::jittered(1)) };
    }

    fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + backoff::jittered(self.failures));
    }
}

impl Slot {
    fn current(&self) -> Option<Link> {
        self.link.lock().clone().filter(Link::is_open)
    }
}
