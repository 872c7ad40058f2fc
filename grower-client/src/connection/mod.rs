//! Connections to brokers: each starts with a handshake, carries many requests at once, and is replaced when it breaks.
//!
//! [`Dialer`] opens a [`BrokerConnection`]; a [`ConnectionPool`] keeps one for each address and reconnects. Answers may
//! arrive in any order. Any error closes the connection and fails all its pending requests; this module retries
//! nothing.

mod broker_connection;
mod dialer;
mod pending;
mod pool;
mod task;

pub(crate) use broker_connection::{BrokerConnection, WeakConnection};
pub(crate) use dialer::{Dialer, DialerSettings};
pub(crate) use pending::BrokerAnswer;
pub(crate) use pool::ConnectionPool;
