//! The active segment: its two files, and the state that only the writer has.

use super::preallocation::{Preallocation, ZEROS};
use super::{LogPosition, Segment, SegmentFill};
use crate::disk::{DiskError, ErrorClass, SharedFile};
use crate::options::LogOptions;
use crate::state_file::DurableEnd;
use grower_index::{ENTRY_LENGTH, IndexEntry, IndexedBatch};
use grower_protocol::batch::Batch;
use grower_protocol::ids::{Offset, Timestamp};
use std::sync::Arc;

/// The writer's side of a [`Segment`] that readers share.
pub(crate) struct ActiveSegment {
    pub(crate) segment: Arc<Segment>,
    pub(crate) log: SharedFile,
    pub(crate) index: SharedFile,
    /// How much of the index file is written, in bytes.
    index_length: u64,
    /// Encoded entries that are not in the index file yet, because writing them failed: they are tried again with the
    /// next. The segment keeps them in memory until then.
    index_waiting: Vec<u8>,
    preallocation: Preallocation,
    /// Whether part of a batch whose write failed may stand after the end: the next write cuts it off first.
    uncut: bool,
    /// How much of the log the synced index entries cover.
    indexed: u64,
    /// When its first batch was appended, by the clock for ages.
    created: Option<Timestamp>,
    /// When its last batch was appended, by the same clock.
    appended: Option<Timestamp>,
}

/// Why a batch is not in the file.
pub(crate) enum WriteError {
    /// The file is unchanged, or is cut before the next write.
    Undone(DiskError),
    /// Part of the batch may stand at the end of the file, and the disk refuses to cut it off.
    Stuck(DiskError),
}

/// The part of the active segment that a sync makes durable.
#[derive(Clone, Copy)]
pub(crate) struct SegmentFlush {
    /// The segment, by its base offset.
    pub(crate) segment: Offset,
    /// How far its log was written.
    pub(crate) position: u64,
    /// How much of the log is durably indexed afterwards, if the index takes part.
    indexed: Option<u64>,
}

impl ActiveSegment {
    /// Continues a segment whose index file holds all entries of its index. Seeds differ between partitions.
    pub(crate) fn new(segment: Arc<Segment>, log: SharedFile, index: SharedFile, allocated: u64, seed: u32) -> Self {
        let index_length = (segment.entry_count() * ENTRY_LENGTH) as u64;
        let indexed = segment.end_position().bytes;
        let preallocation = Preallocation::new(indexed, allocated, seed);
        Self {
            segment,
            log,
            index,
            index_length,
            index_waiting: Vec::new(),
            preallocation,
            uncut: false,
            indexed,
            created: None,
            appended: None,
        }
    }

    /// Lets a segment of an earlier process age from the timestamps of its first and last batch: no file says when
    /// they were appended.
    pub(crate) fn aged_since(mut self, first: Option<Timestamp>, last: Option<Timestamp>) -> Self {
        (self.created, self.appended) = (first, last);
        self
    }

    /// Notes when a batch was appended.
    pub(crate) fn appended_at(&mut self, now: Timestamp) {
        self.appended = Some(now);
    }

    pub(crate) fn position(&self) -> u64 {
        self.segment.end_position().bytes
    }

    /// How full and how old it is.
    pub(crate) fn fill(&mut self, now: Timestamp) -> SegmentFill {
        let stats = self.segment.stats();
        let age_ms = now.millis_since(*self.created.get_or_insert(now));
        let quiet_ms = now.millis_since(*self.appended.get_or_insert(now));
        SegmentFill { bytes: stats.bytes, records: stats.records, age_ms, quiet_ms }
    }

    /// Returns the files to sync, the log first, and what the sync makes durable.
    pub(crate) fn flush(&self, options: &LogOptions) -> (Vec<SharedFile>, SegmentFlush) {
        let position = self.position();
        debug_assert!(self.indexed <= position, "no synced entry covers bytes past the end");
        let with_index = u64::from(options.index_flush_bytes) <= position - self.indexed;
        let mut files = vec![self.log.clone()];
        if with_index {
            files.push(self.index.clone());
        }
        (files, SegmentFlush { segment: self.segment.base, position, indexed: with_index.then_some(position) })
    }

    /// Notes a flush of this segment that succeeded. `awaited` says whether a producer waited for it.
    pub(crate) fn flushed(&mut self, flush: &SegmentFlush, awaited: bool) {
        assert_eq!(self.segment.base, flush.segment, "a flush is of the active segment");
        assert!(flush.position <= self.position(), "a flush ends within what was written");
        self.indexed = self.indexed.max(flush.indexed.unwrap_or(0));
        if awaited {
            self.preallocation.synced();
        }
    }

    /// Writes the batch, or leaves the file as it was.
    pub(crate) fn write(&mut self, batch: &Batch, options: &LogOptions) -> Result<(), WriteError> {
        let LogPosition { bytes: position, offset } = self.segment.end_position();
        assert_eq!(batch.header().base_offset, offset, "batches follow each other without a gap");
        if self.uncut {
            self.cut_at(position).map_err(WriteError::Undone)?;
        }
        self.prepare(position, position + batch.bytes().len() as u64, options);
        let Err(error) = self.log.write_all_at(batch.bytes(), position) else { return Ok(()) };
        // Part of the batch may be there. It was never in the log, so its removal need not be durable.
        self.uncut = true;
        match self.cut_at(position).map_err(|error| error.class()) {
            Ok(()) | Err(ErrorClass::Full | ErrorClass::Temporary) => Err(WriteError::Undone(error)),
            Err(ErrorClass::Refused | ErrorClass::SyncFailed) => Err(WriteError::Stuck(error)),
        }
    }

    fn cut_at(&mut self, position: u64) -> Result<(), DiskError> {
        self.log.set_len(position)?;
        self.preallocation.cut(position);
        self.uncut = false;
        Ok(())
    }

    /// Allocates and zeroes ahead. That only makes syncs cheaper: if there is no room, the write itself finds out.
    fn prepare(&mut self, position: u64, end: u64, options: &LogOptions) {
        if options.preallocate_bytes == 0 {
            return;
        }
        if !self.preallocation.is_beyond(end - 1) {
            let full = u64::from(options.segment_bytes).max(end);
            let room = (end + u64::from(options.preallocate_bytes)).min(full);
            if self.log.allocate(room).is_err() {
                return;
            }
            self.preallocation.allocate(room);
        }
        if let Some(fill) = self.preallocation.fill(position, end, options.preallocate_bytes)
            && let Some(zeros) = ZEROS.get(..(fill.end - fill.start) as usize)
            && let Err(error) = self.log.write_all_at(zeros, fill.start)
        {
            tracing::debug!(%error, "no zeros were written ahead");
        }
    }

    /// Makes a written batch visible and indexes it.
    pub(crate) fn publish(&mut self, batch: &Batch, durable: DurableEnd) {
        let header = batch.header();
        let base = self.segment.base;
        let durable_end = if durable.segment == base { durable.position } else { 0 };
        debug_assert!(durable_end <= self.position(), "an entry vouches for bytes that are written and synced");
        let prefix = batch.bytes().first_chunk().expect("a checked batch has a header");
        let indexed_batch = IndexedBatch {
            prefix,
            next_relative_offset: fits(header.next_offset().since(base)),
            end: fits(self.position() + batch.bytes().len() as u64),
            max_timestamp: header.max_timestamp.as_millis(),
            checksummed: true,
        };
        let entry = self.segment.note(&indexed_batch, narrow(durable_end));
        self.write_index(entry);
    }

    /// Appends an entry to the index file. The index is a hint: if that fails, appends continue.
    fn write_index(&mut self, entry: Option<IndexEntry>) {
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

    /// Cuts off what is allocated ahead. True if the file must be synced for that.
    pub(crate) fn trim(&mut self) -> Result<bool, DiskError> {
        let position = self.position();
        let longer = self.uncut || self.preallocation.is_beyond(position);
        if longer {
            self.cut_at(position)?;
        }
        Ok(longer)
    }

    /// Writes the closing index entry, which covers all of the log as durable. True if the index file must be synced
    /// for that.
    pub(crate) fn finish_index(&mut self) -> bool {
        let position = self.position();
        let entry = self.segment.finish_index(narrow(position));
        let changed = entry.is_some() || self.indexed < position;
        self.write_index(entry);
        debug_assert!(self.indexed <= position, "no entry covers bytes past the end");
        self.indexed = position;
        changed
    }

    /// Whether the index file holds all entries.
    pub(crate) fn index_is_whole(&self) -> bool {
        self.index_waiting.is_empty()
    }
}

/// Positions and relative offsets of an active segment fit 32 bits: it rolls before they would not.
fn fits(value: u64) -> u32 {
    u32::try_from(value).expect("a segment rolls before its index cannot count it")
}

/// A position in a file that may be longer than an index can count: every entry is before it.
pub(crate) fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
