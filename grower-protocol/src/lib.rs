//! What Grower's bytes mean: ids, record batches, compression, and the native messages between clients and brokers.
//!
//! Nothing here does I/O: bytes are pushed in, values come out. A length from outside is checked against a limit
//! before anything is allocated, and no input makes a decoder panic.

pub mod batch;
pub mod compression;
pub mod ids;
pub mod message;
pub mod wire;
