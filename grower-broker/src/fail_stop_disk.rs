//! A disk whose first failed sync or write ends the broker, wherever it happens.
//!
//! After a failed sync the content of the disk is unknown, and no later success proves anything. After a failed write,
//! other than for lack of space, only a restart can open the logs again. So the broker stops; this is the one place
//! that decides so. A failed read ends nothing: the rest can still be served.

use crate::health::Health;
use crate::reserve_file::ReserveFile;
use grower_storage::disk::{
    DirEntry, DirLock, Disk, DiskError, DiskFile, ErrorClass, Mapped, OpenFiles, SharedFile, Space,
};
use rustix::io::Errno;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

/// Wraps another disk, and ends the broker when it fails.
pub(crate) struct FailStopDisk {
    disk: Arc<dyn Disk>,
    health: Health,
    /// Used up when the disk has no byte left.
    reserve: Arc<ReserveFile>,
}

struct FailStopFile {
    file: SharedFile,
    health: Health,
    reserve: Arc<ReserveFile>,
}

impl FailStopDisk {
    pub(crate) fn new(disk: Arc<dyn Disk>, health: Health, reserve: Arc<ReserveFile>) -> Self {
        Self { disk, health, reserve }
    }

    fn change<T>(&self, path: &Path, change: impl Fn() -> Result<T, DiskError>) -> Result<T, DiskError> {
        fail_stop(&self.health, self.reserve.with_reserve(path, change)).map_err(|error| self.name_inodes(error))
    }

    /// Names inodes in the error: "No space left on device" suggests bytes.
    fn name_inodes(&self, error: DiskError) -> DiskError {
        if !self.reserve.is_for_inodes(&error) {
            return error;
        }
        let kind = error.kind();
        error.because(io::Error::new(kind, "the file system has no inode left (see df -i): remove files"))
    }

    fn watch(&self, file: SharedFile) -> SharedFile {
        Arc::new(FailStopFile { file, health: self.health.clone(), reserve: self.reserve.clone() })
    }
}

fn fail_stop<T>(health: &Health, done: Result<T, DiskError>) -> Result<T, DiskError> {
    done.inspect_err(|error| {
        if error.is_directory_moved() {
            health.fail(format!("files in use were moved or removed: {error}"));
        } else if error.class() == ErrorClass::SyncFailed {
            health.fail(format!("a sync failed, so the content of the disk is unknown: {error}"));
        } else if is_broken(error) {
            health.fail(format!("the disk refuses writes: {error}"));
        }
    })
}

/// Whether the device or its file system has failed.
fn is_broken(error: &DiskError) -> bool {
    let errno = error.source.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::IO | Errno::ROFS | Errno::NXIO | Errno::NODEV | Errno::UCLEAN))
}

impl Disk for FailStopDisk {
    fn create(&self, path: &Path) -> Result<SharedFile, DiskError> {
        Ok(self.watch(self.change(path, || self.disk.create(path))?))
    }

    fn open(&self, path: &Path) -> Result<SharedFile, DiskError> {
        let opened = self.disk.open(path);
        match &opened {
            Err(error) if error.is_directory_moved() => Ok(self.watch(fail_stop(&self.health, opened)?)),
            _ => Ok(self.watch(opened?)),
        }
    }

    fn map(&self, path: &Path) -> Result<Mapped, DiskError> {
        self.disk.map(path)
    }

    fn list(&self, dir: &Path) -> Result<Vec<DirEntry>, DiskError> {
        self.disk.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> Result<(), DiskError> {
        self.change(dir, || self.disk.create_dir_all(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.change(to, || self.disk.rename(from, to)).inspect(|()| self.reserve.reclaim_inode())
    }

    fn replace(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.change(to, || self.disk.replace(from, to)).inspect(|()| self.reserve.reclaim_inode())
    }

    fn link(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.change(to, || self.disk.link(from, to))
    }

    fn remove_file(&self, path: &Path) -> Result<(), DiskError> {
        fail_stop(&self.health, self.disk.remove_file(path))
    }

    fn remove_dir_all(&self, dir: &Path) -> Result<(), DiskError> {
        fail_stop(&self.health, self.disk.remove_dir_all(dir))
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        fail_stop(&self.health, self.disk.sync_dir(dir))
    }

    fn sync_many(&self, files: &[SharedFile]) -> Result<(), DiskError> {
        fail_stop(&self.health, self.disk.sync_many(files))
    }

    fn is_in_place(&self, file: &SharedFile) -> Result<bool, DiskError> {
        match self.disk.is_in_place(file) {
            Err(error) if error.is_directory_moved() => fail_stop(&self.health, Err(error)),
            found => found,
        }
    }

    fn open_files(&self) -> &OpenFiles {
        self.disk.open_files()
    }

    fn space(&self) -> Result<Space, DiskError> {
        self.disk.space()
    }

    fn lock(&self, dir: &Path) -> Result<DirLock, DiskError> {
        self.disk.lock(dir)
    }

    fn lock_shared(&self, dir: &Path) -> Result<DirLock, DiskError> {
        self.disk.lock_shared(dir)
    }
}

impl DiskFile for FailStopFile {
    fn write_all_at(&self, bytes: &[u8], position: u64) -> Result<(), DiskError> {
        fail_stop(&self.health, self.reserve.with_reserve(self.file.path(), || self.file.write_all_at(bytes, position)))
    }

    fn read_at(&self, into: &mut [u8], position: u64) -> Result<usize, DiskError> {
        self.file.read_at(into, position)
    }

    fn len(&self) -> Result<u64, DiskError> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> Result<(), DiskError> {
        fail_stop(&self.health, self.reserve.with_reserve(self.file.path(), || self.file.set_len(len)))
    }

    fn allocate(&self, len: u64) -> Result<(), DiskError> {
        fail_stop(&self.health, self.file.allocate(len))
    }

    fn sync(&self) -> Result<(), DiskError> {
        fail_stop(&self.health, self.file.sync())
    }

    fn path(&self) -> &Path {
        self.file.path()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use grower_storage::disk::{Call, Fault, FaultDisk, MemDisk};

    fn watched(disk: impl Disk + 'static) -> (FailStopDisk, Health) {
        let health = Health::new(Metrics::for_test());
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let reserve = Arc::new(ReserveFile::new(disk.clone(), Path::new("/")));
        (FailStopDisk::new(disk, health.clone(), reserve), health)
    }

    #[test]
    fn a_fail_stop_disk_meets_the_disk_contract() {
        let (disk, health) = watched(MemDisk::default());
        grower_storage::contract::disk(&disk, "/".as_ref());
        assert_eq!(health.failure(), None);
    }

    #[test]
    fn every_failed_sync_ends_the_broker() {
        check_ends(Call::Sync, |_, file| file.sync());
        check_ends(Call::Sync, |disk, file| disk.sync_many(&[file]));
        check_ends(Call::SyncDir, |disk, _| disk.sync_dir("/".as_ref()));
        check_ends(Call::SyncDir, |disk, _| disk.replace("/file".as_ref(), "/other".as_ref()));
    }

    #[test]
    fn a_disk_that_refuses_writes_ends_the_broker() {
        check_ends(Call::Write, |_, file| file.write_all_at(b"x", 0));
        check_ends(Call::SetLen, |_, file| file.set_len(0));
        check_ends(Call::Rename, |disk, _| disk.rename("/file".as_ref(), "/other".as_ref()));
    }

    fn check_ends(call: Call, action: impl FnOnce(&dyn Disk, SharedFile) -> Result<(), DiskError>) {
        let faulty = FaultDisk::new(MemDisk::default());
        faulty.faults().inject(Fault::io(call, 0));
        let (disk, health) = watched(faulty);
        let file = disk.create("/file".as_ref()).unwrap();
        assert!(action(&disk, file).is_err());
        assert!(health.failure().is_some(), "{call:?}");
    }

    #[test]
    fn a_directory_that_cannot_be_opened_to_be_synced_does_not_end_the_broker() {
        let faulty = FaultDisk::new(MemDisk::default());
        faulty.faults().inject(Fault::no_descriptors(Call::OpenDir, 0));
        let (disk, health) = watched(faulty);
        assert!(disk.sync_dir("/".as_ref()).is_err());
        assert_eq!(health.failure(), None);
        disk.sync_dir("/".as_ref()).unwrap();
    }

    #[test]
    fn a_full_disk_a_missing_file_and_a_failed_read_end_nothing() {
        let faulty = FaultDisk::new(MemDisk::default());
        faulty.faults().inject(Fault::full(Call::Write, 0));
        faulty.faults().inject(Fault::io(Call::Read, 0));
        let (disk, health) = watched(faulty);
        let file = disk.create("/file".as_ref()).unwrap();
        assert!(file.write_all_at(b"x", 0).is_err());
        assert!(file.read_at(&mut [0], 0).is_err());
        assert!(disk.sync_dir("/nowhere".as_ref()).is_err());
        assert_eq!(health.failure(), None);
    }
}
