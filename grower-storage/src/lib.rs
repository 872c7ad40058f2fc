//! A partition's log: segments on a [`disk::Disk`], append, reads as slices, recovery, retention, compaction.
//!
//! [`log::Log`] is the border: [`log::DiskLog`] keeps it in files, [`log::MemLog`] in memory. Everything is
//! synchronous, knows neither brokers nor replicas, and takes the time as an argument. The modules form layers, from
//! [`disk`] up to [`repair`]; `cargo xtask layers` checks their arrows.

pub mod backup_files;
pub mod compaction;
pub mod contract;
pub mod disk;
mod epochs;
pub mod log;
mod options;
mod producers;
pub mod recovery;
pub mod repair;
mod retention;
mod segment;
mod state_file;
pub mod verify;
