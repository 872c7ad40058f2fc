//! Where partitions keep their logs: on a disk, or in memory.

use grower_protocol::ids::{PartitionId, Timestamp, TopicId, TopicName};
use grower_storage::disk::DiskError;
use grower_storage::log::{Log, LogOptions, MemLog, OpenError};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Which partition, by name (its directory) and by identity (what the directory must say of itself).
#[derive(Clone, Debug)]
pub struct PartitionPlace {
    /// The topic's identity.
    pub topic: TopicId,
    /// The topic's name.
    pub name: TopicName,
    /// The partition.
    pub partition: PartitionId,
}

/// Opens logs, and clears away those of deleted topics.
pub trait Logs: Send + Sync {
    /// Opens the log of a partition and recovers it. One that was never written to is empty and has no files.
    fn open(&self, place: &PartitionPlace, options: LogOptions, now: Timestamp) -> Result<Box<dyn Log>, OpenError>;

    /// Moves the files of a deleted topic's partitions out of the way: durable when this returns, and safe to repeat.
    fn set_aside(&self, topic: TopicId, name: &TopicName, partitions: u32) -> Result<(), DiskError>;

    /// Removes what [`Logs::set_aside`] moved away. May take long.
    fn remove(&self, topic: TopicId, partitions: u32) -> Result<(), DiskError>;

    /// Directories under `topics/` that no topic in `known` owns. Data is deleted only by a command, so they are
    /// moved to `quarantine/` and reported.
    fn quarantine(&self, known: &BTreeSet<TopicName>) -> Result<Vec<PathBuf>, DiskError>;
}

/// Logs in memory: everything is gone with the process.
#[derive(Debug, Default)]
pub struct MemLogs;

impl Logs for MemLogs {
    fn open(&self, _place: &PartitionPlace, options: LogOptions, _now: Timestamp) -> Result<Box<dyn Log>, OpenError> {
        Ok(Box::new(MemLog::new(options)))
    }

    fn set_aside(&self, _topic: TopicId, _name: &TopicName, _partitions: u32) -> Result<(), DiskError> {
        Ok(())
    }

    fn remove(&self, _topic: TopicId, _partitions: u32) -> Result<(), DiskError> {
        Ok(())
    }

    fn quarantine(&self, _known: &BTreeSet<TopicName>) -> Result<Vec<PathBuf>, DiskError> {
        Ok(Vec::new())
    }
}
