//! The disk below storage: every access to a file goes through these two traits.
//!
//! The line that matters is the one between *written* and *durable*. A write is visible to readers at once; it
//! survives a power cut only after [`Disk::sync_many`] (its bytes) and, for a created, renamed or removed file,
//! [`Disk::sync_dir`] of the directory that names it. The in-memory disk draws the line explicitly and can cut the
//! power; the real one leaves it to the kernel; the faulty one lets chosen calls fail.

mod error;
mod fault;
mod file;
mod file_system;
mod mem;
mod open_files;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

pub(crate) use error::if_found;
pub use error::{DirectoryMoved, DiskError, ErrorClass, FileGone};
pub use fault::{Call, Fault, FaultDisk, Faults};
pub use file::FileDisk;
pub use file_system::{FileSystem, Trust};
pub use mem::MemDisk;
pub(crate) use open_files::FileOnDemand;
pub use open_files::OpenFiles;

/// A file handle that readers, the writer and syncs share.
pub type SharedFile = Arc<dyn DiskFile>;

/// A tree of files. Errors carry the path and the operation that failed.
///
/// Every implementation passes `contract::disk`.
pub trait Disk: Send + Sync {
    /// Creates an empty file for reading and writing; one that exists is an error (`AlreadyExists`).
    fn create(&self, path: &Path) -> Result<SharedFile, DiskError>;

    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> Result<SharedFile, DiskError>;

    /// A read-only view of a whole file, as long as it is now. Its bytes must never change or be cut again; bytes
    /// appended later are not in it. For files of the data directory: on a file system that may fail to answer, an
    /// error while they are read ends the process.
    fn map(&self, path: &Path) -> Result<Mapped, DiskError>;

    /// The entries of a directory, sorted by name. A missing directory is an error (`NotFound`).
    fn list(&self, dir: &Path) -> Result<Vec<DirEntry>, DiskError>;

    /// Creates a directory and its parents where they are missing; their names are durable when this returns.
    ///
    /// That holds for names that were there already, too: a process that was killed right after making them
    /// may have left them to the kernel.
    fn create_dir_all(&self, dir: &Path) -> Result<(), DiskError>;

    /// Renames a file or a directory, replacing a file at `to`. Durable after both directories are synced.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError>;

    /// Renames a file over another in the same directory, durably.
    ///
    /// After an error that is no [failed sync](ErrorClass::SyncFailed) both names are as they were: the sync's
    /// resources are acquired before the rename.
    fn replace(&self, from: &Path, to: &Path) -> Result<(), DiskError>;

    /// Gives a file another name, where both can lie on one volume: it is one file from then on. A name that is taken
    /// is an error (`AlreadyExists`). Durable after the directory of `to` is synced.
    fn link(&self, from: &Path, to: &Path) -> Result<(), DiskError>;

    /// Removes one file; handles stay readable. Durable after its directory is synced.
    fn remove_file(&self, path: &Path) -> Result<(), DiskError>;

    /// Removes a directory with all it holds; open handles stay readable. Durable after its parent is synced; a crash
    /// before that may leave any part of it.
    fn remove_dir_all(&self, dir: &Path) -> Result<(), DiskError>;

    /// Makes the names in a directory durable. An error that is no [failed sync](ErrorClass::SyncFailed), such as a
    /// directory that cannot be opened, loses nothing: try again.
    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError>;

    /// Makes everything written to these files so far durable: all of them, or an error.
    ///
    /// After an error the state of all of them is unknown. The caller must not try again: the kernel may have dropped
    /// the pages, and a second call that succeeds proves nothing.
    fn sync_many(&self, files: &[SharedFile]) -> Result<(), DiskError>;

    /// Whether the path that a file was opened under still leads to it: neither it nor a directory above it was
    /// removed, moved or replaced. An error other than [`DirectoryMoved`] says nothing about where the file is.
    fn is_in_place(&self, file: &SharedFile) -> Result<bool, DiskError>;

    /// The budget for files that are opened on demand. A disk that wraps another shares that one's.
    fn open_files(&self) -> &OpenFiles;

    /// Bytes that may still be written, and the size of the whole volume.
    fn space(&self) -> Result<Space, DiskError>;

    /// Locks a directory for this process alone until the lock is dropped. It never waits: if another process holds
    /// it, that is an error (`WouldBlock`). A crash releases it. The real disk leaves a file `LOCK` behind.
    fn lock(&self, dir: &Path) -> Result<DirLock, DiskError>;

    /// Locks a directory together with other readers, and keeps out exclusive locks. It writes nothing, so it works on
    /// a read-only mount. On a real disk a directory without a file `LOCK`, such as a copy, stays unlocked.
    fn lock_shared(&self, dir: &Path) -> Result<DirLock, DiskError>;
}

/// One open file. Positions are bytes from its start.
#[expect(clippy::len_without_is_empty, reason = "no caller asks a file whether it is empty")]
pub trait DiskFile: Send + Sync {
    /// Writes all of `bytes` at `position`. After an error any part of them may be in the file.
    fn write_all_at(&self, bytes: &[u8], position: u64) -> Result<(), DiskError>;

    /// Fills as much of `into` as the file holds from `position` on and says how much that is; less than asked only
    /// at its end.
    fn read_at(&self, into: &mut [u8], position: u64) -> Result<usize, DiskError>;

    /// The file's length, allocated zeros included.
    fn len(&self) -> Result<u64, DiskError>;

    /// Cuts the file to `len`, or extends it with zeros.
    fn set_len(&self, len: u64) -> Result<(), DiskError>;

    /// Reserves disk blocks so that the file is at least `len` long; the new part reads as zeros. May do nothing.
    /// After an error the file may be longer than before.
    fn allocate(&self, len: u64) -> Result<(), DiskError>;

    /// Makes everything written to this file so far durable; [`Disk::sync_many`] is the same for several. An error
    /// means what it means there: never try again.
    fn sync(&self) -> Result<(), DiskError>;

    /// The path it was opened under, for messages.
    fn path(&self) -> &Path;

    /// The descriptor, for `sendfile`, where there is one.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
}

/// The contents of a whole file, read-only: a memory map, or bytes where there is no file to map.
#[derive(Clone)]
pub struct Mapped(Arc<dyn AsRef<[u8]> + Send + Sync>);

impl Mapped {
    /// Wraps anything that holds bytes.
    pub fn new(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self(Arc::new(bytes))
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

/// A lock on a directory, held until this is dropped.
#[must_use = "the directory is free again as soon as this is dropped"]
pub struct DirLock(#[expect(dead_code, reason = "what counts is when it is dropped")] Box<dyn Send + Sync>);

impl DirLock {
    /// A lock that lasts as long as `token` lives.
    pub fn new(token: impl Send + Sync + 'static) -> Self {
        Self(Box::new(token))
    }
}

fn lock_is_held() -> io::Error {
    io::Error::new(io::ErrorKind::WouldBlock, "another process or thread holds it")
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The last part of its path. Storage names everything in ASCII; a foreign name that is not UTF-8 is shown with
    /// replacement characters.
    pub name: String,
    /// Whether it is itself a directory.
    pub is_dir: bool,
}

/// The free and total space of a volume: bytes, and inodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Still free for this process.
    pub free: u64,
    /// The size of the volume.
    pub total: u64,
    /// The limit of files and directories; none if the file system has no limit of its own.
    pub inodes: Option<Inodes>,
}

/// How many files and directories a volume can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inodes {
    /// That can still be made by this process.
    pub free: u64,
    /// All, those in use included.
    pub total: u64,
}
