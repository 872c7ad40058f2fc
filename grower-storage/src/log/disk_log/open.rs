//! Opening a log.

use super::view::View;
use super::{DiskLog, LogPlace};
use crate::disk::{Disk, DiskError};
use crate::epochs::EpochHistory;
use crate::kept::{self, DurableEnd, Identity, KeptError};
use crate::log::{LogFailed, LogOptions, OpenError};
use crate::recovery::{self, Context, Recovered, RecoveryReport};
use grower_protocol::ids::{Offset, Timestamp, TopicId};
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
        let context = Context { disk: &*disk, place: &place, options: &options, seed: identity.witness_seed() };
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
            snapshot_at: None,
            now,
            truncations: 0,
            failed: None,
        };
        if let Some(recovered) = recovered {
            log.take(recovered, &place, &mut report)?;
        }
        Ok((log, report))
    }

    /// Whose log a directory holds, as far as it says so.
    pub fn owner(disk: &dyn Disk, dir: &Path) -> Result<Option<TopicId>, DiskError> {
        match kept::load::<Identity>(disk, dir) {
            Ok(identity) => Ok(Some(identity.topic_id)),
            Err(KeptError::Disk(error)) => Err(error),
            Err(_) => Ok(None),
        }
    }

    fn take(&mut self, recovered: Recovered, place: &LogPlace, report: &mut RecoveryReport) -> Result<(), OpenError> {
        let Recovered { start, end, segments, active, durable, checkpoint, lost } = recovered;
        self.epochs = match recovery::load_or_note(&*self.disk, place, report)? {
            Some(epochs) => epochs,
            None => recovery::replay_epochs(&segments)?,
        };
        self.epochs.truncate(end);
        self.producers = recovery::replay_producers(&*self.disk, &self.dir, &segments, end, self.now)?;
        self.view = Arc::new(View::new(start..end, segments, self.epochs.clone()));
        lost.into_iter().for_each(|(path, damage)| self.view.lose(path, &damage));
        self.active = active;
        self.durable = durable;
        self.stored = checkpoint;
        match checkpoint.and_then(|checkpoint| checkpoint.truncating) {
            Some(truncating) => self.finish(truncating),
            None => Ok(()),
        }
    }

    /// Carries on with a truncation that a crash interrupted.
    fn finish(&mut self, truncating: Offset) -> Result<(), OpenError> {
        use crate::log::ChangeError;
        match self.finish_dropping(truncating) {
            Ok(()) | Err(ChangeError::OffsetOutOfRange { .. } | ChangeError::StaleEpoch { .. }) => Ok(()),
            Err(ChangeError::Disk(error)) => Err(error.into()),
            Err(ChangeError::Failed(LogFailed { why })) => Err(OpenError::Failed { why }),
        }
    }
}
