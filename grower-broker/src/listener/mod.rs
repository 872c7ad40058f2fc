//! Native connections: accepts them, reads frames, hands requests to [`crate::api`], and sends the answers. A listener
//! translates and decides nothing.

mod accept;
mod connection;
mod deadline_timer;
mod frame_receiver;
mod outbox;
mod read_pace;
mod refusal;
mod stream;

pub(crate) use accept::{Listener, serve};
pub(crate) use connection::{ConnectionLimits, run};
pub(crate) use outbox::ConnectionShare;
pub(crate) use stream::Stream;
