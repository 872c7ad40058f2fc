//! A range of a log by position, so that its bytes need not be in memory.

use crate::disk::{DiskError, SharedFile};
use bytes::Bytes;
use grower_protocol::ids::Offset;
use std::fmt;
use std::ops::Range;
use std::os::fd::BorrowedFd;

/// Whole batches, one after another: a range of a segment file, or bytes if the log is in memory.
///
/// It stays readable if retention removes the file meanwhile.
#[derive(Clone)]
pub struct Slice {
    source: SliceSource,
    offsets: Range<Offset>,
}

#[derive(Clone)]
enum SliceSource {
    File { file: SharedFile, position: u64, length: usize },
    Memory(Bytes),
}

impl Slice {
    pub(crate) fn file(file: SharedFile, bytes: Range<u64>, offsets: Range<Offset>) -> Self {
        debug_assert!(bytes.start < bytes.end && offsets.start < offsets.end, "a slice has whole batches");
        let length = usize::try_from(bytes.end - bytes.start).unwrap_or(usize::MAX);
        Self { source: SliceSource::File { file, position: bytes.start, length }, offsets }
    }

    pub(crate) fn memory(bytes: Bytes, offsets: Range<Offset>) -> Self {
        Self { source: SliceSource::Memory(bytes), offsets }
    }

    /// The offsets of its batches; a fetch from the middle of a batch gets all of it.
    pub fn offsets(&self) -> Range<Offset> {
        self.offsets.clone()
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        match &self.source {
            SliceSource::File { length, .. } => *length,
            SliceSource::Memory(bytes) => bytes.len(),
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The descriptor and the position in it, for `sendfile`; none if the log is in memory.
    pub fn fd(&self) -> Option<(BorrowedFd<'_>, u64)> {
        match &self.source {
            SliceSource::File { file, position, .. } => file.fd().map(|fd| (fd, *position)),
            SliceSource::Memory(_) => None,
        }
    }

    /// Reads all of it.
    pub fn read(&self) -> Result<Bytes, DiskError> {
        match &self.source {
            SliceSource::Memory(bytes) => Ok(bytes.clone()),
            SliceSource::File { length, .. } => {
                let mut bytes = vec![0; *length];
                let read = self.read_into(&mut bytes, 0)?;
                bytes.truncate(read);
                Ok(bytes.into())
            }
        }
    }

    /// Fills `into` with its bytes from `skip` on and returns how many: fewer than fit only at its end, or if the log
    /// was truncated since.
    pub fn read_into(&self, into: &mut [u8], skip: usize) -> Result<usize, DiskError> {
        let wanted = into.len().min(self.len().saturating_sub(skip));
        let into = &mut into[..wanted];
        match &self.source {
            SliceSource::File { file, position, .. } => file.read_at(into, position + skip as u64),
            SliceSource::Memory(bytes) => {
                into.copy_from_slice(&bytes[skip.min(bytes.len())..][..wanted]);
                Ok(wanted)
            }
        }
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, end) = (self.offsets.start, self.offsets.end);
        write!(f, "Slice({start}..{end}, {} bytes)", self.len())
    }
}
