//! A backup of a running broker. Its logs are sealed and held one after the other, while producers and readers go on.
//!
//! The order makes one cut of it:
//!
//! 1. Topics neither come, go nor change until everything is held, so that records and metadata speak of the same ones.
//! 2. The groups' own topic first. An offset was in its log before, so the record before that offset was written before:
//!    whichever partition it is in, that is held later and has it. No group points past the end of a restored log.
//! 3. All other topics. What was acknowledged before the backup began was written by then, and is held.
//! 4. The metadata last, for it says which producer ids were handed out. None that writes into a restored log is given
//!    to a second producer.

use super::cut::Cut;
use super::stopped::{check_apart, directory_exists, hold_node_files, hold_stopped, identity};
use super::{BackedUp, BackupError};
use crate::clock::BrokerClock;
use crate::metadata::{self, MetadataStore, Topic};
use crate::partition::Flushers;
use crate::topic::Topics;
use grower_protocol::ids::PartitionId;
use grower_protocol::message::ErrorCode;
use grower_storage::disk::Disk;
use std::path::Path;

/// A broker, as far as a backup needs it.
pub(crate) struct Running<'a> {
    pub(crate) data_dir: &'a Path,
    pub(crate) topics: &'a Topics,
    pub(crate) flushers: &'a Flushers,
    pub(crate) clock: &'a BrokerClock,
    /// For the backup alone: what fails there must not end the broker.
    pub(crate) disk: &'a dyn Disk,
}

/// Asked from time to time, with the bytes read so far: whether to go on.
type GoOn<'a> = &'a mut dyn FnMut(u64) -> bool;

impl Running<'_> {
    /// Makes a backup in the directory `dir`. Blocks.
    pub(crate) fn backup(&self, dir: &Path, full: bool, go_on: GoOn<'_>) -> Result<BackedUp, BackupError> {
        check_apart(self.data_dir, dir)?;
        let identity = identity(self.disk, self.data_dir)?;
        let mut cut = Cut::begin(self.disk, dir, full)?.with_room_beside(self.data_dir)?;
        let began = self.clock.wall();
        self.topics.stand_still(|image, store| {
            hold_node_files(&mut cut, self.disk, self.data_dir)?;
            let (groups, others): (Vec<_>, Vec<_>) = image.topics().partition(|topic| topic.name.is_internal());
            for topic in groups.into_iter().chain(others) {
                self.hold_topic(&mut cut, topic, go_on)?;
            }
            self.hold_metadata(&mut cut, store)
        })?;
        cut.finish(&identity, began, go_on)
    }

    fn hold_topic(&self, cut: &mut Cut<'_>, topic: &Topic, go_on: GoOn<'_>) -> Result<(), BackupError> {
        for (number, _) in topic.numbered() {
            if !go_on(0) {
                return Err(BackupError::Stopped);
            }
            self.hold_partition(cut, topic, number)?;
        }
        Ok(())
    }

    fn hold_partition(&self, cut: &mut Cut<'_>, topic: &Topic, number: PartitionId) -> Result<(), BackupError> {
        let dir = format!("topics/{}/{number}", topic.name);
        let partition = match self.topics.partition(topic.id, number) {
            Ok(partition) => partition,
            // Nobody touches the files of a partition that could not be opened.
            Err(failure) if failure.code == ErrorCode::PartitionShut => {
                return hold_stopped(cut, self.disk, self.data_dir, &dir, None);
            }
            Err(failure) => return Err(failure.into()),
        };
        if !directory_exists(self.disk, &self.data_dir.join(&dir))? {
            return Ok(()); // Nothing was ever written to it.
        }
        cut.prepare(&dir)?;
        self.flushers.sync_now(&partition)?; // Outside of any lock, so that sealing has little left to sync.
        Ok(partition.hold_files(self.clock.steady(), &mut |pieces| cut.hold(self.data_dir, &dir, pieces))?)
    }

    fn hold_metadata(&self, cut: &mut Cut<'_>, store: &dyn MetadataStore) -> Result<(), BackupError> {
        cut.prepare(metadata::DIR)?;
        Ok(store.hold_files(&mut |pieces| cut.hold(self.data_dir, metadata::DIR, pieces))?)
    }
}
