//! A partition's log: segments on a [`disk::Disk`], append, read as slices, recovery, retention, compaction.
//!
//! [`log::Log`] is the border: [`log::DiskLog`] keeps it in files, [`log::MemLog`] in memory. Everything is synchronous,
//! knows neither brokers nor replicas, and takes the time as an argument.

pub mod compaction;
pub mod contract;
pub mod disk;
mod epochs;
mod kept;
pub mod log;
mod options;
pub mod pieces;
mod producers;
pub mod recovery;
pub mod repair;
mod retention;
mod segment;
pub mod verify;
