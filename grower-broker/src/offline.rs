//! Looking into the files of a data directory while no broker needs to run.
//!
//! Nothing here changes a file. [`Dump`] walks one segment, batch by batch.

use bytes::{Bytes, BytesMut};
use grower_protocol::batch::{Batch, BatchError, BatchHeader, HEADER_LENGTH, HeaderError, RecordsError};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

pub use grower_protocol::batch::RecordView as DumpedRecord;

/// The most that the records of one batch may take once they are decompressed.
const RECORD_BYTES_MAX: usize = 1 << 30;

/// Walks a segment file from its first batch to its last. Ends after an error that hides where the next batch begins.
#[derive(Debug)]
pub struct Dump {
    file: File,
    position: u64,
    length: u64,
}

/// One batch of a segment.
#[derive(Clone, Debug)]
pub struct DumpedBatch {
    /// Where it begins in the file.
    pub position: u64,
    batch: Batch,
}

/// What a segment file holds at a place where no sound batch is.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The file cannot be read.
    #[error("at byte {position}: {source}")]
    Io {
        /// Where.
        position: u64,
        /// Why.
        source: io::Error,
    },
    /// No header, so nothing after it can be found.
    #[error("no batch at byte {position}: {source}")]
    Header {
        /// Where.
        position: u64,
        /// What is wrong.
        source: HeaderError,
    },
    /// The file ends within a batch.
    #[error("the batch at byte {position} is cut short: it has {wanted} bytes, {found} are left")]
    Torn {
        /// Where.
        position: u64,
        /// What its header says.
        wanted: u64,
        /// What the file still holds.
        found: u64,
    },
    /// A header with other content than it was written with; the walk goes on behind it.
    #[error("the batch at byte {position} is damaged: {source}")]
    Batch {
        /// Where.
        position: u64,
        /// What is wrong.
        source: BatchError,
    },
}

impl Dump {
    /// Opens a segment file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { file, position: 0, length })
    }

    /// How many bytes stand after the last batch that was handed out. At the end of the walk: a torn tail, or room kept
    /// ready for what comes next, which reads as zeros.
    pub fn rest(&self) -> u64 {
        self.length - self.position
    }

    fn read(&self, length: usize) -> Result<Bytes, DumpError> {
        let mut bytes = BytesMut::zeroed(length);
        let read = self.file.read_exact_at(&mut bytes, self.position);
        read.map_err(|source| DumpError::Io { position: self.position, source })?;
        Ok(bytes.freeze())
    }

    /// The batch at the current position; none at the end.
    fn batch(&mut self) -> Result<Option<DumpedBatch>, DumpError> {
        let (position, found) = (self.position, self.rest());
        if found == 0 {
            return Ok(None);
        }
        if found < HEADER_LENGTH as u64 {
            let is_room = self.read(found as usize)?.iter().all(|byte| *byte == 0);
            return if is_room {
                Ok(None)
            } else {
                Err(DumpError::Torn { position, wanted: HEADER_LENGTH as u64, found })
            };
        }
        let head = self.read(HEADER_LENGTH)?;
        if head.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = BatchHeader::parse(&head).map_err(|source| DumpError::Header { position, source })?;
        let wanted = header.total_length as u64;
        if found < wanted {
            return Err(DumpError::Torn { position, wanted, found });
        }
        let bytes = self.read(header.total_length)?;
        self.position += wanted;
        let batch = Batch::check(bytes).map_err(|source| DumpError::Batch { position, source })?;
        Ok(Some(DumpedBatch { position, batch }))
    }
}

impl Iterator for Dump {
    type Item = Result<DumpedBatch, DumpError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.batch().transpose();
        if matches!(&item, Some(Err(error)) if !matches!(error, DumpError::Batch { .. })) {
            self.length = self.position; // Nobody knows where the next one would begin.
        }
        item
    }
}

impl DumpedBatch {
    /// Its header.
    pub fn header(&self) -> &BatchHeader {
        self.batch.header()
    }

    /// Its records, decompressed.
    pub fn records(&self) -> Result<Vec<DumpedRecord>, RecordsError> {
        self.batch.records(RECORD_BYTES_MAX)?.collect()
    }
}
