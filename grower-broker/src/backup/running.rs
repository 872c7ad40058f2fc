//! The files of a running broker. Its logs are sealed and held one after the other, while producers and readers
//! continue.
//!
//! The order makes the snapshot consistent:
//!
//! 1. Topics are neither created, deleted nor changed until everything is held, so that records and metadata agree.
//! 2. The groups' internal topic first. A committed offset is in its log after the records before that offset are in
//!    theirs, and those logs are held later: no group points past the end of a restored log.
//! 3. All other topics. Records acknowledged before the backup began were written by then, and are held.
//! 4. The metadata last, since it lists the allocated producer ids: no id that writes into a restored log is allocated
//!    again.
//!
//! All of this touches only the data directory: the file system of the backup may not answer.

use super::snapshot::BackupSnapshot;
use super::stopped::{directory_exists, hold_node_files, hold_stopped, identity};
use super::unfinished::{KeepGoing, UnfinishedBackup};
use super::{BackedUp, BackupError};
use crate::clock::BrokerClock;
use crate::metadata::{self, MetadataStore, NodeIdentity, Topic};
use crate::partition::SyncPoolOwner;
use crate::topic::Topics;
use grower_protocol::ids::{PartitionId, Timestamp};
use grower_protocol::message::ErrorCode;
use grower_storage::disk::Disk;
use std::path::Path;
use std::sync::Arc;

/// The parts of a broker that a backup needs.
pub(crate) struct RunningBroker<'a> {
    pub(crate) data_dir: &'a Path,
    pub(crate) topics: &'a Topics,
    pub(crate) sync_pool: &'a SyncPoolOwner,
    pub(crate) clock: &'a BrokerClock,
    /// A disk for the backup alone: its failures must not stop the broker.
    pub(crate) disk: Arc<dyn Disk>,
}

/// A consistent snapshot of a broker's files.
pub(crate) struct HeldBrokerFiles {
    snapshot: BackupSnapshot,
    identity: NodeIdentity,
    began: Timestamp,
}

impl HeldBrokerFiles {
    /// Makes a backup of the files.
    pub(crate) fn finish(self, backup: UnfinishedBackup, keep_going: KeepGoing<'_>) -> Result<BackedUp, BackupError> {
        backup.finish(self.snapshot, &self.identity, self.began, keep_going)
    }
}

impl RunningBroker<'_> {
    /// Holds all files. Blocks only on the data's volume.
    pub(crate) fn hold(&self, keep_going: KeepGoing<'_>) -> Result<HeldBrokerFiles, BackupError> {
        let identity = identity(&*self.disk, self.data_dir)?;
        let mut snapshot = BackupSnapshot::of_running(self.disk.clone(), self.data_dir)?;
        let began = self.clock.wall();
        self.topics.while_unchanged(|image, store| {
            hold_node_files(&mut snapshot, self.data_dir)?;
            let (groups, others): (Vec<_>, Vec<_>) = image.topics().partition(|topic| topic.name.is_internal());
            for topic in groups.into_iter().chain(others) {
                self.hold_topic(&mut snapshot, topic, keep_going)?;
            }
            self.hold_metadata(&mut snapshot, store)
        })?;
        Ok(HeldBrokerFiles { snapshot, identity, began })
    }

    fn hold_topic(
        &self,
        snapshot: &mut BackupSnapshot,
        topic: &Topic,
        keep_going: KeepGoing<'_>,
    ) -> Result<(), BackupError> {
        for (number, _) in topic.numbered() {
            if !keep_going(0) {
                return Err(BackupError::Stopped);
            }
            self.hold_partition(snapshot, topic, number)?;
        }
        Ok(())
    }

    fn hold_partition(
        &self,
        snapshot: &mut BackupSnapshot,
        topic: &Topic,
        number: PartitionId,
    ) -> Result<(), BackupError> {
        let dir = format!("topics/{}/{number}", topic.name);
        let partition = match self.topics.partition(topic.id, number) {
            Ok(partition) => partition,
            // The files of an offline partition do not change.
            Err(failure) if failure.code == ErrorCode::PartitionOffline => {
                return hold_stopped(snapshot, self.data_dir, &dir, None);
            }
            Err(failure) => return Err(failure.into()),
        };
        if !directory_exists(&*self.disk, &self.data_dir.join(&dir))? {
            return Ok(()); // The partition has no records.
        }
        snapshot.add_dir(&dir);
        self.sync_pool.sync_now(&partition)?; // Outside of any lock, so that sealing has little left to sync.
        Ok(partition.hold_files(self.clock.steady(), &mut |backup_files| snapshot.hold(&dir, backup_files))?)
    }

    fn hold_metadata(&self, snapshot: &mut BackupSnapshot, store: &dyn MetadataStore) -> Result<(), BackupError> {
        snapshot.add_dir(metadata::DIR);
        Ok(store.hold_files(&mut |backup_files| snapshot.hold(metadata::DIR, backup_files))?)
    }
}
