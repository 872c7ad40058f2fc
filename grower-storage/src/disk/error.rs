//! What went wrong with a file, and what is known of the disk afterwards.

use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};

/// A file operation that failed: which, where and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {path}: {source}", path = path.display())]
pub struct DiskError {
    /// What was tried, as a verb: `write`, `sync`, `rename`.
    pub operation: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
    sync_failed: bool,
}

/// What an error means for those who rely on the disk.
///
/// Only [`ErrorClass::SyncFailed`] leaves the state of the disk unknown. After an error of any other class, what was
/// durable is durable, and what was tried may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The volume, a quota or the size of the file has reached its limit: retry after space was freed.
    Full,
    /// The system was short of something for a moment, such as file descriptors or memory: retry soon.
    Temporary,
    /// The system refused for a reason that stays until somebody removes it.
    Refused,
    /// A sync failed: nobody knows what is durable, and no later success proves anything.
    SyncFailed,
}

impl DiskError {
    /// Says where and at what an I/O error struck: `.map_err(DiskError::at("open", path))`.
    pub fn at(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { operation, path: path.to_owned(), source, sync_failed: false }
    }

    /// The same for a sync that was begun: its class is [`ErrorClass::SyncFailed`], whatever the system says.
    pub fn of_sync(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { operation, path: path.to_owned(), source, sync_failed: true }
    }

    /// The same with a reason that says more than the system's.
    pub fn because(self, source: io::Error) -> Self {
        debug_assert_eq!(source.kind(), self.kind(), "a reason changes no meaning");
        Self { source, ..self }
    }

    /// What kind of error the system reported.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// What the error means.
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

    /// Whether two names for one file cannot be had here, so that it must be copied: other volumes, file systems without
    /// links, files with too many, or of somebody else.
    pub fn forbids_links(&self) -> bool {
        use io::ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks, Unsupported};
        matches!(self.kind(), CrossesDevices | PermissionDenied | TooManyLinks | Unsupported)
    }

    /// Whether this process may not write here: a read-only file system, or somebody else's files.
    pub fn forbids_writing(&self) -> bool {
        use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        matches!(self.kind(), PermissionDenied | ReadOnlyFilesystem)
    }

    /// Whether the directory that a disk was locked on is no longer at its path: moved away, or replaced by another.
    pub fn is_directory_moved(&self) -> bool {
        self.source.get_ref().is_some_and(|source| source.is::<DirectoryMoved>())
    }

    /// Whether an open file is no longer at its path: what is written to it, no later process finds.
    pub fn is_file_gone(&self) -> bool {
        self.source.get_ref().is_some_and(|source| source.is::<FileGone>())
    }

    /// Whether the path does not exist.
    pub fn is_not_found(&self) -> bool {
        self.kind() == io::ErrorKind::NotFound
    }
}

/// The directory that a disk was locked on is no longer at its path. What is there now is not its to change.
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

/// Whether the system was short of something that comes back without anybody's help.
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
    fn errors_are_told_apart_by_what_is_known_afterwards() {
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
    fn after_a_sync_nothing_is_known_whatever_the_system_says() {
        for errno in [Errno::NOSPC, Errno::MFILE, Errno::IO] {
            let error = DiskError::of_sync("sync", Path::new("/log"))(errno.into());
            assert_eq!(error.class(), ErrorClass::SyncFailed, "{errno}");
        }
    }
}
