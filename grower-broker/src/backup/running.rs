//! The files of a running broker. Its logs are sealed and held one after the other, while producers and readers go on.
//!
//! The order makes one snapshot of it:
//!
//! 1. Topics neither come, go nor change until everything is held, so that records and metadata speak of the same ones.
//! 2. The groups' own topic first. An offset was in its log before, so the record before that offset was written before:
//!    whichever partition it is in, that is held later and has it. No group points past the end of a restored log.
//! 3. All other topics. What was acknowledged before the backup began was written by then, and is held.
//! 4. The metadata last, for it says which producer ids were handed out. None that writes into a restored log is given
//!    to a second producer.
//!
//! All of that touches the data directory alone: where the backup goes may not answer.

use super::snapshot::BackupSnapshot;
use super::stopped::{directory_exists, hold_node_files, hold_stopped, identity};
use super::unfinished::{KeepGoing, UnfinishedBackup};
use super::{BackedUp, BackupError};
use crate::clock::BrokerClock;
use crate::metadata::{self, Identity, MetadataStore, Topic};
use crate::partition::Flushers;
use crate::topic::Topics;
use grower_protocol::ids::{PartitionId, Timestamp};
use grower_protocol::message::ErrorCode;
use grower_storage::disk::Disk;
use std::path::Path;
use std::sync::Arc;

/// A broker, as far as a backup needs it.
pub(crate) struct RunningBroker<'a> {
    pub(crate) data_dir: &'a Path,
    pub(crate) topics: &'a Topics,
    pub(crate) flushers: &'a Flushers,
    pub(crate) clock: &'a BrokerClock,
    /// For the backup alone: what fails there must not end the broker.
    pub(crate) disk: Arc<dyn Disk>,
}

/// The files of a broker at one moment.
pub(crate) struct BrokerSnapshot {
    snapshot: BackupSnapshot,
    identity: Identity,
    began: Timestamp,
}

impl BrokerSnapshot {
    /// Makes a backup of them.
    pub(crate) fn finish(self, backup: UnfinishedBackup, keep_going: KeepGoing<'_>) -> Result<BackedUp, BackupError> {
        backup.finish(self.snapshot, &self.identity, self.began, keep_going)
    }
}

impl RunningBroker<'_> {
    /// Holds all files. Blocks, though never for another volume than the data's.
    pub(crate) fn hold(&self, keep_going: KeepGoing<'_>) -> Result<BrokerSnapshot, BackupError> {
        let identity = identity(&*self.disk, self.data_dir)?;
        let mut snapshot = BackupSnapshot::of_running(self.disk.clone(), self.data_dir)?;
        let began = self.clock.wall();
        self.topics.stand_still(|image, store| {
            hold_node_files(&mut snapshot, self.data_dir)?;
            let (groups, others): (Vec<_>, Vec<_>) = image.topics().partition(|topic| topic.name.is_internal());
            for topic in groups.into_iter().chain(others) {
                self.hold_topic(&mut snapshot, topic, keep_going)?;
            }
            self.hold_metadata(&mut snapshot, store)
        })?;
        Ok(BrokerSnapshot { snapshot, identity, began })
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
            // Nobody touches the files of a partition that could not be opened.
            Err(failure) if failure.code == ErrorCode::PartitionShut => {
                return hold_stopped(snapshot, self.data_dir, &dir, None);
            }
            Err(failure) => return Err(failure.into()),
        };
        if !directory_exists(&*self.disk, &self.data_dir.join(&dir))? {
            return Ok(()); // Nothing was ever written to it.
        }
        snapshot.add_dir(&dir);
        self.flushers.sync_now(&partition)?; // Outside of any lock, so that sealing has little left to sync.
        Ok(partition.hold_files(self.clock.steady(), &mut |pieces| snapshot.hold(&dir, pieces))?)
    }

    fn hold_metadata(&self, snapshot: &mut BackupSnapshot, store: &dyn MetadataStore) -> Result<(), BackupError> {
        snapshot.add_dir(metadata::DIR);
        Ok(store.hold_files(&mut |pieces| snapshot.hold(metadata::DIR, pieces))?)
    }
}
