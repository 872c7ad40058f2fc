//! A disk whose calls fail on demand.
//!
//! It wraps any other disk and passes everything on, except the calls that its [`Faults`] let fail. A failed call has
//! not reached the disk below, apart from the part of a short write.

mod plan;

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

use super::{DirEntry, DirLock, Disk, DiskError, DiskFile, Mapped, OpenFiles, SharedFile, Space};
pub use plan::{Call, Fault, Faults};

/// Any disk, with faults.
///
/// ```
/// # use std::path::Path;
/// # use grower_storage::disk::{Call, Disk, Fault, FaultDisk, MemDisk};
/// let disk = FaultDisk::new(MemDisk::default());
/// let file = disk.create(Path::new("/log"))?;
/// disk.faults().inject(Fault::full(Call::Write, 1).after_bytes(2));
/// file.write_all_at(b"fits", 0)?;
/// assert!(file.write_all_at(b"does not", 4).unwrap_err().is_full());
/// assert_eq!(disk.map(Path::new("/log"))?.as_ref(), b"fitsdo");
/// assert_eq!(disk.faults().calls(Call::Write), 2);
/// # Ok::<(), grower_storage::disk::DiskError>(())
/// ```
pub struct FaultDisk<D> {
    inner: D,
    faults: Faults,
}

impl<D: Disk> FaultDisk<D> {
    /// Wraps `inner`; nothing fails until [`Faults`] say so.
    pub fn new(inner: D) -> Self {
        Self { inner, faults: Faults::default() }
    }

    /// The plan, to be changed at any time.
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    fn wrap(&self, file: SharedFile) -> SharedFile {
        Arc::new(FaultFile { inner: file, faults: self.faults() })
    }
}

impl<D: Disk> Disk for FaultDisk<D> {
    fn create(&self, path: &Path) -> Result<SharedFile, DiskError> {
        self.faults.admit(Call::Create, "create", path)?;
        self.inner.create(path).map(|file| self.wrap(file))
    }

    fn open(&self, path: &Path) -> Result<SharedFile, DiskError> {
        self.faults.admit(Call::Open, "open", path)?;
        self.inner.open(path).map(|file| self.wrap(file))
    }

    fn map(&self, path: &Path) -> Result<Mapped, DiskError> {
        self.faults.admit(Call::Read, "map", path)?;
        self.inner.map(path)
    }

    fn list(&self, dir: &Path) -> Result<Vec<DirEntry>, DiskError> {
        self.faults.admit(Call::List, "list", dir)?;
        self.inner.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> Result<(), DiskError> {
        self.faults.admit(Call::CreateDir, "create directory", dir)?;
        self.inner.create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.faults.admit_both(Call::Rename, "rename", &[from, to])?;
        self.inner.rename(from, to)
    }

    fn replace(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        let dir = to.parent().unwrap_or(to);
        self.faults.admit(Call::OpenDir, "open directory", dir)?;
        self.rename(from, to)?;
        self.faults.admit(Call::SyncDir, "sync directory", dir)?;
        self.inner.sync_dir(dir)
    }

    fn link(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.faults.admit_both(Call::Link, "link", &[from, to])?;
        self.inner.link(from, to)
    }

    fn remove_file(&self, path: &Path) -> Result<(), DiskError> {
        self.faults.admit(Call::Remove, "remove", path)?;
        self.inner.remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> Result<(), DiskError> {
        self.faults.admit(Call::Remove, "remove directory", dir)?;
        self.inner.remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        self.faults.admit(Call::OpenDir, "open directory", dir)?;
        self.faults.admit(Call::SyncDir, "sync directory", dir)?;
        self.inner.sync_dir(dir)
    }

    fn sync_many(&self, files: &[SharedFile]) -> Result<(), DiskError> {
        // One after the other, so that the same number always strikes the same file.
        files.iter().try_for_each(|file| file.sync())
    }

    fn is_in_place(&self, file: &SharedFile) -> Result<bool, DiskError> {
        self.inner.is_in_place(file)
    }

    fn open_files(&self) -> &OpenFiles {
        self.inner.open_files()
    }

    fn space(&self) -> Result<Space, DiskError> {
        self.faults.admit(Call::Stat, "stat", Path::new("."))?;
        self.inner.space()
    }

    fn lock(&self, dir: &Path) -> Result<DirLock, DiskError> {
        self.faults.admit(Call::Lock, "lock", dir)?;
        self.inner.lock(dir)
    }

    fn lock_shared(&self, dir: &Path) -> Result<DirLock, DiskError> {
        self.faults.admit(Call::LockShared, "lock", dir)?;
        self.inner.lock_shared(dir)
    }
}

/// A file whose calls fail on demand.
struct FaultFile {
    inner: SharedFile,
    faults: Faults,
}

impl FaultFile {
    fn admit(&self, call: Call, operation: &'static str) -> Result<(), DiskError> {
        self.faults.admit(call, operation, self.inner.path())
    }
}

impl DiskFile for FaultFile {
    fn write_all_at(&self, bytes: &[u8], position: u64) -> Result<(), DiskError> {
        let Err(struck) = self.faults.admit_write(Call::Write, &[self.inner.path()]) else {
            return self.inner.write_all_at(bytes, position);
        };
        let written = bytes.get(..struck.written).unwrap_or(bytes);
        self.inner.write_all_at(written, position)?;
        Err(DiskError::at("write", self.inner.path())(struck.error))
    }

    fn read_at(&self, into: &mut [u8], position: u64) -> Result<usize, DiskError> {
        self.admit(Call::Read, "read")?;
        self.inner.read_at(into, position)
    }

    fn len(&self) -> Result<u64, DiskError> {
        self.admit(Call::Stat, "stat")?;
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> Result<(), DiskError> {
        self.admit(Call::SetLen, "resize")?;
        self.inner.set_len(len)
    }

    fn allocate(&self, len: u64) -> Result<(), DiskError> {
        self.admit(Call::Allocate, "allocate")?;
        self.inner.allocate(len)
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.admit(Call::Sync, "sync")?;
        self.inner.sync()
    }

    fn path(&self) -> &Path {
        self.inner.path()
    }

    /// Passed on: what is read or sent through the descriptor meets no fault.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.fd()
    }
}

#[cfg(test)]
mod tests;
