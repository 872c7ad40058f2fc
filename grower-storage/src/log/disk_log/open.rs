//! Opening a log.

use super::snapshots::SnapshotFiles;
use super::view::View;
use super::{DiskLog, Owner};
use crate::disk::{Disk, DiskError};
use crate::epochs::EpochHistory;
use crate::kept::{self, DurableEnd, Identity, KeptError};
use crate::log::{ChangeError, LogFailed, LogOptions, LogPlace, OpenError};
use crate::recovery::{self, Context, Recovered, RecoveryReport};
use grower_protocol::ids::{Offset, Timestamp};
use std::path::Path;
use std::sync::Arc;

impl DiskLog {
    /// Opens a partition's log, recovering what a crash left, or begins one that has no files yet.
    ///
    /// Nothing is created before the first append. The report says what was found; whoever opens the log logs it.
    pub fn open(
        disk: Arc<dyn Disk>,
        place: LogPlace,
        options: LogOptions,
        now: Timestamp,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let identity = Identity { topic_id: place.topic_id, partition: place.partition };
        let mut report = RecoveryReport::default();
        let context = Context {
            disk: &*disk,
            shared_disk: &disk,
            place: &place,
            options: &options,
            seed: identity.witness_seed(),
            now,
        };
        let recovered = recovery::recover(&context, &mut report)?;
        let mut log = Self {
            disk,
            dir: place.dir.clone(),
            identity,
            options,
            view: Arc::new(View::default()),
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
            begin: None,
            failed: None,
        };
        if let Some(recovered) = recovered {
            log.take(recovered, &place, &mut report)?;
        }
        Ok((log, report))
    }

    /// Whose log a directory holds.
    pub fn owner(disk: &dyn Disk, dir: &Path) -> Result<Owner, DiskError> {
        match kept::load::<Identity>(disk, dir) {
            Ok(identity) => Ok(Owner::Topic(identity.topic_id)),
            Err(KeptError::Disk(error)) => Err(error),
            Err(KeptError::Damaged { .. } | KeptError::Newer { .. }) => Ok(Owner::Unknown),
            Err(KeptError::Missing(_)) => match disk.list(dir) {
                Ok(_) => Ok(Owner::Unknown),
                Err(error) if error.is_not_found() => Ok(Owner::Absent),
                Err(error) => Err(error),
            },
        }
    }

    fn take(&mut self, recovered: Recovered, place: &LogPlace, report: &mut RecoveryReport) -> Result<(), OpenError> {
        let Recovered { start, end, segments, active, durable, checkpoint, cleaned_end, lost, has_identity } =
            recovered;
        self.cleaned_end = cleaned_end;
        let stored: Option<EpochHistory> = recovery::load_or_note(&*self.disk, place, report)?;
        self.epochs = match &stored {
            Some(epochs) => epochs.clone(),
            None => recovery::replay_epochs(&segments)?,
        };
        self.epochs.truncate(end);
        let has_epochs = stored.is_some();
        if stored.is_some_and(|stored| stored != self.epochs) {
            // An epoch that began after records which a crash took: the next append would contradict it.
            self.store(&self.epochs.clone()).map_err(open_error)?;
        }
        let snapshots = recovery::load_snapshots(&*self.disk, place, report)?;
        self.snapshots = SnapshotFiles::found(&snapshots);
        self.producers = recovery::replay_producers(snapshots, &segments, end, self.now, &self.options)?;
        self.view = Arc::new(View::new(start..end, segments, self.epochs.clone()));
        lost.into_iter().for_each(|(path, damage)| self.view.lose(path, &damage));
        self.active = active;
        self.durable = durable;
        self.stored = checkpoint;
        self.replace_useless_snapshots(end).map_err(open_error)?;
        if let Some(truncating) = checkpoint.and_then(|checkpoint| checkpoint.truncating) {
            self.finish_dropping(truncating).map_err(open_error)?;
        }
        self.write_again(has_identity, has_epochs, report);
        Ok(())
    }

    /// Writes the small files that the opening found missing or damaged and did without. It could do so again, so it does
    /// not fail if that is refused, as by a full disk: the next opening tries again.
    fn write_again(&self, has_identity: bool, has_epochs: bool, report: &mut RecoveryReport) {
        let identity = if has_identity { Ok(()) } else { kept::store(&*self.disk, &self.dir, &self.identity) };
        let epochs = if has_epochs { Ok(()) } else { kept::store(&*self.disk, &self.dir, &self.epochs) };
        for error in [identity, epochs].into_iter().filter_map(Result::err) {
            report.notes.push(format!("a small file is not written again yet: {error}"));
        }
    }
}

/// Opening changes nothing that could be out of range.
fn open_error(error: ChangeError) -> OpenError {
    match error {
        ChangeError::Disk(error) => OpenError::Disk(error),
        ChangeError::Failed(LogFailed { why, .. }) => OpenError::Failed { why },
        refused => OpenError::Failed { why: refused.to_string().into() },
    }
}
