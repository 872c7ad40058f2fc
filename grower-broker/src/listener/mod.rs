//! Connections: accept, frame, hand to [`crate::api`], send the answers. A listener translates and decides nothing.

mod accept;
mod alarm;
mod connection;
mod intake;
mod outbox;
mod refusal;
mod stream;

pub(crate) use accept::{Listener, serve};
pub(crate) use connection::{ConnectionLimits, run};
pub(crate) use outbox::ConnectionShare;
pub(crate) use stream::Stream;
