//! Connections: accept, frame, hand to [`crate::api`], send the answers. A listener translates and decides nothing.

mod accept;
mod connection;
mod outbox;
mod stream;

pub(crate) use accept::{Listener, serve};
pub(crate) use connection::{ConnectionLimits, run};
pub(crate) use outbox::{Answer, Outbox, Permit};
pub(crate) use stream::Stream;
