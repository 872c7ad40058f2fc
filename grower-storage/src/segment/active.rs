//! The segment that is being written: its two files, and what is known only to the writer.

use super::ahead::{Ahead, ZEROS};
use super::{Segment, SegmentFill};
use crate::disk::{DiskError, ErrorClass, SharedFile};
use crate::kept::DurableEnd;
use crate::options::LogOptions;
use grower_index::{ENTRY_LENGTH, Entry, NotedBatch};
use grower_protocol::batch::Batch;
use grower_protocol::ids::{Offset, Timestamp};
use std::sync::Arc;

/// One owner's side of a [`Segment`] that readers share.
pub(crate) struct Active {
    pub(crate) segment: Arc<Segment>,
    pub(crate) log: SharedFile,
    pub(crate) index: SharedFile,
    /// How much of the index file is written.
    index_length: u64,
    /// Entries that are not in the index file yet: writing them failed, and is tried again with the next. The segment holds
    /// them in memory until it is told that they are.
    index_waiting: Vec<u8>,
    ahead: Ahead,
    /// Whether bytes of a batch that was not written may stand after the end, because they could not be cut off yet.
    uncut: bool,
    /// How much of the log is covered by synced index entries.
    indexed: u64,
    /// When its first batch was appended, by the clock for ages.
    created: Option<Timestamp>,
    /// When its last batch was appended, by the same clock.
    appended: Option<Timestamp>,
}

/// Why a batch is not in the file.
pub(crate) enum WriteError {
    /// The file is as it was, or is cut before anything else is written to it.
    Undone(DiskError),
    /// It may have bytes at its end that are no batch, and the disk refuses to remove them.
    Stuck(DiskError),
}

/// What a sync of the active segment makes durable.
#[derive(Clone, Copy)]
pub(crate) struct SegmentFlush {
    /// The segment, by its base offset.
    pub(crate) segment: Offset,
    /// How far its log was written.
    pub(crate) position: u64,
    /// How much of the log is durably indexed afterwards, if the index takes part.
    indexed: Option<u64>,
}

impl Active {
    /// Goes on with a segment whose index file holds all entries of its index. Seeds differ between partitions.
    pub(crate) fn new(segment: Arc<Segment>, log: SharedFile, index: SharedFile, allocated: u64, seed: u32) -> Self {
        let index_length = (segment.entry_count() * ENTRY_LENGTH) as u64;
        let indexed = segment.extent().position;
        let ahead = Ahead::new(indexed, allocated, seed);
        Self {
            segment,
            log,
            index,
            index_length,
            index_waiting: Vec::new(),
            ahead,
            uncut: false,
            indexed,
            created: None,
            appended: None,
        }
    }

    /// Lets a segment of an earlier process age from the timestamps of its first and its last batch, since no file says when
    /// those came.
    pub(crate) fn aged_since(mut self, first: Option<Timestamp>, last: Option<Timestamp>) -> Self {
        (self.created, self.appended) = (first, last);
        self
    }

    /// A batch was appended.
    pub(crate) fn appended_at(&mut self, now: Timestamp) {
        self.appended = Some(now);
    }

    pub(crate) fn position(&self) -> u64 {
        self.segment.extent().position
    }

    /// What decides whether it takes another batch, and whether it rolls without one.
    pub(crate) fn fill(&mut self, now: Timestamp) -> SegmentFill {
        let stats = self.segment.stats();
        let age_ms = now.millis_since(*self.created.get_or_insert(now));
        let quiet_ms = now.millis_since(*self.appended.get_or_insert(now));
        SegmentFill { bytes: stats.bytes, records: stats.records, age_ms, quiet_ms }
    }

    /// The files to sync, the log first, and what is durable afterwards.
    pub(crate) fn flush(&self, options: &LogOptions) -> (Vec<SharedFile>, SegmentFlush) {
        let position = self.position();
        let with_index = u64::from(options.index_flush_bytes) <= position - self.indexed;
        let mut files = vec![self.log.clone()];
        if with_index {
            files.push(self.index.clone());
        }
        (files, SegmentFlush { segment: self.segment.base, position, indexed: with_index.then_some(position) })
    }

    /// Takes note of a flush of this segment that succeeded. `awaited` says whether somebody waited for it.
    pub(crate) fn flushed(&mut self, flush: &SegmentFlush, awaited: bool) {
        assert_eq!(self.segment.base, flush.segment, "a flush is of the active segment");
        assert!(flush.position <= self.position(), "a flush ends within what was written");
        self.indexed = self.indexed.max(flush.indexed.unwrap_or(0));
        if awaited {
            self.ahead.synced();
        }
    }

    /// Writes the batch, or leaves the file as it was.
    pub(crate) fn write(&mut self, batch: &Batch, options: &LogOptions) -> Result<(), WriteError> {
        let position = self.position();
        if self.uncut {
            self.cut_at(position).map_err(WriteError::Undone)?;
        }
        self.prepare(position, position + batch.bytes().len() as u64, options);
        let Err(error) = self.log.write_all_at(batch.bytes(), position) else { return Ok(()) };
        // Part of the batch may be there. It was never in the log, so nobody needs to know that it is durably gone.
        self.uncut = true;
        match self.cut_at(position).map_err(|error| error.class()) {
            Ok(()) | Err(ErrorClass::Full | ErrorClass::Temporary) => Err(WriteError::Undone(error)),
            Err(ErrorClass::Refused | ErrorClass::SyncFailed) => Err(WriteError::Stuck(error)),
        }
    }

    fn cut_at(&mut self, position: u64) -> Result<(), DiskError> {
        self.log.set_len(position)?;
        self.ahead.cut(position);
        self.uncut = false;
        Ok(())
    }

    /// Room and zeros ahead make syncs cheaper, no more: the write itself finds out whether there is any.
    fn prepare(&mut self, position: u64, end: u64, options: &LogOptions) {
        if options.preallocate_bytes == 0 {
            return;
        }
        if !self.ahead.is_beyond(end - 1) {
            let full = u64::from(options.segment_bytes).max(end);
            let room = (end + u64::from(options.preallocate_bytes)).min(full);
            if self.log.allocate(room).is_err() {
                return;
            }
            self.ahead.allocate(room);
        }
        if let Some(fill) = self.ahead.fill(position, end, options.preallocate_bytes)
            && let Some(zeros) = ZEROS.get(..(fill.end - fill.start) as usize)
            && let Err(error) = self.log.write_all_at(zeros, fill.start)
        {
            tracing::debug!(%error, "no zeros were written ahead");
        }
    }

    /// Makes a written batch visible, and indexes it.
    pub(crate) fn publish(&mut self, batch: &Batch, durable: DurableEnd) {
        let header = batch.header();
        let base = self.segment.base;
        let durable_end = if durable.segment == base { durable.position } else { 0 };
        let Some(prefix) = batch.bytes().first_chunk() else { return };
        let noted = NotedBatch {
            prefix,
            next_relative_offset: narrow(header.next_offset().since(base)),
            end: narrow(self.position() + batch.bytes().len() as u64),
            max_timestamp: header.max_timestamp.as_millis(),
            witnessed: true,
        };
        let entry = self.segment.note(&noted, narrow(durable_end));
        self.write_index(entry);
    }

    /// Appends an entry to the index file. The index is a hint: when that fails, appends go on.
    fn write_index(&mut self, entry: Option<Entry>) {
        let Some(entry) = entry else { return };
        self.index_waiting.extend_from_slice(&entry.encode());
        match self.index.write_all_at(&self.index_waiting, self.index_length) {
            Ok(()) => {
                self.index_length += self.index_waiting.len() as u64;
                self.index_waiting.clear();
                self.segment.index_stored(self.index_length);
            }
            Err(error) => tracing::warn!(%error, "an index entry waits to be written"),
        }
    }

    /// Cuts what is allocated ahead; says whether the file must be synced for that.
    pub(crate) fn trim(&mut self) -> Result<bool, DiskError> {
        let position = self.position();
        let longer = self.uncut || self.ahead.is_beyond(position);
        if longer {
            self.cut_at(position)?;
        }
        Ok(longer)
    }

    /// Lets the index speak for everything, all of it durable; says whether its file must be synced for that.
    pub(crate) fn finish_index(&mut self) -> bool {
        let position = self.position();
        let entry = self.segment.finish_index(narrow(position));
        let changed = entry.is_some() || self.indexed < position;
        self.write_index(entry);
        self.indexed = position;
        changed
    }

    /// Whether the index file holds all entries.
    pub(crate) fn index_is_whole(&self) -> bool {
        self.index_waiting.is_empty()
    }
}

/// Positions and relative offsets of a segment fit 32 bits because it rolls before they would not.
pub(crate) fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
