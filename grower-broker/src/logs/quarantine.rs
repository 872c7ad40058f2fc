//! Files of no topic: moved to `quarantine/` and reported, never deleted.

use super::{DiskLogs, PartitionIdentity};
use grower_protocol::ids::TopicName;
use grower_storage::disk::{DirEntry, DiskError};
use grower_storage::log::{DirectoryOwner, DiskLog};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

impl DiskLogs {
    pub(super) fn quarantine_topics(&self, known: &BTreeSet<TopicName>) -> Result<Vec<PathBuf>, DiskError> {
        let topics = self.root.join("topics");
        let entries = match self.disk.list(&topics) {
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut moved = Vec::new();
        for entry in entries {
            let path = topics.join(&entry.name);
            if !known.iter().any(|name| name.as_str() == entry.name) && !self.has_no_begun_partition(&path) {
                moved.push(self.move_to_quarantine(&path, &entry.name)?);
            }
        }
        Ok(moved)
    }

    /// Moves records of another or unknown topic out of the directory of a partition without records. Remains of its
    /// own first append stay.
    pub(super) fn quarantine_foreign(&self, partition: &PartitionIdentity, dir: &Path) -> Result<(), DiskError> {
        let owner = match DiskLog::owner(&*self.disk, dir) {
            Ok(owner) => owner,
            Err(_) => return Ok(()), // Opening the log reports the error.
        };
        let foreign = match owner {
            DirectoryOwner::Absent => false,
            DirectoryOwner::Topic(topic) => topic != partition.topic,
            DirectoryOwner::Unknown => self.has_segments(dir)?,
        };
        if foreign {
            let to = self.move_to_quarantine(dir, &format!("{}-{}", partition.name, partition.partition))?;
            tracing::warn!(topic = %partition.name, partition = %partition.partition, dir = %to.display(), "moved records of another topic to quarantine; nothing was deleted");
        }
        Ok(())
    }

    /// Moves a file or directory to a free name in `quarantine/`; durable when this returns.
    pub(super) fn move_to_quarantine(&self, from: &Path, name: &str) -> Result<PathBuf, DiskError> {
        let quarantine = self.root.join("quarantine");
        self.disk.create_dir_all(&quarantine)?;
        let to = self.free_name(&quarantine, name)?;
        self.disk.rename(from, &to)?;
        self.disk.sync_dir(&quarantine)?;
        self.disk.sync_dir(from.parent().unwrap_or(&self.root))?;
        Ok(to)
    }

    fn has_segments(&self, dir: &Path) -> Result<bool, DiskError> {
        Ok(self.disk.list(dir)?.iter().any(|entry| entry.name.ends_with(".growerlog")))
    }

    /// Whether a partition's directory is the remains of a first append that did not write the identity.
    pub(super) fn is_unbegun(&self, dir: &Path) -> bool {
        let first = |entry: &DirEntry| !entry.is_dir && entry.name == "partition.meta.tmp";
        self.disk.list(dir).is_ok_and(|entries| entries.iter().all(first))
    }

    /// Whether a topic's directory has no begun partition.
    pub(super) fn has_no_begun_partition(&self, dir: &Path) -> bool {
        let nothing = |entry: &DirEntry| entry.is_dir && self.is_unbegun(&dir.join(&entry.name));
        self.disk.list(dir).is_ok_and(|entries| entries.iter().all(nothing))
    }

    fn free_name(&self, dir: &Path, name: &str) -> Result<PathBuf, DiskError> {
        let taken: BTreeSet<String> = self.disk.list(dir)?.into_iter().map(|entry| entry.name).collect();
        let free = (0u32..).map(|n| format!("{name}-{n}")).find(|candidate| !taken.contains(candidate));
        Ok(dir.join(free.unwrap_or_default()))
    }
}
