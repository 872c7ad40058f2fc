//! Appends: check for a duplicate, roll if full, place, write, publish; and rolls to the next segment.

use super::{DiskLog, Log};
use crate::disk::{DiskError, SharedFile};
use crate::log::{AppendError, Appended, ChangeError, TryAppend, rules};
use crate::segment::{self, ActiveSegment, Segment, WriteError};
use crate::state_file::DurableEnd;
use grower_index::StoredIndex;
use grower_protocol::batch::{Batch, BatchHeader, UnplacedBatch};
use grower_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use rustix::io::Errno;
use std::io::ErrorKind;
use std::sync::Arc;

impl DiskLog {
    pub(super) fn append_batch(
        &mut self,
        batch: UnplacedBatch,
        epoch: LeaderEpoch,
        now: Timestamp,
    ) -> Result<Appended, AppendError> {
        self.finish_pending_work()?;
        self.now = now;
        if let Some(appended) = rules::check_duplicate(self.producers.check(batch.header()), batch.header())? {
            return Ok(appended);
        }
        let next_offset = rules::next_offset(self.span().end, &batch)?;
        self.begin_epoch(epoch)?;
        let mut rolled = self.roll_if_full(batch.header(), now)?;
        let batch = batch.place(self.span().end, epoch);
        rolled |= self.write(&batch, now)?;
        Ok(self.note_append(&batch, next_offset, rolled))
    }

    /// As [`DiskLog::append_batch`], if one write is enough. Otherwise the batch comes back.
    pub(super) fn try_append_batch(
        &mut self,
        batch: UnplacedBatch,
        epoch: LeaderEpoch,
        now: Timestamp,
    ) -> Result<TryAppend, AppendError> {
        self.alive()?;
        if !self.is_ready_for(batch.header(), epoch, now) {
            return Ok(TryAppend::WouldWait(batch));
        }
        self.now = now;
        if let Some(appended) = rules::check_duplicate(self.producers.check(batch.header()), batch.header())? {
            return Ok(TryAppend::Appended(appended));
        }
        self.snapshot_if_due()?; // It stores none: that would have failed `is_ready_for`.
        let next_offset = rules::next_offset(self.span().end, &batch)?;
        let expected_end = batch.expected_end();
        let batch = batch.place(self.span().end, epoch);
        match self.write_to_active(&batch) {
            Ok(()) => Ok(TryAppend::Appended(self.note_append(&batch, next_offset, false))),
            // The slow path may find room: in a new segment, or in a reserve.
            Err(AppendError::Disk(error)) if error.is_full() => {
                Ok(TryAppend::WouldWait(UnplacedBatch::copied_from(&batch).expecting_end(expected_end)))
            }
            Err(error) => Err(error),
        }
    }

    /// Adds a batch that was written to the log's state.
    fn note_append(&mut self, batch: &Batch, next_offset: Offset, rolled: bool) -> Appended {
        self.active.iter_mut().for_each(|active| active.appended_at(self.now));
        let base_offset = batch.header().base_offset;
        assert_eq!(base_offset, self.span().end, "offsets are given out in order and once");
        self.producers.note(batch.header(), self.now);
        self.producers.bound(self.now, &self.options);
        self.snapshots.appended(batch.bytes().len());
        self.view.set_end(next_offset);
        self.check();
        Appended { base_offset, next_offset, rolled, duplicate: false }
    }

    /// Whether [`DiskLog::append_batch`] would do no more than write the batch.
    fn is_ready_for(&mut self, batch: &BatchHeader, epoch: LeaderEpoch, now: Timestamp) -> bool {
        let has_epoch = self.epochs.latest() == Some(epoch);
        let takes = self.active.as_mut().is_some_and(|active| active.fill(now).takes(batch, &self.options));
        let unfinished = self.roll_begun || self.unsynced_names || self.is_compaction_unfinished();
        has_epoch && takes && !unfinished && !self.snapshots.has_one_to_store(self.durable.end)
    }

    /// Writes the batch, into a new segment if the system does not let this one grow. True if it rolled.
    fn write(&mut self, batch: &Batch, now: Timestamp) -> Result<bool, AppendError> {
        match self.write_to_active(batch) {
            Err(AppendError::Disk(error)) if error.kind() == ErrorKind::FileTooLarge && self.active_has_records() => {
                self.roll_at(now)?;
                self.write_to_active(batch).map(|()| true)
            }
            written => written.map(|()| false),
        }
    }

    fn write_to_active(&mut self, batch: &Batch) -> Result<(), AppendError> {
        assert!(!self.roll_begun, "an append to a segment whose successor may exist would overlap it after a crash");
        let active = self.active.as_mut().expect("roll_if_full left an active segment");
        match active.write(batch, &self.options) {
            Ok(()) => {
                active.publish(batch, self.durable);
                Ok(())
            }
            Err(WriteError::Undone(error)) => Err(AppendError::Disk(error)),
            Err(WriteError::Stuck(error)) => Err(AppendError::Failed(self.fail(&error))),
        }
    }

    fn active_has_records(&self) -> bool {
        self.active.as_ref().is_some_and(|active| 0 < active.position())
    }

    /// Makes sure that the active segment takes the batch. True if it rolled.
    fn roll_if_full(&mut self, batch: &BatchHeader, now: Timestamp) -> Result<bool, AppendError> {
        let fill = self.active.as_mut().map(|active| active.fill(now));
        if fill.as_ref().is_some_and(|fill| fill.takes(batch, &self.options)) {
            self.snapshot_if_due()?;
            return Ok(false);
        }
        self.roll_at(now)?;
        Ok(fill.is_some())
    }

    /// Rolls an old segment without an append. The age of the next one counts from its first append.
    pub(super) fn roll_old(&mut self, now: Timestamp) -> Result<bool, ChangeError> {
        self.finish_pending_work()?;
        self.now = now;
        let old = self.is_old(now);
        if old {
            self.roll()?;
        }
        Ok(old)
    }

    fn roll_at(&mut self, now: Timestamp) -> Result<(), ChangeError> {
        self.roll()?;
        if let Some(active) = &mut self.active {
            active.fill(now); // Its age counts from here.
        }
        Ok(())
    }

    /// Seals the active segment, if there is one, and begins the next at the log end.
    ///
    /// Recovery relies on the order: the old file is durable to its end before the new one exists, and the new name is
    /// durable before anything in it is acknowledged.
    pub(super) fn roll(&mut self) -> Result<(), ChangeError> {
        if self.active.is_some() {
            self.make_durable()?;
            self.store_snapshot(self.span().end)?;
        } else if !self.exists() {
            self.create_partition()?;
        }
        let next = self.create_segment()?;
        self.sync_dir()?;
        self.run_first_record_hook()?;
        self.roll_begun = false;
        let segment = next.segment.clone();
        self.durable = DurableEnd { end: segment.base, segment: segment.base, position: 0 };
        if let Some(old) = self.active.replace(next) {
            self.map_index(&old);
            old.segment.file.release(&self.disk);
        }
        self.view.push(segment);
        assert_eq!(self.durable.end, self.span().end, "a roll leaves everything durable");
        self.check();
        Ok(())
    }

    fn run_first_record_hook(&mut self) -> Result<(), ChangeError> {
        let Some(hook) = &mut self.first_record_hook else { return Ok(()) };
        hook().map_err(|error| self.judge(error))?;
        self.first_record_hook = None;
        Ok(())
    }

    /// Makes everything appended so far durable, with the closing index entry.
    pub(super) fn make_durable(&mut self) -> Result<(), ChangeError> {
        let end = self.span().end;
        let Some(active) = &mut self.active else {
            assert_eq!(self.durable.end, end, "recovery has synced the files of a log without an active segment");
            return Ok(());
        };
        let cut = active.trim()?;
        let (segment, position) = (active.segment.base, active.position());
        let unsynced = cut || self.durable.end < end;
        if unsynced {
            let log = active.log.clone();
            self.sync(&[log])?;
        }
        // Before anything counts as durable, and before a next file is created in another directory.
        self.find_active()?;
        if unsynced {
            self.durable = DurableEnd { end, segment, position };
        }
        assert_eq!(self.durable.end, end, "everything that was appended is durable");
        self.sync_index()
    }

    fn sync_index(&mut self) -> Result<(), ChangeError> {
        let active = self.active.as_mut().expect("the log was synced, so there is an active segment");
        if active.finish_index() {
            let index = active.index.clone();
            self.sync(&[index])?;
        }
        Ok(())
    }

    /// Maps a sealed index for readers. An incomplete one stays in memory; the next opening completes it.
    fn map_index(&self, old: &ActiveSegment) {
        if !old.index_is_whole() {
            return;
        }
        match self.disk.map(old.index.path()) {
            Ok(map) => old.segment.seal(Box::new(StoredIndex::new(map))),
            Err(error) => tracing::warn!(%error, "an index stays in memory"),
        }
    }

    /// Creates the directory and the files that every partition has.
    fn create_partition(&mut self) -> Result<(), ChangeError> {
        if !self.disk.open_files().is_reserve_full() {
            // Its two files stay open, and the reserve is for existing partitions.
            return Err(DiskError::at("begin", &self.dir)(Errno::MFILE.into()).into());
        }
        self.disk.create_dir_all(&self.dir)?;
        self.store(&self.identity.clone())?;
        self.store(&self.epochs.clone())
    }

    fn create_segment(&mut self) -> Result<ActiveSegment, ChangeError> {
        let base = self.span().end;
        self.remove_leftover(&segment::index_name(base))?;
        let index = self.disk.create(&self.dir.join(segment::index_name(base)))?;
        // From here on an append to the old file would overlap the new one after a crash.
        self.roll_begun = true;
        let file = self.create_log(&segment::log_name(base))?;
        let segment =
            Segment::growing(base, file.clone(), self.options.index.make(self.seed())).with_index_file(&index);
        let segment = segment.with_delete_horizon(None); // An appended batch has none.
        Ok(ActiveSegment::new(Arc::new(segment), file, index, 0, self.seed()))
    }

    /// Removes an index without a log, durably: a new log must not find an index that is not its own.
    pub(super) fn remove_leftover(&mut self, name: &str) -> Result<(), ChangeError> {
        match self.disk.remove_file(&self.dir.join(name)) {
            Ok(()) => self.sync_dir(),
            // An earlier attempt removed it.
            Err(error) if error.is_not_found() && self.unsynced_names => self.sync_dir(),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Creates a log file. One that an earlier attempt left is taken if it is empty: a log is never overwritten.
    fn create_log(&self, name: &str) -> Result<SharedFile, DiskError> {
        let path = self.dir.join(name);
        match self.disk.create(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let found = self.disk.open(&path)?;
                if found.len()? == 0 { Ok(found) } else { Err(error) }
            }
            created => created,
        }
    }

    /// Makes the log durable up to a new log start, which must not lie above the durable end.
    pub(super) fn make_durable_up_to(&mut self, offset: Offset) -> Result<(), ChangeError> {
        if self.durable.end < offset { self.make_durable() } else { Ok(()) }
    }
}
