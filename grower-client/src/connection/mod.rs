//! Connections to brokers: opened with an introduction, shared by many requests, replaced when they break.
//!
//! [`Dialer`] opens a [`BrokerConnection`]; a [`ConnectionPool`] keeps one connection for each address and reconnects. Answers may come in any order.
//! Whatever goes wrong closes the connection, and every request waiting on it learns of it: nothing is retried down here.

mod broker_connection;
mod dialer;
mod pending;
mod pool;
mod task;

pub(crate) use broker_connection::BrokerConnection;
pub(crate) use dialer::{Dialer, DialerSettings};
pub(crate) use pending::BrokerAnswer;
pub(crate) use pool::ConnectionPool;
