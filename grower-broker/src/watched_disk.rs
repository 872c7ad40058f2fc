//! A disk whose failed syncs end the broker, whoever asked for them.
//!
//! Records, metadata, checkpoints and names are synced from many places. After one failure nothing is known of what the
//! disk holds, and no later success proves anything, so the one right answer is to stop; it is given here, once.

use crate::health::Health;
use grower_storage::disk::{DirEntry, DirLock, Disk, DiskError, DiskFile, Mapped, SharedFile, Space};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

/// Another disk, watched.
pub(crate) struct WatchedDisk {
    disk: Arc<dyn Disk>,
    health: Health,
}

struct WatchedFile {
    file: SharedFile,
    health: Health,
}

impl WatchedDisk {
    pub(crate) fn new(disk: Arc<dyn Disk>, health: Health) -> Self {
        Self { disk, health }
    }

    fn watch(&self, file: SharedFile) -> SharedFile {
        Arc::new(WatchedFile { file, health: self.health.clone() })
    }
}

fn judge(health: &Health, synced: Result<(), DiskError>) -> Result<(), DiskError> {
    synced.inspect_err(|error| {
        // What could not be opened was not synced in vain.
        if error.operation.starts_with("sync") && !error.is_not_found() {
            health.fail(format!("a sync failed, so what is on the disk is no longer known: {error}"));
        }
    })
}

impl Disk for WatchedDisk {
    fn create(&self, path: &Path) -> Result<SharedFile, DiskError> {
        Ok(self.watch(self.disk.create(path)?))
    }

    fn open(&self, path: &Path) -> Result<SharedFile, DiskError> {
        Ok(self.watch(self.disk.open(path)?))
    }

    fn map(&self, path: &Path) -> Result<Mapped, DiskError> {
        self.disk.map(path)
    }

    fn list(&self, dir: &Path) -> Result<Vec<DirEntry>, DiskError> {
        self.disk.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> Result<(), DiskError> {
        judge(&self.health, self.disk.create_dir_all(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> Result<(), DiskError> {
        self.disk.remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> Result<(), DiskError> {
        self.disk.remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        judge(&self.health, self.disk.sync_dir(dir))
    }

    fn sync_many(&self, files: &[SharedFile]) -> Result<(), DiskError> {
        judge(&self.health, self.disk.sync_many(files))
    }

    fn space(&self) -> Result<Space, DiskError> {
        self.disk.space()
    }

    fn lock(&self, dir: &Path) -> Result<DirLock, DiskError> {
        self.disk.lock(dir)
    }
}

impl DiskFile for WatchedFile {
    fn write_all_at(&self, bytes: &[u8], position: u64) -> Result<(), DiskError> {
        self.file.write_all_at(bytes, position)
    }

    fn read_at(&self, into: &mut [u8], position: u64) -> Result<usize, DiskError> {
        self.file.read_at(into, position)
    }

    fn len(&self) -> Result<u64, DiskError> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> Result<(), DiskError> {
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> Result<(), DiskError> {
        self.file.allocate(len)
    }

    fn sync(&self) -> Result<(), DiskError> {
        judge(&self.health, self.file.sync())
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

    fn watched(disk: impl Disk + 'static) -> (WatchedDisk, Health) {
        let health = Health::new(Metrics::new());
        (WatchedDisk::new(Arc::new(disk), health.clone()), health)
    }

    #[test]
    fn it_is_a_disk_like_any_other() {
        let (disk, health) = watched(MemDisk::default());
        grower_storage::contract::disk(&disk, "/".as_ref());
        assert_eq!(health.failure(), None);
    }

    #[test]
    fn any_failed_sync_ends_the_broker() {
        check_ends(Call::Sync, |_, file| file.sync());
        check_ends(Call::Sync, |disk, file| disk.sync_many(&[file]));
        check_ends(Call::SyncDir, |disk, _| disk.sync_dir("/".as_ref()));
    }

    fn check_ends(call: Call, sync: impl FnOnce(&dyn Disk, SharedFile) -> Result<(), DiskError>) {
        let faulty = FaultDisk::new(MemDisk::default());
        faulty.faults().inject(Fault::io(call, 0));
        let (disk, health) = watched(faulty);
        let file = disk.create("/file".as_ref()).unwrap();
        assert!(sync(&disk, file).is_err());
        assert!(health.failure().unwrap().starts_with("a sync failed"));
    }

    #[test]
    fn other_errors_do_not() {
        let faulty = FaultDisk::new(MemDisk::default());
        faulty.faults().inject(Fault::full(Call::Write, 0));
        let (disk, health) = watched(faulty);
        let file = disk.create("/file".as_ref()).unwrap();
        assert!(file.write_all_at(b"x", 0).is_err());
        assert!(disk.sync_dir("/nowhere".as_ref()).is_err());
        assert_eq!(health.failure(), None);
    }
}
