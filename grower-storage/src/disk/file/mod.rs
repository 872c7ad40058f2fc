//! Real files.
//!
//! The kernel draws the line between written and durable. Two of its habits fill this module: a failed sync
//! is reported once and the bytes then count as clean, so after one failure no later sync here succeeds (see `sync`);
//! and a directory entry has a life of its own, so directories are synced as files are.

mod handle;
mod map;
mod stat;
mod sync;

use parking_lot::Mutex;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{
    DirEntry, DirLock, DirectoryMoved, Disk, DiskError, Inodes, Mapped, OpenFiles, SharedFile, Space, lock_is_held,
};
use handle::FileHandle;
use rustix::io::Errno;
use sync::Syncs;

/// Files of the operating system. New files are for their owner alone (mode 0600, directories 0700).
///
/// A failed sync fails every later one: what the kernel dropped cannot be known, so the process must end and recover
/// from what the disk really holds.
pub struct FileDisk {
    root: PathBuf,
    syncs: Arc<Syncs>,
    open_files: OpenFiles,
    writable: bool,
    /// The root as it was locked, held open so that no other directory can have its number.
    locked: Arc<Mutex<Option<Arc<LockedRoot>>>>,
}

struct LockedRoot {
    device: u64,
    inode: u64,
    _dir: File,
}

impl LockedRoot {
    fn of(root: &Path) -> io::Result<Self> {
        let dir = File::open(root)?;
        let found = dir.metadata()?;
        Ok(Self { device: found.dev(), inode: found.ino(), _dir: dir })
    }

    /// An error says nothing about where it is: the system may be short of memory.
    fn is_at(&self, root: &Path) -> io::Result<bool> {
        match fs::metadata(root) {
            Ok(found) => Ok((found.dev(), found.ino()) == (self.device, self.inode)),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl FileDisk {
    /// A disk for files below `root`, which need not be there yet. Paths are those of the operating system: they
    /// contain `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let (syncs, open_files, locked) = (Arc::default(), OpenFiles::new(share_of_limit()), Arc::default());
        Self { root: root.into(), syncs, open_files, writable: true, locked }
    }

    /// For reading only: files are opened without asking to write, as a read-only mount or another user's files
    /// demand. Writing to one is then an error.
    pub fn read_only(root: impl Into<PathBuf>) -> Self {
        Self { writable: false, ..Self::new(root) }
    }

    /// Says that `root` is a mount of its own, so that many files may be synced by syncing the whole file system
    /// without waiting for strangers' data. Without effect on a kernel older than 5.8, which hides what failed then.
    pub fn with_mount_of_its_own(mut self) -> Self {
        self.syncs = Arc::new(Syncs::of_a_whole_mount());
        self
    }

    /// Opens something, if need be in place of a file that is not being read.
    fn opening<T>(&self, open: impl Fn() -> io::Result<T>) -> io::Result<T> {
        loop {
            match open() {
                Err(error) if lacks_descriptors(&error) && self.open_files.give_way() => {}
                opened => {
                    self.open_files.is_reserve_full(); // Takes back what it can.
                    return opened;
                }
            }
        }
    }

    fn open_dir(&self, dir: &Path) -> Result<File, DiskError> {
        let open = || OpenOptions::new().read(true).custom_flags(DIRECTORY).open(dir);
        self.opening(open).map_err(DiskError::at("open directory", dir))
    }

    fn handle(&self, file: File, path: &Path) -> SharedFile {
        Arc::new(FileHandle::new(file, path, self.syncs.clone()))
    }

    fn sync_opened(&self, opened: &File, dir: &Path) -> Result<(), DiskError> {
        self.syncs.run(|| opened.sync_all()).map_err(DiskError::of_sync("sync directory", dir))
    }

    /// Names below the root change only while it is the locked directory: another may be at its path by now.
    fn check_root(&self, operation: &'static str, path: &Path) -> Result<(), DiskError> {
        let locked = self.locked.lock().clone(); // Others need not wait for this check.
        let Some(locked) = locked.filter(|_| path.starts_with(&self.root)) else { return Ok(()) };
        match locked.is_at(&self.root) {
            Ok(true) => Ok(()),
            Ok(false) => Err(DiskError::at(operation, path)(io::Error::other(DirectoryMoved))),
            Err(error) => Err(DiskError::at(operation, path)(error)),
        }
    }

    /// Whether this disk manages a directory's name, even if another program made it.
    fn holds(&self, dir: &Path) -> bool {
        dir.starts_with(&self.root) && dir != self.root
    }
}

impl Disk for FileDisk {
    fn create(&self, path: &Path) -> Result<SharedFile, DiskError> {
        self.check_root("create", path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = self.opening(|| options.open(path));
        Ok(self.handle(file.map_err(DiskError::at("create", path))?, path))
    }

    fn open(&self, path: &Path) -> Result<SharedFile, DiskError> {
        self.check_root("open", path)?;
        let file = self.opening(|| OpenOptions::new().read(true).write(self.writable).open(path));
        Ok(self.handle(file.map_err(DiskError::at("open", path))?, path))
    }

    fn map(&self, path: &Path) -> Result<Mapped, DiskError> {
        let file = self.opening(|| File::open(path));
        file.and_then(|file| map::whole(&file)).map_err(DiskError::at("map", path))
    }

    fn list(&self, dir: &Path) -> Result<Vec<DirEntry>, DiskError> {
        let entries =
            self.opening(|| fs::read_dir(dir)).and_then(|entries| entries.map(|entry| dir_entry(&entry?)).collect());
        let mut entries: Vec<DirEntry> = entries.map_err(DiskError::at("list", dir))?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn create_dir_all(&self, dir: &Path) -> Result<(), DiskError> {
        self.check_root("create directory", dir)?;
        let mut path = PathBuf::new();
        for part in dir.components() {
            path.push(part);
            let made = make_dir(&path).map_err(DiskError::at("create directory", &path))?;
            if made || self.holds(&path) {
                self.sync_dir(parent(&path))?;
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.check_root("rename", to)?;
        fs::rename(from, to).map_err(DiskError::at("rename", from))
    }

    fn replace(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        let dir = parent(to);
        let opened = self.open_dir(dir)?; // First: once the name has changed, nothing but the sync may fail.
        self.rename(from, to)?;
        self.sync_opened(&opened, dir)
    }

    fn link(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.check_root("link", to)?;
        fs::hard_link(from, to).map_err(DiskError::at("link", from))
    }

    fn remove_file(&self, path: &Path) -> Result<(), DiskError> {
        self.check_root("remove", path)?;
        fs::remove_file(path).map_err(DiskError::at("remove", path))
    }

    fn remove_dir_all(&self, dir: &Path) -> Result<(), DiskError> {
        self.check_root("remove directory", dir)?;
        self.opening(|| fs::remove_dir_all(dir)).map_err(DiskError::at("remove directory", dir))
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        self.sync_opened(&self.open_dir(dir)?, dir)
    }

    fn sync_many(&self, files: &[SharedFile]) -> Result<(), DiskError> {
        self.syncs.run_many(files)
    }

    fn is_in_place(&self, file: &SharedFile) -> Result<bool, DiskError> {
        let path = file.path();
        let open = file.fd().map(stat::id_of).transpose().map_err(DiskError::at("stat", path))?;
        let in_place = match stat::id_at(path) {
            Ok(found) => open.is_none_or(|open| found == open),
            Err(error) if is_absent(&error) => false,
            Err(error) => return Err(DiskError::at("stat", path)(error)),
        };
        if !in_place {
            self.check_root("find", path)?; // Else the directory is gone, not just this file.
        }
        Ok(in_place)
    }

    fn open_files(&self) -> &OpenFiles {
        &self.open_files
    }

    fn space(&self) -> Result<Space, DiskError> {
        let volume = rustix::fs::statvfs(&self.root).map_err(io::Error::from);
        let volume = volume.map_err(DiskError::at("stat", &self.root))?;
        let bytes = |blocks: u64| blocks.saturating_mul(volume.f_frsize);
        // Those that make inodes as they need them say that there are none at all.
        let inodes = (0 < volume.f_files).then_some(Inodes { free: volume.f_favail, total: volume.f_files });
        Ok(Space { free: bytes(volume.f_bavail), total: bytes(volume.f_blocks), inodes })
    }

    fn lock(&self, dir: &Path) -> Result<DirLock, DiskError> {
        let path = dir.join("LOCK");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = self.opening(|| options.open(&path));
        let file = file.map_err(DiskError::at("lock", &path))?;
        file.try_lock().map_err(refused).map_err(DiskError::at("lock", &path))?;
        if dir == self.root {
            let root = LockedRoot::of(dir).map_err(DiskError::at("open directory", dir))?;
            *self.locked.lock() = Some(Arc::new(root));
        }
        Ok(DirLock::new(Locked(file)))
    }

    fn lock_shared(&self, dir: &Path) -> Result<DirLock, DiskError> {
        let path = dir.join("LOCK");
        match self.opening(|| File::open(&path)) {
            Ok(file) => {
                file.try_lock_shared().map_err(refused).map_err(DiskError::at("lock", &path))?;
                Ok(DirLock::new(Locked(file)))
            }
            Err(error) if error.kind() == ErrorKind::NotFound && dir.is_dir() => Ok(DirLock::new(())),
            Err(error) => Err(DiskError::at("lock", &path)(error)),
        }
    }
}

fn refused(refused: TryLockError) -> io::Error {
    match refused {
        TryLockError::WouldBlock => lock_is_held(),
        TryLockError::Error(error) => error,
    }
}

/// Closing alone would not free the directory: a process that is just being started also holds the file for a moment.
struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        let _ = self.0.unlock(); // Else closing does it.
    }
}

/// Opens nothing but a directory.
const DIRECTORY: i32 = rustix::fs::OFlags::DIRECTORY.bits().cast_signed();

/// Whether a path leads nowhere.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Whether the process, or the system, has no descriptor left.
fn lacks_descriptors(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE))
}

/// How many unread files may stay open: a part of the limit, since the rest is for files that must be open.
fn share_of_limit() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(OPEN_MAX);
    (limit / 4).min(OPEN_MAX)
}

/// More do not make reads faster.
const OPEN_MAX: usize = 16_384;

fn dir_entry(entry: &fs::DirEntry) -> io::Result<DirEntry> {
    let kind = entry.file_type()?;
    // An operator may move a partition elsewhere and leave a link.
    let is_dir = kind.is_dir() || kind.is_symlink() && entry.path().is_dir();
    Ok(DirEntry { name: entry.file_name().to_string_lossy().into_owned(), is_dir })
}

/// Makes a directory where none is, and says whether it did.
fn make_dir(path: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(true),
        Err(_) if path.is_dir() => Ok(false),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(ErrorKind::NotADirectory.into()),
        Err(error) => Err(error),
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

#[cfg(test)]
mod tests;
