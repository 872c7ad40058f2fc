//! Writes the files of a compacted segment, under temporary names until a manifest publishes them.

use super::CompactionError;
use crate::disk::{Disk, DiskError, SharedFile, if_found};
use crate::options::IndexFactory;
use crate::segment;
use grower_index::{GrowingIndex, IndexedBatch};
use grower_protocol::batch::Batch;
use grower_protocol::ids::{Offset, Timestamp};
use std::path::Path;

/// Bytes are written to disk in chunks of this size.
const CHUNK: usize = 1 << 20;

/// A file that is written from its start to its end.
struct FileStream {
    file: SharedFile,
    written: u64,
    waiting: Vec<u8>,
}

impl FileStream {
    fn create(disk: &dyn Disk, path: &Path) -> Result<Self, DiskError> {
        if_found(disk.remove_file(path))?; // From a pass that failed.
        Ok(Self { file: disk.create(path)?, written: 0, waiting: Vec::new() })
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        self.waiting.extend_from_slice(bytes);
        if CHUNK <= self.waiting.len() { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        self.file.write_all_at(&self.waiting, self.written)?;
        self.written += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    fn length(&self) -> u64 {
        self.written + self.waiting.len() as u64
    }
}

/// A segment being written.
pub(super) struct NewSegment {
    base: Offset,
    /// The offset after the last record.
    end: Offset,
    log: FileStream,
    index: FileStream,
    growing: Box<dyn GrowingIndex>,
    delete_horizon: Option<Timestamp>,
}

/// A segment whose files are durable.
pub(super) struct WrittenSegment {
    /// Length of its log file.
    pub(super) bytes: u64,
    /// When its first tombstones may go.
    pub(super) delete_horizon: Option<Timestamp>,
}

impl NewSegment {
    pub(super) fn create(
        disk: &dyn Disk,
        dir: &Path,
        base: Offset,
        factory: &IndexFactory,
        seed: u32,
    ) -> Result<Self, DiskError> {
        let (log, index) = segment::compacted_names(base);
        let log = FileStream::create(disk, &dir.join(log))?;
        let index = FileStream::create(disk, &dir.join(index))?;
        Ok(Self { base, end: base, log, index, growing: factory.make(seed), delete_horizon: None })
    }

    pub(super) fn put(&mut self, batch: &Batch) -> Result<(), CompactionError> {
        let too_large = |_| CompactionError::TooLarge { base: self.base };
        let header = batch.header();
        assert_eq!(header.base_offset, self.end, "compacted batches follow each other without a gap");
        let end = u32::try_from(self.log.length() + batch.bytes().len() as u64).map_err(too_large)?;
        let next_relative_offset = u32::try_from(header.next_offset().since(self.base)).map_err(too_large)?;
        let prefix = batch.bytes().first_chunk().expect("a checked batch has a header");
        let max_timestamp = header.max_timestamp.as_millis();
        let indexed_batch = IndexedBatch { prefix, next_relative_offset, end, max_timestamp, checksummed: true };
        let entry = self.growing.note(&indexed_batch, 0);
        self.growing.stored(self.growing.entry_count()); // It is searched once it is mapped.
        self.delete_horizon = segment::earlier(self.delete_horizon, segment::of_batch(header));
        self.log.put(batch.bytes())?;
        self.end = header.next_offset();
        entry.map_or(Ok(()), |entry| self.index.put(&entry.encode())).map_err(CompactionError::from)
    }

    /// Makes both files durable, their names included. The segment spans the offsets up to `end`.
    pub(super) fn finish(mut self, end: Offset, disk: &dyn Disk, dir: &Path) -> Result<WrittenSegment, DiskError> {
        assert_eq!(self.end, end, "a compacted segment spans the offsets of those that it replaces");
        let bytes = self.log.length();
        let last = self.growing.finish(u32::try_from(bytes).expect("each batch was checked to fit"));
        last.map_or(Ok(()), |entry| self.index.put(&entry.encode()))?;
        self.log.flush()?;
        self.index.flush()?;
        disk.sync_many(&[self.log.file, self.index.file])?;
        disk.sync_dir(dir)?;
        Ok(WrittenSegment { bytes, delete_horizon: self.delete_horizon })
    }
}
