//! Errors of file operations, and what they say about the disk.

use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {path}: {source}", path = path.display())]
pub struct DiskError {
    /// The operation, as a verb: `write`, `sync`, `rename`.
    pub operation: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The system's error.
    pub source: io::Error,
    sync_failed: bool,
}

/// How much an error leaves known about the disk.
///
/// Only [`ErrorClass::SyncFailed`] leaves the state of the disk unknown. After an error of any other class, durable
/// bytes are durable, and the operation may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The volume, a quota or the size of the file has reached its limit: retry after space was freed.
    Full,
    /// The system was short of something, such as file descriptors or memory: retry soon.
    Temporary,
    /// The system refused, until an operator removes the reason.
    Refused,
    /// A sync failed: the durable bytes are unknown, and no later success proves anything.
    SyncFailed,
}

impl DiskError {
    /// Adds operation and path to an I/O error: `.map_err(DiskError::at("open", path))`.
    pub fn at(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { operation, path: path.to_owned(), source, sync_failed: false }
    }

    /// The same for a sync that was begun: its class is always [`ErrorClass::SyncFailed`].
    pub fn of_sync(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { operation, path: path.to_owned(), source, sync_failed: true }
    }

    /// Replaces the system's reason with a better one of the same kind.
    pub fn because(self, source: io::Error) -> Self {
        debug_assert_eq!(source.kind(), self.kind(), "a reason changes no meaning");
        Self { source, ..self }
    }

    /// The kind of the system's error.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// The class of the error.
    pub fn class(&self) -> ErrorClass {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match self.kind() {
            _ if self.sync_failed => ErrorClass::SyncFailed,
            StorageFull | QuotaExceeded | FileTooLarge => ErrorClass::Full,
            _ if is_temporary(&self.source) => ErrorClass::Temporary,
            _ => ErrorClass::Refused,
        }
    }

    /// Whether there was no room: retry after space was freed.
    pub fn is_full(&self) -> bool {
        self.class() == ErrorClass::Full
    }

    /// Whether a file must be copied because it cannot have two names here: another volume, a file system without
    /// links, too many links, or another user's file.
    pub fn forbids_links(&self) -> bool {
        use io::ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks, Unsupported};
        matches!(self.kind(), CrossesDevices | PermissionDenied | TooManyLinks | Unsupported)
    }

    /// Whether this process may not write here: a read-only file system, or another user's files.
    pub fn forbids_writing(&self) -> bool {
        use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        matches!(self.kind(), PermissionDenied | ReadOnlyFilesystem)
    }

    /// Whether the directory that a disk was locked on is no longer at its path: moved away, or replaced by another.
    pub fn is_directory_moved(&self) -> bool {
        self.source.get_ref().is_some_and(|source| source.is::<DirectoryMoved>())
    }

    /// Whether an open file is no longer at its path: no later process finds what is written to it.
    pub fn is_file_gone(&self) -> bool {
        self.source.get_ref().is_some_and(|source| source.is::<FileGone>())
    }

    /// Whether the path does not exist.
    pub fn is_not_found(&self) -> bool {
        self.kind() == io::ErrorKind::NotFound
    }
}

/// The directory that a disk was locked on is no longer at its path. The one that is there now must not be changed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the data directory was moved away or replaced while it was in use")]
pub struct DirectoryMoved;

/// An open file was removed or moved away, or its directory was.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "it was removed, moved or replaced while it was in use: bring it back and restart, or give up what is lost with `grower-cli log repair`"
)]
pub struct FileGone;

/// Turns `NotFound` into `None`.
pub(crate) fn if_found<T>(result: Result<T, DiskError>) -> Result<Option<T>, DiskError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the system was short of something that becomes free again by itself.
fn is_temporary(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    let short = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::INTR, Errno::AGAIN];
    errno.is_some_and(|errno| short.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(errno: Errno) -> ErrorClass {
        DiskError::at("open", Path::new("/log"))(errno.into()).class()
    }

    #[test]
    fn errors_are_classified_by_what_they_leave_known() {
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
            assert_eq!(class(errno), ErrorClass::Full, "{errno}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::INTR, Errno::AGAIN] {
            assert_eq!(class(errno), ErrorClass::Temporary, "{errno}");
        }
        for errno in [Errno::IO, Errno::ACCESS, Errno::ROFS, Errno::NOENT] {
            assert_eq!(class(errno), ErrorClass::Refused, "{errno}");
        }
    }

    #[test]
    fn every_error_of_a_sync_leaves_the_disk_unknown() {
        for errno in [Errno::NOSPC, Errno::MFILE, Errno::IO] {
            let error = DiskError::of_sync("sync", Path::new("/log"))(errno.into());
            assert_eq!(error.class(), ErrorClass::SyncFailed, "{errno}");
        }
    }
}
