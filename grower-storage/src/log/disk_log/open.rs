//! Opens a log.

use super::snapshots::SnapshotFiles;
use super::view::PublishedLog;
use super::{DirectoryOwner, DiskLog};
use crate::disk::{Disk, DiskError};
use crate::epochs::EpochHistory;
use crate::log::{ChangeError, LogFailed, LogLocation, LogOptions, OpenError};
use crate::recovery::{self, Recovered, RecoveryContext, RecoveryReport};
use crate::state_file::{self, DurableEnd, LogIdentity, StateFileError};
use grower_protocol::ids::{Offset, Timestamp};
use std::path::Path;
use std::sync::Arc;

impl DiskLog {
    /// Opens a partition's log and recovers it after a crash, or begins a log without files.
    ///
    /// Nothing is created before the first append. The caller logs the report.
    pub fn open(
        disk: Arc<dyn Disk>,
        location: LogLocation,
        options: LogOptions,
        now: Timestamp,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let identity = LogIdentity { topic_id: location.topic_id, partition: location.partition };
        let mut report = RecoveryReport::default();
        let context = RecoveryContext {
            disk: &*disk,
            shared_disk: &disk,
            location: &location,
            options: &options,
            seed: identity.checksum_seed(),
            now,
        };
        let recovered = recovery::recover(&context, &mut report)?;
        let mut log = Self {
            disk,
            dir: location.dir.clone(),
            identity,
            options,
            view: Arc::new(PublishedLog::default()),
            active: None,
            producers: Default::default(),
            epochs: EpochHistory::default(),
            durable: DurableEnd::default(),
            stored: None,
            snapshots: SnapshotFiles::default(),
            now,
            truncations: 0,
            cleaned_end: Offset::ZERO,
            unsynced_names: false,
            roll_begun: false,
            replacing: None,
            manifest_stays: false,
            first_record_hook: None,
            failed: None,
        };
        if let Some(recovered) = recovered {
            log.install(recovered, &location, &mut report)?;
        }
        Ok((log, report))
    }

    /// The topic whose log a directory holds.
    pub fn owner(disk: &dyn Disk, dir: &Path) -> Result<DirectoryOwner, DiskError> {
        match state_file::load::<LogIdentity>(disk, dir) {
            Ok(identity) => Ok(DirectoryOwner::Topic(identity.topic_id)),
            Err(StateFileError::Disk(error)) => Err(error),
            Err(StateFileError::Damaged { .. } | StateFileError::Newer { .. }) => Ok(DirectoryOwner::Unknown),
            Err(StateFileError::Missing(_)) => match disk.list(dir) {
                Ok(_) => Ok(DirectoryOwner::Unknown),
                Err(error) if error.is_not_found() => Ok(DirectoryOwner::Absent),
                Err(error) => Err(error),
            },
        }
    }

    fn install(
        &mut self,
        recovered: Recovered,
        location: &LogLocation,
        report: &mut RecoveryReport,
    ) -> Result<(), OpenError> {
        let Recovered { start, end, segments, active, durable, checkpoint, cleaned_end, lost, has_identity } =
            recovered;
        self.cleaned_end = cleaned_end;
        let stored: Option<EpochHistory> = recovery::load_or_note(&*self.disk, location, report)?;
        self.epochs = match &stored {
            Some(epochs) => epochs.clone(),
            None => recovery::replay_epochs(&segments)?,
        };
        self.epochs.truncate(end);
        let has_epochs = stored.is_some();
        if stored.is_some_and(|stored| stored != self.epochs) {
            // A crash took the records before the latest epoch: the next append would contradict it.
            self.store(&self.epochs.clone()).map_err(open_error)?;
        }
        let snapshots = recovery::load_snapshots(&*self.disk, location, report)?;
        self.snapshots = SnapshotFiles::found(&snapshots);
        self.producers = recovery::replay_producers(snapshots, &segments, end, self.now, &self.options)?;
        self.view = Arc::new(PublishedLog::new(start..end, segments, self.epochs.clone()));
        lost.into_iter().for_each(|damage| self.view.lose(damage));
        self.active = active;
        self.durable = durable;
        self.stored = checkpoint;
        self.replace_useless_snapshots(end).map_err(open_error)?;
        if let Some(truncating) = checkpoint.and_then(|checkpoint| checkpoint.truncating) {
            self.finish_dropping(truncating).map_err(open_error)?;
        }
        self.write_again(has_identity, has_epochs, report);
        self.check();
        Ok(())
    }

    /// Writes missing or damaged state files again. The opening did without them, so a refusal, as by a full disk,
    /// does not fail it: the next opening tries again.
    fn write_again(&self, has_identity: bool, has_epochs: bool, report: &mut RecoveryReport) {
        let identity = if has_identity { Ok(()) } else { state_file::store(&*self.disk, &self.dir, &self.identity) };
        let epochs = if has_epochs { Ok(()) } else { state_file::store(&*self.disk, &self.dir, &self.epochs) };
        for error in [identity, epochs].into_iter().filter_map(Result::err) {
            report.notes.push(format!("a state file is not written again yet: {error}"));
        }
    }
}

/// No offset is out of range while opening.
fn open_error(error: ChangeError) -> OpenError {
    match error {
        ChangeError::Disk(error) => OpenError::Disk(error),
        ChangeError::Failed(LogFailed { why, .. }) => OpenError::Failed { why },
        refused => OpenError::Failed { why: refused.to_string().into() },
    }
}
