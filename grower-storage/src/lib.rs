//! A partition's log: segments on a [`disk::Disk`], append, read as slices, recovery, retention.

pub mod contract;
pub mod disk;
