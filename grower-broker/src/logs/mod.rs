//! The logs of partitions, on a disk or in memory.

pub(crate) mod begun;
mod deleted;
mod quarantine;

pub use deleted::{DeletedLogs, IsLive};

use begun::BegunFile;
use grower_protocol::ids::{PartitionId, Timestamp, TopicId, TopicName};
use grower_storage::disk::{Disk, DiskError};
use grower_storage::log::{DiskLog, Log, LogLocation, LogOptions, MemLog, OpenError};
use grower_storage::recovery::RecoveryReport;
use grower_storage::repair::{AcceptLossError, AcceptedLoss, accepted_losses};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// A partition by its topic's name, which is its directory, and its topic's id, which the directory must state.
#[derive(Clone, Debug)]
pub struct PartitionIdentity {
    /// The topic's identity.
    pub topic: TopicId,
    /// The topic's name.
    pub name: TopicName,
    /// The partition.
    pub partition: PartitionId,
}

/// Opens logs, and removes those of deleted topics.
pub trait Logs: Send + Sync {
    /// Opens and recovers the log of a partition. A log without records is empty and has no files; one that had records
    /// and has no files is an error ([`OpenError::Lost`]). Files of another topic in the directory of a partition
    /// without records are moved to `quarantine/`.
    fn open(
        &self,
        partition: &PartitionIdentity,
        options: LogOptions,
        now: Timestamp,
    ) -> Result<Box<dyn Log>, OpenError>;

    /// Writes the list of begun partitions, after all partitions of these topics were opened.
    fn opened(&self, live: &BTreeSet<TopicId>) -> Result<(), DiskError>;

    /// The accepted losses of a partition, oldest first.
    fn losses(&self, partition: &PartitionIdentity) -> Result<Vec<AcceptedLoss>, AcceptLossError>;

    /// Moves the files of a deleted topic away from `topics/`; durable when this returns, and safe to repeat.
    fn move_deleted(&self, deleted: &DeletedLogs<'_>) -> Result<(), DiskError>;

    /// Removes the files that [`Logs::move_deleted`] moved away, except those of live topics. Returns the topics that
    /// still have files there; all others are durably gone. May take long.
    fn purge_deleted(&self, is_live: IsLive<'_>) -> Result<BTreeSet<TopicId>, DiskError>;

    /// Moves directories under `topics/` of topics not in `known` to `quarantine/`, and returns them. Only a command
    /// deletes data.
    fn quarantine(&self, known: &BTreeSet<TopicName>) -> Result<Vec<PathBuf>, DiskError>;
}

/// Logs in a data directory.
pub(crate) struct DiskLogs {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    begun: Arc<BegunFile>,
}

impl DiskLogs {
    pub(crate) fn new(disk: Arc<dyn Disk>, root: PathBuf) -> Result<Self, DiskError> {
        let begun = Arc::new(BegunFile::open(disk.clone(), &root)?);
        Ok(Self { disk, root, begun })
    }

    fn topic_dir(&self, name: &TopicName) -> PathBuf {
        self.root.join("topics").join(name.as_str())
    }

    fn partition_dir(&self, partition: &PartitionIdentity) -> PathBuf {
        self.topic_dir(&partition.name).join(partition.partition.to_string())
    }
}

impl Logs for DiskLogs {
    fn open(
        &self,
        partition: &PartitionIdentity,
        options: LogOptions,
        now: Timestamp,
    ) -> Result<Box<dyn Log>, OpenError> {
        let dir = self.partition_dir(partition);
        let begun = self.begun.has(partition.topic, partition.partition);
        if begun == Some(false) {
            self.quarantine_foreign(partition, &dir)?;
        }
        let cut_dir = Some(self.root.join("cut"));
        let log_place =
            LogLocation { dir: dir.clone(), topic_id: partition.topic, partition: partition.partition, cut_dir };
        let (mut log, report) = DiskLog::open(self.disk.clone(), log_place, options, now)?;
        if !report.is_empty() {
            log_recovery(&report);
        }
        if log.has_files() {
            self.begun.found(partition.topic, partition.partition, &partition.name);
        } else if begun == Some(true) {
            return Err(OpenError::Lost { dir });
        } else {
            let (begun, partition) = (self.begun.clone(), partition.clone());
            log.before_first_record(move || begun.begin(partition.topic, partition.partition, &partition.name));
        }
        Ok(Box::new(log))
    }

    fn opened(&self, live: &BTreeSet<TopicId>) -> Result<(), DiskError> {
        self.begun.retain(live)
    }

    fn losses(&self, partition: &PartitionIdentity) -> Result<Vec<AcceptedLoss>, AcceptLossError> {
        accepted_losses(&*self.disk, &self.partition_dir(partition))
    }

    fn move_deleted(&self, deleted: &DeletedLogs<'_>) -> Result<(), DiskError> {
        self.move_deleted_topic(deleted)
    }

    fn purge_deleted(&self, is_live: IsLive<'_>) -> Result<BTreeSet<TopicId>, DiskError> {
        self.remove_deleted(is_live)
    }

    fn quarantine(&self, known: &BTreeSet<TopicName>) -> Result<Vec<PathBuf>, DiskError> {
        self.quarantine_topics(known)
    }
}

/// Logs what recovery found: cuts as warnings, damage as errors.
fn log_recovery(report: &RecoveryReport) {
    if let Some(cut) = &report.cut {
        let kept = cut.kept.as_ref().map(|path| path.display().to_string());
        tracing::warn!(path = %cut.path.display(), end = %cut.end, bytes = cut.bytes, kept, "cut off a torn tail");
    }
    for damaged in &report.damaged {
        let (start, end) = (damaged.offsets.start, damaged.offsets.end);
        tracing::error!(path = %damaged.path.display(), %start, %end, what = damaged.reason, "records are damaged on disk");
    }
    for index in &report.reindexed {
        tracing::info!(path = %index.display(), "rebuilt an index from its log");
    }
    for note in &report.notes {
        tracing::info!(note, "recovery");
    }
}

/// Logs in memory, lost with the process.
#[derive(Debug, Default)]
pub struct MemLogs;

impl Logs for MemLogs {
    fn open(
        &self,
        _partition: &PartitionIdentity,
        options: LogOptions,
        _now: Timestamp,
    ) -> Result<Box<dyn Log>, OpenError> {
        Ok(Box::new(MemLog::new(options)))
    }

    fn losses(&self, _partition: &PartitionIdentity) -> Result<Vec<AcceptedLoss>, AcceptLossError> {
        Ok(Vec::new())
    }

    fn opened(&self, _live: &BTreeSet<TopicId>) -> Result<(), DiskError> {
        Ok(())
    }

    fn move_deleted(&self, _deleted: &DeletedLogs<'_>) -> Result<(), DiskError> {
        Ok(())
    }

    fn purge_deleted(&self, _is_live: IsLive<'_>) -> Result<BTreeSet<TopicId>, DiskError> {
        Ok(BTreeSet::new())
    }

    fn quarantine(&self, _known: &BTreeSet<TopicName>) -> Result<Vec<PathBuf>, DiskError> {
        Ok(Vec::new())
    }
}
