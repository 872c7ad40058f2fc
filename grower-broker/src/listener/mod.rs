//! Connections: accept, frame, hand to [`crate::api`], send the answers. A listener translates and decides nothing.

mod accept;
mod alarm;
mod connection;
mod intake;
mod outbox;
mod permit;
mod refusal;
mod stream;

pub(crate) use accept::{Listener, serve};
pub(crate) use connection::{ConnectionLimits, run};
pub(crate) use outbox::{Answer, ConnectionPlace, Outbox};
pub(crate) use permit::Permit;
#[cfg(test)]
pub(crate) use permit::decoded;
pub(crate) use stream::Stream;
