//! One open file of the operating system.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::stat;
use super::sync::Syncs;
use crate::disk::{DiskError, DiskFile};

pub(super) struct FileHandle {
    file: File,
    path: PathBuf,
    /// One sync at a time: of two at once the kernel would tell only one that it failed.
    turn: Mutex<()>,
    syncs: Arc<Syncs>,
}

impl FileHandle {
    pub(super) fn new(file: File, path: &Path, syncs: Arc<Syncs>) -> Self {
        Self { file, path: path.to_owned(), turn: Mutex::new(()), syncs }
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        let before = stat::len_of(&self.file)?;
        let Some(more) = len.checked_sub(before).filter(|more| *more > 0) else {
            return Ok(());
        };
        let reserved =
            rustix::io::retry_on_intr(|| rustix::fs::fallocate(&self.file, FallocateFlags::empty(), before, more));
        match reserved {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            other => Ok(other?),
        }
    }
}

impl DiskFile for FileHandle {
    fn write_all_at(&self, bytes: &[u8], position: u64) -> Result<(), DiskError> {
        self.file.write_all_at(bytes, position).map_err(DiskError::at("write", &self.path))
    }

    fn read_at(&self, into: &mut [u8], position: u64) -> Result<usize, DiskError> {
        let mut filled = 0;
        while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, position.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(DiskError::at("read", &self.path)(error)),
            }
        }
        Ok(filled)
    }

    fn len(&self) -> Result<u64, DiskError> {
        stat::len_of(&self.file).map_err(DiskError::at("stat", &self.path))
    }

    fn set_len(&self, len: u64) -> Result<(), DiskError> {
        self.file.set_len(len).map_err(DiskError::at("resize", &self.path))
    }

    fn allocate(&self, len: u64) -> Result<(), DiskError> {
        self.reserve(len).map_err(DiskError::at("allocate", &self.path))
    }

    fn sync(&self) -> Result<(), DiskError> {
        let _turn = self.turn.lock();
        // fdatasync is enough: it also writes the length and the extents that reading the data back needs.
        self.syncs.run(|| self.file.sync_data()).map_err(DiskError::of_sync("sync", &self.path))
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}
