//! Where partitions keep their logs: on a disk, or in memory.

pub(crate) mod begun;
mod deleted;
mod quarantine;

pub use deleted::{DeletedLogs, IsLive};

use begun::Begun;
use grower_protocol::ids::{PartitionId, Timestamp, TopicId, TopicName};
use grower_storage::disk::{Disk, DiskError};
use grower_storage::log::{DiskLog, Log, LogOptions, LogPlace, MemLog, OpenError};
use grower_storage::recovery::RecoveryReport;
use grower_storage::repair::{AcceptedLoss, RepairError, accepted_losses};
use std::collections::BTreeSet;
use std::path::PathBuf;
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
    /// Opens the log of a partition and recovers it. One that was never written to is empty and has no files; one that
    /// was, and has none any more, is an error ([`OpenError::Lost`]). Files of another topic that had the name, in the
    /// place of a partition that was never written to, are moved to `quarantine/`.
    fn open(&self, place: &PartitionPlace, options: LogOptions, now: Timestamp) -> Result<Box<dyn Log>, OpenError>;

    /// All partitions of these topics, and no others, have been opened: writes down which of them have had records.
    fn opened(&self, live: &BTreeSet<TopicId>) -> Result<(), DiskError>;

    /// The records of a partition that somebody gave up as lost, oldest first.
    fn losses(&self, place: &PartitionPlace) -> Result<Vec<AcceptedLoss>, RepairError>;

    /// Moves the files of a deleted topic's partitions out of the way: durable when this returns, and safe to repeat.
    fn set_aside(&self, deleted: &DeletedLogs<'_>) -> Result<(), DiskError>;

    /// Removes all that [`Logs::set_aside`] moved away, except files of live topics, and says which topics still have
    /// files there: all others are seen gone, durably. May take long.
    fn remove_set_aside(&self, is_live: IsLive<'_>) -> Result<BTreeSet<TopicId>, DiskError>;

    /// Directories under `topics/` that no topic in `known` owns. Data is deleted only by a command, so they are
    /// moved to `quarantine/` and reported.
    fn quarantine(&self, known: &BTreeSet<TopicName>) -> Result<Vec<PathBuf>, DiskError>;
}

/// Logs in a data directory.
pub(crate) struct DiskLogs {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    begun: Arc<Begun>,
}

impl DiskLogs {
    pub(crate) fn new(disk: Arc<dyn Disk>, root: PathBuf) -> Result<Self, DiskError> {
        let begun = Arc::new(Begun::open(disk.clone(), &root)?);
        Ok(Self { disk, root, begun })
    }

    fn topic_dir(&self, name: &TopicName) -> PathBuf {
        self.root.join("topics").join(name.as_str())
    }

    fn partition_dir(&self, place: &PartitionPlace) -> PathBuf {
        self.topic_dir(&place.name).join(place.partition.to_string())
    }
}

impl Logs for DiskLogs {
    fn open(&self, place: &PartitionPlace, options: LogOptions, now: Timestamp) -> Result<Box<dyn Log>, OpenError> {
        let dir = self.partition_dir(place);
        let begun = self.begun.has(place.topic, place.partition);
        if begun == Some(false) {
            self.quarantine_strangers(place, &dir)?;
        }
        let cut_dir = Some(self.root.join("cut"));
        let log_place = LogPlace { dir: dir.clone(), topic_id: place.topic, partition: place.partition, cut_dir };
        let (mut log, report) = DiskLog::open(self.disk.clone(), log_place, options, now)?;
        if !report.is_empty() {
            log_recovery(&report);
        }
        if log.has_files() {
            self.begun.found(place.topic, place.partition, &place.name);
        } else if begun == Some(true) {
            return Err(OpenError::Lost { dir });
        } else {
            let (begun, place) = (self.begun.clone(), place.clone());
            log.before_first_record(move || begun.begin(place.topic, place.partition, &place.name));
        }
        Ok(Box::new(log))
    }

    fn opened(&self, live: &BTreeSet<TopicId>) -> Result<(), DiskError> {
        self.begun.settle(live)
    }

    fn losses(&self, place: &PartitionPlace) -> Result<Vec<AcceptedLoss>, RepairError> {
        accepted_losses(&*self.disk, &self.partition_dir(place))
    }

    fn set_aside(&self, deleted: &DeletedLogs<'_>) -> Result<(), DiskError> {
        self.set_deleted_aside(deleted)
    }

    fn remove_set_aside(&self, is_live: IsLive<'_>) -> Result<BTreeSet<TopicId>, DiskError> {
        self.remove_deleted(is_live)
    }

    fn quarantine(&self, known: &BTreeSet<TopicName>) -> Result<Vec<PathBuf>, DiskError> {
        self.quarantine_topics(known)
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

    fn opened(&self, _live: &BTreeSet<TopicId>) -> Result<(), DiskError> {
        Ok(())
    }

    fn set_aside(&self, _deleted: &DeletedLogs<'_>) -> Result<(), DiskError> {
        Ok(())
    }

    fn remove_set_aside(&self, _is_live: IsLive<'_>) -> Result<BTreeSet<TopicId>, DiskError> {
        Ok(BTreeSet::new())
    }

    fn quarantine(&self, _known: &BTreeSet<TopicName>) -> Result<Vec<PathBuf>, DiskError> {
        Ok(Vec::new())
    }
}
