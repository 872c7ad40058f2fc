//! A disk in memory that can lose its power.
//!
//! Written and durable state are kept apart, for bytes (`contents`) and for names (`names`), so that a test can ask at
//! any moment what a crash would leave. It is stricter than most real disks: a created file is lost with all its
//! synced bytes until its directory is synced.

mod chance;
mod contents;
mod names;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::{DirEntry, DirLock, Disk, DiskError, DiskFile, Mapped, OpenFiles, SharedFile, Space, lock_is_held};
use chance::Chance;
use contents::{Contents, FreeSpace};
use names::NameTree;

/// A disk in memory with an explicit line between written and durable. Clones share one disk.
///
/// ```
/// # use std::path::Path;
/// # use grower_storage::disk::{Disk, MemDisk};
/// let disk = MemDisk::default();
/// let file = disk.create(Path::new("/log"))?;
/// disk.sync_dir(Path::new("/"))?;
/// file.write_all_at(b"kept", 0)?;
/// disk.sync_many(&[file.clone()])?;
/// file.write_all_at(b"lost", 4)?;
/// disk.crash();
/// assert!(file.len().is_err()); // A handle from before the crash is dead.
/// assert_eq!(disk.map(Path::new("/log"))?.as_ref(), b"kept");
/// # Ok::<(), grower_storage::disk::DiskError>(())
/// ```
///
/// The root directory is always there. Paths are UTF-8, a relative one starts at the root, and `..` is refused.
#[derive(Clone, Default)]
pub struct MemDisk(Arc<MemDiskState>);

struct MemDiskState {
    names: Mutex<NameTree>,
    room: Arc<Mutex<FreeSpace>>,
    locks: Mutex<BTreeMap<u64, Weak<Hold>>>,
    /// A handle is alive while this has not changed since the file was opened.
    crashes: AtomicU64,
    next_sync_fails: AtomicBool,
    open_files: OpenFiles,
}

impl Default for MemDiskState {
    fn default() -> Self {
        Self {
            names: Mutex::default(),
            room: Arc::default(),
            locks: Mutex::default(),
            crashes: AtomicU64::default(),
            next_sync_fails: AtomicBool::default(),
            open_files: OpenFiles::new(OPEN_MAX),
        }
    }
}

/// How a directory is held.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    Alone,
    Shared,
}

/// So that many segments in a test are not all open.
const OPEN_MAX: usize = 8;

impl MemDisk {
    /// A disk that holds `bytes` of file contents; names take no room. [`MemDisk::default`] holds 1 TiB.
    ///
    /// A removed file gives its room back when its directory was synced and its last handle is gone.
    pub fn with_capacity(bytes: u64) -> Self {
        let disk = Self::default();
        disk.set_capacity(bytes);
        disk
    }

    /// Makes the disk smaller or larger; files keep their bytes even when they pass the new limit.
    pub fn set_capacity(&self, bytes: u64) {
        self.0.room.lock().capacity = bytes;
    }

    /// Limits the number of files and directories; existing ones stay.
    pub fn set_inodes(&self, most: u64) {
        self.0.names.lock().set_inodes(most);
    }

    /// Cuts the power: bytes and names not synced are gone, locks are free, and every handle opened before is dead.
    pub fn crash(&self) {
        self.restart(|| false, Contents::after_crash);
    }

    /// Cuts the power in the middle of writing: of the unsynced changes any part may have reached the disk, each
    /// 512-byte sector, each length and each name for itself. Equal seeds leave equal disks.
    pub fn crash_torn(&self, seed: u64) {
        let names = &mut Chance::seeded(seed);
        let bytes = &mut Chance::seeded(!seed);
        self.restart(|| names.toss(), |contents| contents.after_torn_crash(bytes));
    }

    fn restart(&self, name_survives: impl FnMut() -> bool, mut left: impl FnMut(&Contents) -> Vec<u8>) {
        let mut names = self.0.names.lock();
        self.0.crashes.fetch_add(1, Ordering::SeqCst);
        self.0.locks.lock().clear();
        self.0.next_sync_fails.store(false, Ordering::SeqCst);
        names.crash(name_survives, |contents| self.contents(left(contents)));
    }

    /// Lets the next sync of a file fail. As in a kernel, the bytes that waited for it then count as clean: readers
    /// still see them, no later sync makes them durable (unless they are written again), and a crash drops them.
    pub fn fail_next_sync(&self) {
        self.0.next_sync_fails.store(true, Ordering::SeqCst);
    }

    /// Changes a file from outside, as corruption or an operator would: `change` gets the bytes that readers see and
    /// leaves the new ones, durable at once.
    pub fn edit(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Result<(), DiskError> {
        let contents = self.0.names.lock().file(path).map_err(DiskError::at("edit", path))?;
        contents.lock().edit(change);
        Ok(())
    }

    /// The absolute path of each file, sorted.
    pub fn files(&self) -> Vec<PathBuf> {
        self.0.names.lock().files()
    }

    fn hold(&self, dir: &Path, hold: Hold) -> Result<DirLock, DiskError> {
        let id = self.0.names.lock().dir(dir).map_err(DiskError::at("lock", dir))?;
        let mut locks = self.0.locks.lock();
        let token = match locks.get(&id).and_then(Weak::upgrade) {
            Some(held) if (*held, hold) == (Hold::Shared, Hold::Shared) => held,
            Some(_) => return Err(DiskError::at("lock", dir)(lock_is_held())),
            None => Arc::new(hold),
        };
        locks.insert(id, Arc::downgrade(&token));
        Ok(DirLock::new(token))
    }

    fn contents(&self, durable: Vec<u8>) -> Contents {
        Contents::new(durable, self.0.room.clone())
    }

    fn handle(&self, path: &Path, contents: Arc<Mutex<Contents>>) -> SharedFile {
        let crashes = self.0.crashes.load(Ordering::SeqCst);
        Arc::new(MemFile { disk: self.0.clone(), contents, crashes, path: path.to_owned() })
    }
}

impl Disk for MemDisk {
    fn create(&self, path: &Path) -> Result<SharedFile, DiskError> {
        let contents = Arc::new(Mutex::new(self.contents(Vec::new())));
        let mut names = self.0.names.lock();
        names.create(path, contents.clone()).map_err(DiskError::at("create", path))?;
        Ok(self.handle(path, contents))
    }

    fn open(&self, path: &Path) -> Result<SharedFile, DiskError> {
        let names = self.0.names.lock();
        let contents = names.file(path).map_err(DiskError::at("open", path))?;
        Ok(self.handle(path, contents))
    }

    fn map(&self, path: &Path) -> Result<Mapped, DiskError> {
        let contents = self.0.names.lock().file(path).map_err(DiskError::at("map", path))?;
        let bytes = contents.lock().seen().to_vec();
        Ok(Mapped::new(bytes))
    }

    fn list(&self, dir: &Path) -> Result<Vec<DirEntry>, DiskError> {
        self.0.names.lock().list(dir).map_err(DiskError::at("list", dir))
    }

    fn create_dir_all(&self, dir: &Path) -> Result<(), DiskError> {
        self.0.names.lock().create_dir_all(dir).map_err(DiskError::at("create directory", dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.0.names.lock().rename(from, to).map_err(DiskError::at("rename", from))
    }

    fn replace(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.rename(from, to)?;
        self.sync_dir(to.parent().unwrap_or(to))
    }

    fn link(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        let mut names = self.0.names.lock();
        let linked = names.file(from).and_then(|contents| names.create(to, contents));
        linked.map_err(DiskError::at("link", from))
    }

    fn remove_file(&self, path: &Path) -> Result<(), DiskError> {
        self.0.names.lock().remove_file(path).map_err(DiskError::at("remove", path))
    }

    fn remove_dir_all(&self, dir: &Path) -> Result<(), DiskError> {
        self.0.names.lock().remove_dir_all(dir).map_err(DiskError::at("remove directory", dir))
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        self.0.names.lock().sync_dir(dir).map_err(DiskError::at("open directory", dir))
    }

    fn sync_many(&self, files: &[SharedFile]) -> Result<(), DiskError> {
        files.iter().map(|file| file.sync()).fold(Ok(()), Result::and)
    }

    fn is_in_place(&self, file: &SharedFile) -> Result<bool, DiskError> {
        Ok(self.0.names.lock().file(file.path()).is_ok()) // Another file of the name is taken for it.
    }

    fn open_files(&self) -> &OpenFiles {
        &self.0.open_files
    }

    fn space(&self) -> Result<Space, DiskError> {
        let inodes = self.0.names.lock().inodes();
        let room = self.0.room.lock();
        Ok(Space { free: room.capacity.saturating_sub(room.used), total: room.capacity, inodes })
    }

    fn lock(&self, dir: &Path) -> Result<DirLock, DiskError> {
        self.hold(dir, Hold::Alone)
    }

    fn lock_shared(&self, dir: &Path) -> Result<DirLock, DiskError> {
        self.hold(dir, Hold::Shared)
    }
}

/// An open file of a [`MemDisk`].
struct MemFile {
    disk: Arc<MemDiskState>,
    contents: Arc<Mutex<Contents>>,
    crashes: u64,
    path: PathBuf,
}

impl MemFile {
    fn with<T>(
        &self,
        operation: &'static str,
        act: impl FnOnce(&mut Contents) -> io::Result<T>,
    ) -> Result<T, DiskError> {
        // Checked under the lock: a crash counts first and then takes each file's bytes, so this call is either in
        // time for it or fails.
        let mut contents = self.contents.lock();
        let alive = self.disk.crashes.load(Ordering::SeqCst) == self.crashes;
        let done = if alive { act(&mut contents) } else { Err(io::Error::other("opened before a crash")) };
        done.map_err(DiskError::at(operation, &self.path))
    }
}

impl DiskFile for MemFile {
    fn write_all_at(&self, bytes: &[u8], position: u64) -> Result<(), DiskError> {
        self.with("write", |contents| contents.write(bytes, position))
    }

    fn read_at(&self, into: &mut [u8], position: u64) -> Result<usize, DiskError> {
        self.with("read", |contents| Ok(contents.read(into, position)))
    }

    fn len(&self) -> Result<u64, DiskError> {
        self.with("stat", |contents| Ok(contents.seen().len() as u64))
    }

    fn set_len(&self, len: u64) -> Result<(), DiskError> {
        self.with("resize", |contents| contents.set_len(len))
    }

    fn allocate(&self, len: u64) -> Result<(), DiskError> {
        self.with("allocate", |contents| contents.allocate(len))
    }

    fn sync(&self) -> Result<(), DiskError> {
        let synced = self.with("sync", |contents| {
            if self.disk.next_sync_fails.swap(false, Ordering::SeqCst) {
                contents.sync_failed();
                return Err(io::Error::other("this sync was told to fail"));
            }
            contents.sync();
            Ok(())
        });
        synced.map_err(|error| DiskError::of_sync("sync", &self.path)(error.source))
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

#[cfg(test)]
mod tests;
