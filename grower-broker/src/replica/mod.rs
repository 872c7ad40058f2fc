//! How far a partition is written, durable and committed, and what waits for that: no lock, thread, clock or I/O.

pub(crate) mod marks;
pub(crate) mod waiters;
