//! Appending: admit, make room, place, write, index, publish.

use super::DiskLog;
use crate::disk::{DiskError, SharedFile};
use crate::kept::DurableEnd;
use crate::log::{AppendError, Appended, ChangeError, LogOptions, rules};
use crate::producers::Snapshot;
use crate::segment::{self, Segment};
use grower_index::{Entry, NotedBatch, StoredIndex};
use grower_protocol::batch::{Batch, BatchHeader, UnplacedBatch};
use grower_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use std::sync::Arc;

/// The segment that is being written.
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    pub(super) index: SharedFile,
    /// How much of the index file is written.
    pub(super) index_length: u64,
    /// Entries that are not in the index file yet: writing them failed, and is tried again with the next.
    pub(super) index_waiting: Vec<u8>,
    /// How far the log file is allocated.
    pub(super) allocated: u64,
    /// How much of the log is covered by synced index entries.
    pub(super) indexed: u64,
    /// When its first batch was appended; none if that was before the log was opened and nobody knows.
    pub(super) created: Option<Timestamp>,
}

impl Active {
    pub(super) fn position(&self) -> u64 {
        self.segment.extent().position
    }

    fn shape(&mut self, now: Timestamp) -> rules::Shape {
        let facts = self.segment.facts();
        let age_ms = now.millis_since(*self.created.get_or_insert(now));
        rules::Shape { bytes: facts.bytes, records: facts.records, age_ms }
    }

    /// The files to sync, what that makes durable, and how much of the log is then indexed durably.
    pub(super) fn to_flush(&self, options: &LogOptions) -> (Vec<SharedFile>, Offset, u64, Option<u64>) {
        let position = self.position();
        let with_index = u64::from(options.index_flush_bytes) <= position.saturating_sub(self.indexed);
        let mut files = vec![self.segment.file.clone()];
        if with_index {
            files.push(self.index.clone());
        }
        (files, self.segment.base, position, with_index.then_some(position))
    }

    pub(super) fn index_flushed(&mut self, segment: Offset, indexed: u64) {
        if self.segment.base == segment {
            self.indexed = self.indexed.max(indexed);
        }
    }

    /// Writes the batch, or leaves the file as it was.
    fn write(&mut self, batch: &Batch, options: &LogOptions) -> Result<(), WriteError> {
        let position = self.position();
        let end = position + batch.bytes().len() as u64;
        if self.allocated < end && 0 < options.preallocate_bytes {
            let ahead = (end + u64::from(options.preallocate_bytes)).min(u64::from(options.segment_bytes).max(end));
            // Room ahead is a matter of speed alone; the write itself finds out whether there is any.
            if self.segment.file.allocate(ahead).is_ok() {
                self.allocated = ahead;
            }
        }
        let Err(error) = self.segment.file.write_all_at(batch.bytes(), position) else { return Ok(()) };
        self.allocated = position;
        match self.segment.file.set_len(position) {
            Ok(()) => Err(WriteError::Undone(error)),
            Err(_) => Err(WriteError::Stuck(error)),
        }
    }

    /// Appends an entry to the index file. The index is a hint: when that fails, appends go on.
    pub(super) fn write_index(&mut self, entry: Option<Entry>) {
        let Some(entry) = entry else { return };
        self.index_waiting.extend_from_slice(&entry.encode());
        match self.index.write_all_at(&self.index_waiting, self.index_length) {
            Ok(()) => {
                self.index_length += self.index_waiting.len() as u64;
                self.index_waiting.clear();
            }
            Err(error) => tracing::warn!(%error, "an index entry waits to be written"),
        }
    }

    /// Makes the batch visible and indexes it.
    fn publish(&mut self, batch: &Batch, durable: DurableEnd) {
        let header = batch.header();
        let base = self.segment.base;
        let durable_end = if durable.segment == base { durable.position } else { 0 };
        let Some(prefix) = batch.bytes().first_chunk() else { return };
        let noted = NotedBatch {
            prefix,
            next_relative_offset: u32::try_from(header.next_offset().since(base)).unwrap_or(u32::MAX),
            end: u32::try_from(self.position() + batch.bytes().len() as u64).unwrap_or(u32::MAX),
            max_timestamp: header.max_timestamp.as_millis(),
            witnessed: true,
        };
        let entry = self.segment.note(&noted, u32::try_from(durable_end).unwrap_or(u32::MAX));
        self.write_index(entry);
    }
}

enum WriteError {
    /// The file is as it was.
    Undone(DiskError),
    /// It may have bytes at its end that are no batch, and they could not be removed.
    Stuck(DiskError),
}

impl DiskLog {
    pub(super) fn append_batch(
        &mut self,
        batch: UnplacedBatch,
        epoch: LeaderEpoch,
        now: Timestamp,
    ) -> Result<Appended, AppendError> {
        self.alive()?;
        if let Some(appended) = rules::admit(self.producers.check(batch.header()), batch.header())? {
            return Ok(appended);
        }
        let base_offset = self.span().end;
        let next_offset = rules::next_offset(base_offset, batch.header())?;
        self.begin(epoch)?;
        let rolled = self.make_room(batch.header(), now)?;
        let batch = batch.place(base_offset, epoch);
        self.write(&batch)?;
        self.producers.note(batch.header(), now);
        self.view.set_end(next_offset);
        Ok(Appended { base_offset, next_offset, rolled, duplicate: false })
    }

    fn begin(&mut self, epoch: LeaderEpoch) -> Result<(), AppendError> {
        use super::Log as _;
        self.begin_epoch(epoch).map_err(AppendError::from)
    }

    fn write(&mut self, batch: &Batch) -> Result<(), AppendError> {
        let Some(active) = &mut self.active else { return Ok(()) };
        match active.write(batch, &self.options) {
            Ok(()) => {
                active.publish(batch, self.durable);
                Ok(())
            }
            Err(WriteError::Undone(error)) => Err(AppendError::Disk(error)),
            Err(WriteError::Stuck(error)) => Err(AppendError::Failed(self.fail(&error))),
        }
    }

    /// Sees to it that the active segment takes the batch; says whether one was rolled for that.
    fn make_room(&mut self, batch: &BatchHeader, now: Timestamp) -> Result<bool, AppendError> {
        let rolled = match &mut self.active {
            Some(active) if active.shape(now).takes(batch, &self.options) => return Ok(false),
            Some(_) => true,
            None => false,
        };
        self.roll(now)?;
        Ok(rolled)
    }

    /// Seals the active segment, if there is one, and begins the next at the log end.
    ///
    /// The order is what recovery relies on: the old file is durable to its end before the new one exists, and the new
    /// one's name is durable before anything in it is acknowledged.
    pub(super) fn roll(&mut self, now: Timestamp) -> Result<(), ChangeError> {
        if self.active.is_some() {
            self.make_durable()?;
            self.store_snapshot(now)?;
        } else if !self.exists() {
            self.create_partition()?;
        }
        let next = self.create_segment(now)?;
        self.sync_dir()?;
        if let Some(old) = self.active.replace(next) {
            self.seal(&old);
        }
        if let Some(active) = &self.active {
            let base = active.segment.base;
            self.durable = DurableEnd { end: base, segment: base, position: 0 };
            self.view.push(active.segment.clone());
        }
        Ok(())
    }

    /// Closes the index of the active segment, cuts what was allocated ahead, and syncs both files.
    pub(super) fn make_durable(&mut self) -> Result<(), ChangeError> {
        let Some(active) = &mut self.active else { return Ok(()) };
        let extent = active.segment.extent();
        if active.allocated != extent.position {
            active.segment.file.set_len(extent.position)?;
            active.allocated = extent.position;
        }
        let log = active.segment.file.clone();
        if self.durable.end < extent.end {
            self.sync(&[log])?;
        }
        self.durable = DurableEnd { end: extent.end, segment: self.durable.segment, position: extent.position };
        let Some(active) = &mut self.active else { return Ok(()) };
        self.durable.segment = active.segment.base;
        let durable_end = u32::try_from(extent.position).unwrap_or(u32::MAX);
        let entry = active.segment.finish_index(durable_end);
        active.write_index(entry);
        active.indexed = extent.position;
        let index = active.index.clone();
        self.sync(&[index])?;
        Ok(())
    }

    fn seal(&self, old: &Active) {
        // What waits is lost with the file handle: the index stays short, and the next opening completes it.
        if old.index_waiting.is_empty()
            && let Ok(map) = self.disk.map(old.index.path())
        {
            old.segment.seal(Box::new(StoredIndex::new(map)));
        }
    }

    /// The directory and the files that every partition has.
    fn create_partition(&mut self) -> Result<(), ChangeError> {
        self.disk.create_dir_all(&self.dir)?;
        self.store(&self.identity.clone())?;
        let epochs = self.epochs.clone();
        self.store(&epochs)?;
        self.stored_epochs = epochs;
        Ok(())
    }

    fn create_segment(&mut self, now: Timestamp) -> Result<Active, ChangeError> {
        let base = self.span().end;
        let create = |name: String| {
            let path = self.dir.join(name);
            match self.disk.remove_file(&path) {
                Err(error) if !error.is_not_found() => return Err(error), // An attempt before this one failed half-way.
                _ => {}
            }
            self.disk.create(&path)
        };
        let index = create(segment::index_name(base))?;
        let file = create(segment::log_name(base))?;
        let segment = Segment::growing(base, file, self.options.index.make(self.seed()));
        Ok(Active {
            segment: Arc::new(segment),
            index,
            index_length: 0,
            index_waiting: Vec::new(),
            allocated: 0,
            indexed: 0,
            created: Some(now),
        })
    }

    pub(super) fn store_snapshot(&mut self, now: Timestamp) -> Result<(), ChangeError> {
        self.producers.expire(now, self.options.producer_expiry_ms, self.options.producers_max);
        let snapshot = Snapshot { offset: self.span().end, states: self.producers.clone() };
        if 0 < snapshot.states.len() { self.store(&snapshot) } else { Ok(()) }
    }
}

impl From<ChangeError> for AppendError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Disk(error) => Self::Disk(error),
            ChangeError::Failed(failed) => Self::Failed(failed),
            ChangeError::StaleEpoch { found, current } => Self::StaleEpoch { found, current },
            ChangeError::OffsetOutOfRange { log_end, .. } => Self::NoOffsetsLeft { end: log_end },
        }
    }
}

