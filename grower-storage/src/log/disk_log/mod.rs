//! A log in files.
//!
//! A crash leaves at most a torn tail after the durable end; opening the log cuts it. A file with a successor is
//! wholly durable, because a roll syncs it before the successor exists. The append that rolls pays that wait once per
//! segment, and meanwhile no flush of the same log can succeed ([`Log::flushed`] needs the owner's lock).

mod append;
mod change;
mod compact;
mod open;
mod seal;
mod snapshots;
mod view;

use super::{
    AppendError, Appended, ChangeError, Compacted, FenceError, FlushPoint, Log, LogFailed, LogFiles, LogOptions,
    LogReader, RetentionLimits, SealedSegments, TryAppend, find_in_place, rules,
};
use crate::backup_files::BackupFile;
use crate::disk::{Disk, DiskError, ErrorClass, SharedFile};
use crate::epochs::EpochHistory;
use crate::producers::ProducerStates;
use crate::segment::{ActiveSegment, Segment};
use crate::state_file::{self, Checkpoint, DurableEnd, LogIdentity, PendingReplacement, StateFile};
use grower_protocol::batch::UnplacedBatch;
use grower_protocol::ids::{LastWritten, LeaderEpoch, Offset, ProducerId, ProducerIdentity, Timestamp, TopicId};
use snapshots::SnapshotFiles;
use std::collections::HashSet;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use view::{DiskView, PublishedLog};

/// The topic whose files a partition's directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectoryOwner {
    /// A partition of this topic.
    Topic(TopicId),
    /// Unknown: the identity is missing, damaged or of a later version. The records may be of any topic that had the
    /// name.
    Unknown,
    /// There is no such directory.
    Absent,
}

/// A log in files, on any [`Disk`].
pub struct DiskLog {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    identity: LogIdentity,
    options: LogOptions,
    view: Arc<PublishedLog>,
    /// The segment that takes appends; none before the first, and none if the last file must not be changed.
    active: Option<ActiveSegment>,
    producers: ProducerStates,
    epochs: EpochHistory,
    durable: DurableEnd,
    /// The checkpoint in its file.
    stored: Option<Checkpoint>,
    snapshots: SnapshotFiles,
    /// The latest time, by the clock for ages.
    now: Timestamp,
    truncations: u64,
    /// How far it is compacted.
    cleaned_end: Offset,
    /// Names in the directory changed that no sync covers yet, because the directory could not be opened.
    unsynced_names: bool,
    /// The file of the next segment may exist already: nothing may be appended to the previous one.
    roll_begun: bool,
    /// A published compaction that is not finished: files have yet to be renamed.
    replacing: Option<(PendingReplacement, Arc<Segment>)>,
    /// The manifest of a finished compaction could not be removed. It counts when the log is opened.
    manifest_stays: bool,
    /// Called once the first segment exists, before anything is written to it.
    first_record_hook: Option<FirstRecordHook>,
    failed: Option<LogFailed>,
}

/// The hook of [`DiskLog::before_first_record`].
type FirstRecordHook = Box<dyn FnMut() -> Result<(), DiskError> + Send>;

impl DiskLog {
    /// Calls `hook` before the first record is written, once its segment durably exists: so no crash leaves its note
    /// for a log without files. After an error the append is refused, and the next one calls it again.
    pub fn before_first_record(&mut self, hook: impl FnMut() -> Result<(), DiskError> + Send + 'static) {
        self.first_record_hook = Some(Box::new(hook));
    }

    fn alive(&self) -> Result<(), LogFailed> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// Begins every change: finishes the rolls, renames and syncs that an earlier change could not.
    fn finish_pending_work(&mut self) -> Result<(), ChangeError> {
        self.alive()?;
        self.finish_replacing()?;
        self.remove_manifest()?;
        match (self.roll_begun, self.unsynced_names) {
            (true, _) => self.roll()?,
            (false, true) => self.sync_dir()?,
            (false, false) => {}
        }
        debug_assert!(
            !self.roll_begun && !self.unsynced_names && self.replacing.is_none(),
            "nothing is left to finish"
        );
        Ok(())
    }

    /// Refuses every further change.
    fn fail(&mut self, error: &DiskError) -> LogFailed {
        let failed = self.failed.get_or_insert_with(|| {
            tracing::error!(%error, dir = %self.dir.display(), "a log takes nothing more until it is opened again");
            LogFailed { why: error.to_string().into(), files_gone: error.is_file_gone() }
        });
        if failed.files_gone {
            self.view.set_gone(failed.why.clone());
        }
        failed.clone()
    }

    /// Fails if the active file is gone from its path.
    fn find_active(&self) -> Result<(), DiskError> {
        self.active.as_ref().map_or(Ok(()), |active| find_in_place(&*self.disk, &active.log))
    }

    /// Checks what holds between any two changes.
    fn check(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        let span = self.span();
        rules::check_ends(&span, self.durable.end);
        debug_assert!(self.cleaned_end <= span.end, "{} is compacted in {span:?}", self.cleaned_end);
        match &self.active {
            Some(active) => {
                let end = active.segment.end_position().offset;
                debug_assert_eq!(end, span.end, "the active segment ends with the log");
            }
            None => debug_assert_eq!(self.durable.end, span.end, "only an active segment holds unsynced records"),
        }
    }

    /// Whether a flush point covers bytes of the active file that are not durable yet.
    fn awaits(&self, point: &FlushPoint) -> bool {
        let active = self.active.as_ref().map(|active| active.segment.base);
        let flushed = point.segment.map(|flush| flush.segment);
        point.truncations == self.truncations && self.durable.end < point.end && active == flushed
    }

    /// Raises the durable end to that of a synced flush point. Neither a roll nor a truncation came in between: a roll
    /// would have raised the durable end itself, a truncation would have been counted.
    fn take_flushed(&mut self, point: &FlushPoint) {
        let flush = point.segment.expect("a point beyond the durable end names what was synced");
        let active = self.active.as_mut().expect("records that are not durable are in the active segment");
        active.flushed(&flush, point.awaited);
        self.durable = DurableEnd { end: point.end, segment: flush.segment, position: flush.position };
        assert!(self.durable.end <= self.span().end, "nothing is durable beyond the log end");
        self.check();
    }

    /// Classifies an error of the disk on its way out: it fails the log only if the state of the disk is unknown, or
    /// if the log's files are gone.
    fn judge(&mut self, error: DiskError) -> ChangeError {
        match error.class() {
            ErrorClass::SyncFailed => ChangeError::Failed(self.fail(&error)),
            ErrorClass::Full | ErrorClass::Temporary => ChangeError::Disk(error),
            ErrorClass::Refused => match self.gone(&error) {
                Some(gone) => ChangeError::Failed(self.fail(&gone)),
                None => ChangeError::Disk(error),
            },
        }
    }

    /// The cause of a missing path, if the log's own files are gone.
    fn gone(&self, error: &DiskError) -> Option<DiskError> {
        let unexpected = error.is_file_gone() || error.is_not_found();
        unexpected.then(|| self.find_active().err()).flatten().filter(DiskError::is_file_gone)
    }

    fn judge_append(&mut self, error: AppendError) -> AppendError {
        match error {
            AppendError::Disk(error) => self.judge(error).into(),
            error => error,
        }
    }

    fn judge_change(&mut self, error: ChangeError) -> ChangeError {
        match error {
            ChangeError::Disk(error) => self.judge(error),
            error => error,
        }
    }

    fn sync(&mut self, files: &[SharedFile]) -> Result<(), ChangeError> {
        self.disk.sync_many(files).map_err(|error| self.judge(error))
    }

    fn sync_dir(&mut self) -> Result<(), ChangeError> {
        let synced = self.disk.sync_dir(&self.dir);
        self.unsynced_names = synced.is_err();
        synced.map_err(|error| self.judge(error))
    }

    /// Replaces a state file.
    fn store<T: StateFile>(&mut self, content: &T) -> Result<(), ChangeError> {
        state_file::store(&*self.disk, &self.dir, content).map_err(|error| self.judge(error))
    }

    /// Whether it has had records: they, or traces of them, are on disk.
    pub fn has_files(&self) -> bool {
        self.exists() || Offset::ZERO < self.span().end
    }

    /// Whether anything of this partition is on disk.
    fn exists(&self) -> bool {
        self.active.is_some() || !self.view.is_empty()
    }

    fn seed(&self) -> u32 {
        self.identity.checksum_seed()
    }
}

impl Log for DiskLog {
    fn span(&self) -> Range<Offset> {
        self.view.span()
    }

    fn durable_end(&self) -> Offset {
        self.durable.end
    }

    fn append(&mut self, batch: UnplacedBatch, epoch: LeaderEpoch, now: Timestamp) -> Result<Appended, AppendError> {
        self.append_batch(batch, epoch, now).map_err(|error| self.judge_append(error))
    }

    fn try_append(
        &mut self,
        batch: UnplacedBatch,
        epoch: LeaderEpoch,
        now: Timestamp,
    ) -> Result<TryAppend, AppendError> {
        self.try_append_batch(batch, epoch, now).map_err(|error| self.judge_append(error))
    }

    fn fence_producer(
        &mut self,
        producer: ProducerIdentity,
        former: &[ProducerId],
        now: Timestamp,
    ) -> Result<Option<LastWritten>, FenceError> {
        self.alive()?;
        rules::fence_producer(&mut self.producers, (producer, former), now, &self.options)
    }

    fn begin_epoch(&mut self, epoch: LeaderEpoch) -> Result<(), ChangeError> {
        self.finish_pending_work()?;
        let Some(epochs) = rules::begin_epoch(&self.epochs, epoch, self.span().end)? else { return Ok(()) };
        if self.exists() {
            self.store(&epochs)?;
        } // Else the first append writes it, with the directory.
        self.view.set_epochs(epochs.clone());
        self.epochs = epochs;
        Ok(())
    }

    fn flush_point(&self) -> FlushPoint {
        let end = self.span().end;
        debug_assert!(self.durable.end <= end, "{} is durable and the log ends at {end}", self.durable.end);
        match &self.active {
            Some(active) if self.durable.end < end => {
                let (files, flush) = active.flush(&self.options);
                FlushPoint { files, end, awaited: false, segment: Some(flush), truncations: self.truncations }
            }
            _ => FlushPoint::durable(self.durable.end, self.truncations),
        }
    }

    fn flushed(&mut self, point: &FlushPoint, outcome: Result<(), DiskError>) -> Result<Offset, LogFailed> {
        match outcome {
            // A roll or a truncation may have removed the file since.
            Err(error) if error.is_file_gone() && !self.awaits(point) => {}
            Err(error) => return Err(self.fail(&error)),
            Ok(()) => {}
        }
        self.alive()?;
        if point.truncations == self.truncations && self.durable.end < point.end {
            self.take_flushed(point);
        }
        Ok(self.durable.end)
    }

    fn truncate(&mut self, end: Offset) -> Result<(), ChangeError> {
        self.drop_suffix(end).map_err(|error| self.judge_change(error))
    }

    fn trim(&mut self, start: Offset) -> Result<(), ChangeError> {
        self.drop_prefix(start).map_err(|error| self.judge_change(error))
    }

    fn retain(&mut self, now: Timestamp, limits: &RetentionLimits, committed: Offset) -> Result<Offset, ChangeError> {
        self.drop_expired(now, limits, committed).map_err(|error| self.judge_change(error))
    }

    fn is_old(&mut self, now: Timestamp) -> bool {
        // The age of an empty segment has not begun.
        let written = self.active.as_mut().filter(|active| 0 < active.position());
        self.failed.is_none() && written.is_some_and(|active| active.fill(now).is_old(&self.options))
    }

    fn roll_if_old(&mut self, now: Timestamp) -> Result<bool, ChangeError> {
        self.roll_old(now).map_err(|error| self.judge_change(error))
    }

    fn checkpoint(&mut self, now: Timestamp) -> Result<(), ChangeError> {
        self.write_down(now).map_err(|error| self.judge_change(error))
    }

    fn producers(&self) -> &ProducerStates {
        &self.producers
    }

    fn forget_named_producers(&mut self, is_kept: &dyn Fn(ProducerId) -> bool) {
        self.producers.forget_named(is_kept);
    }

    fn forget_producers(&mut self, now: Timestamp, silent_ms: u64, most: usize) {
        self.producers.expire(now, silent_ms, most);
    }

    fn configure(&mut self, options: LogOptions) {
        self.options = options;
    }

    fn files(&mut self) -> Option<&mut dyn LogFiles> {
        Some(self)
    }

    fn reader(&self) -> LogReader {
        LogReader::new(DiskView::new(self.view.clone(), self.seed()))
    }
}

impl LogFiles for DiskLog {
    fn detach(&mut self) {
        self.view.segments().iter().for_each(|segment| segment.file.retire());
    }

    fn check_in_place(&mut self) -> Result<(), LogFailed> {
        self.alive()?;
        match self.find_active() {
            Err(error) if error.is_file_gone() => Err(self.fail(&error)),
            _ => Ok(()),
        }
    }

    fn seal(&mut self, now: Timestamp) -> Result<Vec<BackupFile>, ChangeError> {
        self.seal_all(now).map_err(|error| self.judge_change(error))
    }

    fn sealed_segments(&self, upto: Offset) -> Option<SealedSegments> {
        self.sealed_until(upto)
    }

    fn remembered_batches(&self) -> HashSet<Offset> {
        self.producers.remembered()
    }

    fn publish(&mut self, compacted: Compacted) -> Result<bool, ChangeError> {
        self.take_compacted(compacted).map_err(|error| self.judge_change(error))
    }
}

impl std::fmt::Debug for DiskLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskLog").field("dir", &self.dir).field("span", &self.span()).finish_non_exhaustive()
    }
}

/// The segments of a log, oldest first.
type Segments = Vec<Arc<Segment>>;
