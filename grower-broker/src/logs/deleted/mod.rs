//! The files of deleted topics: moved to `deleted/` at once, and removed from there in the background.

use super::DiskLogs;
use super::begun::topic_id;
use grower_protocol::ids::{TopicId, TopicName};
use grower_storage::disk::{DirEntry, DiskError};
use grower_storage::log::{DirectoryOwner, DiskLog};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

/// Whether a topic exists. Asked after its files were seen: files are moved away only after their topic is deleted.
pub type IsLive<'a> = &'a dyn Fn(TopicId) -> bool;

/// A deleted topic with files to remove.
#[derive(Clone, Copy, Debug)]
pub struct DeletedLogs<'a> {
    /// Its identity.
    pub topic: TopicId,
    /// Its name.
    pub name: &'a TopicName,
    /// Its number of partitions.
    pub partitions: u32,
    /// Whether no topic has the name now.
    pub name_is_free: bool,
}

impl DiskLogs {
    pub(super) fn move_deleted_topic(&self, deleted: &DeletedLogs<'_>) -> Result<(), DiskError> {
        if let Err(error) = self.begun.forget(deleted.topic) {
            if !error.is_full() {
                return Err(error);
            }
            tracing::debug!(%error, topic = %deleted.name, "the next start removes the topic from the list of begun partitions");
        }
        let dir = self.topic_dir(deleted.name);
        for partition in 0..deleted.partitions {
            self.move_deleted_partition(deleted, partition, &dir.join(partition.to_string()))?;
        }
        if deleted.name_is_free && self.has_no_begun_partition(&dir) {
            self.disk.remove_dir_all(&dir)?;
            return self.disk.sync_dir(&self.root.join("topics"));
        }
        // Also with nothing left to move: an earlier attempt may have failed to sync.
        unless_not_found(self.disk.sync_dir(&dir))
    }

    fn move_deleted_partition(&self, deleted: &DeletedLogs<'_>, partition: u32, from: &Path) -> Result<(), DiskError> {
        match self.owner_of(from)? {
            DirectoryOwner::Topic(topic) if topic == deleted.topic => {
                self.move_to_deleted(deleted.topic, partition, from)
            }
            // A crash in its first append left neither an identity nor records.
            DirectoryOwner::Unknown if deleted.name_is_free && self.is_unbegun(from) => self.remove_partition(from),
            // The owner of these records is unknown. A later topic of the same name must not serve them.
            DirectoryOwner::Unknown if deleted.name_is_free => {
                let to = self.move_to_quarantine(from, &format!("{}-{partition}", deleted.name))?;
                tracing::error!(topic = %deleted.name, partition, dir = %to.display(), "moved the files of a deleted partition to quarantine, since they do not name their topic; remove them yourself");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn move_to_deleted(&self, topic: TopicId, partition: u32, from: &Path) -> Result<(), DiskError> {
        let deleted = self.root.join("deleted");
        self.disk.create_dir_all(&deleted)?;
        match self.disk.rename(from, &deleted.join(format!("{topic}-{partition}"))) {
            Ok(()) => {}
            // The topic's directory is a link to another volume: its files are removed in place.
            Err(error) if error.kind() == ErrorKind::CrossesDevices => return self.remove_partition(from),
            Err(error) => return Err(error),
        }
        // The new directory first: a crash in between never loses both names.
        self.disk.sync_dir(&deleted)?;
        self.disk.sync_dir(from.parent().unwrap_or(&self.root))
    }

    /// The owner of a directory. Anything but a directory is not a partition, and must not block the deletion of its
    /// topic.
    fn owner_of(&self, dir: &Path) -> Result<DirectoryOwner, DiskError> {
        match DiskLog::owner(&*self.disk, dir) {
            Err(error) if matches!(error.kind(), ErrorKind::NotADirectory | ErrorKind::IsADirectory) => {
                Ok(DirectoryOwner::Absent)
            }
            owner => owner,
        }
    }

    pub(super) fn remove_deleted(&self, is_live: IsLive<'_>) -> Result<BTreeSet<TopicId>, DiskError> {
        let deleted = self.root.join("deleted");
        for DirEntry { name, .. } in self.entries_of(&deleted)? {
            let path = deleted.join(&name);
            let removed = match owner_by_name(&name) {
                Some(topic) if !is_live(topic) => self.remove_partition(&path),
                // Foreign files, or files of a topic that an older copy of the metadata still has.
                _ => self.move_to_quarantine(&path, &name).map(|to| {
                    tracing::warn!(dir = %to.display(), "moved files in `deleted` that belong to no deleted topic to quarantine");
                }),
            };
            if let Err(error) = removed {
                tracing::warn!(%error, "cannot remove the files of a deleted topic yet");
            }
        }
        // Missing entries may be removals with a failed sync: this sync makes them durable.
        unless_not_found(self.disk.sync_dir(&deleted))?;
        Ok(self.entries_of(&deleted)?.iter().filter_map(|entry| owner_by_name(&entry.name)).collect())
    }

    fn entries_of(&self, dir: &Path) -> Result<Vec<DirEntry>, DiskError> {
        match self.disk.list(dir) {
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            entries => entries,
        }
    }

    /// Removes a partition's directory, and the files behind a link; durable when this returns. The identity goes
    /// last, so that an interrupted removal can be repeated.
    fn remove_partition(&self, dir: &Path) -> Result<(), DiskError> {
        let mut entries = self.entries_of(dir)?;
        entries.sort_by_key(|entry| entry.name == "partition.meta");
        for entry in entries {
            let path = dir.join(&entry.name);
            let removed = if entry.is_dir { self.disk.remove_dir_all(&path) } else { self.disk.remove_file(&path) };
            unless_not_found(removed)?;
        }
        unless_not_found(self.disk.remove_dir_all(dir))?;
        self.disk.sync_dir(dir.parent().unwrap_or(&self.root))
    }
}

fn unless_not_found(done: Result<(), DiskError>) -> Result<(), DiskError> {
    match done {
        Err(error) if error.is_not_found() => Ok(()),
        done => done,
    }
}

/// The topic of a partition with this name in `deleted/`.
fn owner_by_name(name: &str) -> Option<TopicId> {
    let (topic, partition) = name.rsplit_once('-')?;
    partition.parse::<u32>().ok()?;
    topic_id(topic)
}

#[cfg(test)]
mod tests;
