//! The byte formats of Grower: ids, record batches, compression, and the native messages between clients and brokers.
//!
//! The crate does no I/O: bytes are pushed in, values come out. A length from outside is checked against a limit
//! before memory is allocated. No input makes a decoder panic.

pub mod batch;
pub mod compression;
pub mod ids;
pub mod message;
pub mod wire;
