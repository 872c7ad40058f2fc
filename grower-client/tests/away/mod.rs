//! A broker that goes away and returns: its connections break, and dials are refused or hang meanwhile.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use grower_client::transport::{Connection, Transport};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{copy_bidirectional, duplex};
use tokio::sync::watch;

/// The behaviour of the address that clients dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    There,
    /// Dials are refused, as by a machine without the broker.
    Away,
    /// Dials hang, as those to a machine without power.
    Silent,
}

/// Connects to a broker that may be away. Clones share the state.
#[derive(Clone)]
pub(crate) struct Absence {
    presence: watch::Sender<Presence>,
    dials: Arc<AtomicUsize>,
}

impl Absence {
    /// The broker is there at first.
    pub(crate) fn new() -> Self {
        Self { presence: watch::Sender::new(Presence::There), dials: Arc::default() }
    }

    /// Breaks all connections unless the broker is there.
    pub(crate) fn set(&self, presence: Presence) {
        self.presence.send_replace(presence);
    }

    /// The number of dials so far.
    pub(crate) fn dials(&self) -> usize {
        self.dials.load(Ordering::Relaxed)
    }

    pub(crate) fn transport<C: Connection + 'static>(
        &self,
        connect: impl Fn() -> C + Send + Sync + 'static,
    ) -> impl Transport + 'static {
        AbsentTransport { absence: self.clone(), connect }
    }
}

struct AbsentTransport<F> {
    absence: Absence,
    connect: F,
}

#[async_trait::async_trait]
impl<F, C> Transport for AbsentTransport<F>
where
    F: Fn() -> C + Send + Sync,
    C: Connection + 'static,
{
    async fn connect(&self, _address: &str) -> io::Result<Box<dyn Connection>> {
        self.absence.dials.fetch_add(1, Ordering::Relaxed);
        let mut presence = self.absence.presence.subscribe();
        let now = *presence.borrow();
        match now {
            Presence::There => {}
            Presence::Away => return Err(io::ErrorKind::ConnectionRefused.into()),
            Presence::Silent => return std::future::pending().await,
        }
        let (near, mut far) = duplex(1 << 16);
        let mut broker = (self.connect)();
        tokio::spawn(async move {
            tokio::select! {
                _ = presence.wait_for(|presence| *presence != Presence::There) => {}
                _ = copy_bidirectional(&mut far, &mut broker) => {}
            }
        });
        Ok(Box::new(near))
    }
}
