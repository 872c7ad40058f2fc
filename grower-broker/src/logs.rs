//! Where partitions keep their logs: on a disk, or in memory.

use grower_protocol::ids::{PartitionId, Timestamp, TopicId, TopicName};
use grower_storage::disk::{Disk, DiskError};
use grower_storage::log::{DiskLog, Log, LogOptions, LogPlace, MemLog, OpenError};
use grower_storage::recovery::RecoveryReport;
use grower_storage::repair::{AcceptedLoss, RepairError, accepted_losses};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

    /// The records of a partition that somebody gave up as lost, oldest first.
    fn losses(&self, place: &PartitionPlace) -> Result<Vec<AcceptedLoss>, RepairError>;

    /// Moves the files of a deleted topic's partitions out of the way: durable when this returns, and safe to repeat.
    fn set_aside(&self, topic: TopicId, name: &TopicName, partitions: u32) -> Result<(), DiskError>;

    /// Removes what [`Logs::set_aside`] moved away. May take long.
    fn remove(&self, topic: TopicId, partitions: u32) -> Result<(), DiskError>;

    /// Directories under `topics/` that no topic in `known` owns. Data is deleted only by a command, so they are
    /// moved to `quarantine/` and reported.
    fn quarantine(&self, known: &BTreeSet<TopicName>) -> Result<Vec<PathBuf>, DiskError>;
}

/// Logs in a data directory.
pub(crate) struct DiskLogs {
    disk: Arc<dyn Disk>,
    root: PathBuf,
}

impl DiskLogs {
    pub(crate) fn new(disk: Arc<dyn Disk>, root: PathBuf) -> Self {
        Self { disk, root }
    }

    fn topic_dir(&self, name: &TopicName) -> PathBuf {
        self.root.join("topics").join(name.as_str())
    }

    fn aside(&self, topic: TopicId, partition: u32) -> PathBuf {
        self.root.join("deleted").join(format!("{topic}-{partition}"))
    }

    /// Whether a directory is this topic's. That of a later topic of the same name must stay.
    fn belongs(&self, dir: &Path, topic: TopicId) -> Result<bool, DiskError> {
        match DiskLog::owner(&*self.disk, dir) {
            Ok(owner) => Ok(owner == Some(topic)),
            // Something else in its place is not its directory, and must not keep a topic from being deleted.
            Err(error) if matches!(error.kind(), ErrorKind::NotADirectory | ErrorKind::IsADirectory) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Logs for DiskLogs {
    fn open(&self, place: &PartitionPlace, options: LogOptions, now: Timestamp) -> Result<Box<dyn Log>, OpenError> {
        let dir = self.topic_dir(&place.name).join(place.partition.to_string());
        let cut_dir = Some(self.root.join("cut"));
        let place = LogPlace { dir, topic_id: place.topic, partition: place.partition, cut_dir };
        let (log, report) = DiskLog::open(self.disk.clone(), place, options, now)?;
        if !report.is_empty() {
            log_recovery(&report);
        }
        Ok(Box::new(log))
    }

    fn losses(&self, place: &PartitionPlace) -> Result<Vec<AcceptedLoss>, RepairError> {
        accepted_losses(&*self.disk, &self.topic_dir(&place.name).join(place.partition.to_string()))
    }

    fn set_aside(&self, topic: TopicId, name: &TopicName, partitions: u32) -> Result<(), DiskError> {
        let dir = self.topic_dir(name);
        let deleted = self.root.join("deleted");
        self.disk.create_dir_all(&deleted)?;
        for partition in 0..partitions {
            let from = dir.join(partition.to_string());
            match self.belongs(&from, topic) {
                Ok(true) => self.disk.rename(&from, &self.aside(topic, partition))?,
                Ok(false) => continue,
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error),
            }
        }
        // The new names first: a crash in between leaves a directory in two places or one, never in none.
        self.disk.sync_dir(&deleted)?;
        match self.disk.sync_dir(&dir) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    fn remove(&self, topic: TopicId, partitions: u32) -> Result<(), DiskError> {
        for partition in 0..partitions {
            match self.disk.remove_dir_all(&self.aside(topic, partition)) {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn quarantine(&self, known: &BTreeSet<TopicName>) -> Result<Vec<PathBuf>, DiskError> {
        let topics = self.root.join("topics");
        let entries = match self.disk.list(&topics) {
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut moved = Vec::new();
        for entry in entries {
            if known.iter().any(|name| name.as_str() == entry.name) || self.is_empty_dir(&topics.join(&entry.name)) {
                continue;
            }
            let aside = self.root.join("quarantine");
            self.disk.create_dir_all(&aside)?;
            let to = self.free_name(&aside, &entry.name)?;
            self.disk.rename(&topics.join(&entry.name), &to)?;
            self.disk.sync_dir(&aside)?;
            self.disk.sync_dir(&topics)?;
            moved.push(to);
        }
        Ok(moved)
    }
}

impl DiskLogs {
    fn is_empty_dir(&self, dir: &Path) -> bool {
        self.disk.list(dir).is_ok_and(|entries| entries.is_empty())
    }

    fn free_name(&self, dir: &Path, name: &str) -> Result<PathBuf, DiskError> {
        let taken: BTreeSet<String> = self.disk.list(dir)?.into_iter().map(|entry| entry.name).collect();
        let free = (0u32..).map(|n| format!("{name}-{n}")).find(|candidate| !taken.contains(candidate));
        Ok(dir.join(free.unwrap_or_default()))
    }
}

/// Says what recovery found: cuts are news, damage is alarming.
fn log_recovery(report: &RecoveryReport) {
    if let Some(cut) = &report.cut {
        let kept = cut.kept.as_ref().map(|path| path.display().to_string());
        tracing::warn!(path = %cut.path.display(), end = %cut.end, bytes = cut.bytes, kept, "a torn tail was cut off");
    }
    for damaged in &report.damaged {
        let (start, end) = (damaged.offsets.start, damaged.offsets.end);
        tracing::error!(path = %damaged.path.display(), %start, %end, what = damaged.what, "records are damaged on disk");
    }
    for index in &report.reindexed {
        tracing::info!(path = %index.display(), "the index was made anew from its log");
    }
    for note in &report.notes {
        tracing::info!(note, "recovery");
    }
}

/// Logs in memory: everything is gone with the process.
#[derive(Debug, Default)]
pub struct MemLogs;

impl Logs for MemLogs {
    fn open(&self, _place: &PartitionPlace, options: LogOptions, _now: Timestamp) -> Result<Box<dyn Log>, OpenError> {
        Ok(Box::new(MemLog::new(options)))
    }

    fn losses(&self, _place: &PartitionPlace) -> Result<Vec<AcceptedLoss>, RepairError> {
        Ok(Vec::new())
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
