//! Backups: hard links to immutable files, and copies of the rest.
//!
//! A directory of backups contains `backup-000001`, `backup-000002` and so on. Each is a complete data directory with
//! a manifest of sizes and checksums. Unchanged files are shared with the backup before, and with the data directory
//! if both are on one volume. Any backup may be removed at any time.
//!
//! A running broker makes its backup itself; the caller makes that of a stopped data directory. First all files are
//! held within the data directory (`snapshot`), which is quick. Then they are copied into the backup (`unfinished`)
//! while the broker works. The backup may be on a slow file system, or one that does not answer.
//!
//! A backup is made under a name that ends in `.unfinished`, synced, and renamed. A crash leaves a directory of that
//! name, which is ignored everywhere and removed by the next backup.

mod manifest;
mod restore;
mod run;
mod running;
mod series;
mod service;
mod snapshot;
mod state;
mod stopped;
mod sums;
mod unfinished;

pub use manifest::{BackupManifest, FileSum, ManifestError};
pub(crate) use restore::{RESTORING, is_cut_short, restore};
pub use restore::{RestoreError, Restored};
pub(crate) use run::BackupRun;
pub(crate) use running::{HeldBrokerFiles, RunningBroker};
pub use series::Listed;
pub(crate) use series::{find, list};
pub(crate) use service::Backups;
pub(crate) use snapshot::remove_links;
pub(crate) use stopped::backup;
pub(crate) use sums::compare_all;
pub(crate) use unfinished::UnfinishedBackup;

use crate::metadata::IdentityError;
use crate::placement::Misplaced;
use grower_protocol::message::Failure;
use grower_storage::disk::DiskError;
use grower_storage::log::ChangeError;
use std::path::PathBuf;

/// A finished backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackedUp {
    /// Its path.
    pub path: PathBuf,
    /// Its number of files.
    pub files: u64,
    /// Their total bytes.
    pub bytes: u64,
    /// Bytes that are not in the backup before.
    pub new_bytes: u64,
    /// Copied bytes; all others are in hard links to existing files.
    pub copied_bytes: u64,
}

/// The reason why no backup was made. The next backup removes the unfinished one.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A broker uses the data.
    #[error("a broker works in {dir}: stop it first", dir = dir.display())]
    InUse {
        /// The data directory.
        dir: PathBuf,
    },
    /// Another backup is being made there.
    #[error("another backup is being made in {dir}", dir = dir.display())]
    Busy {
        /// The directory of the backups.
        dir: PathBuf,
    },
    /// One of data and backups lies inside the other.
    #[error("{dir} and the data directory lie inside each other: choose a separate directory for backups", dir = dir.display())]
    Inside {
        /// The directory of the backups.
        dir: PathBuf,
    },
    /// The directory of backups is misplaced.
    #[error(transparent)]
    Misplaced(#[from] Misplaced),
    /// An unfinished change needs a start of the broker.
    #[error("{dir} has a change that its broker did not finish: start the broker on it once", dir = dir.display())]
    Unfinished {
        /// The partition's directory.
        dir: PathBuf,
    },
    /// The data directory has no usable identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The backup was stopped.
    #[error("the backup was stopped; the next one starts from the beginning")]
    Stopped,
    /// The backup was stopped, and its step did not return.
    #[error(
        "the file system of {dir} does not answer; the next backup removes the unfinished one",
        dir = dir.display()
    )]
    Unanswered {
        /// The directory of the backups.
        dir: PathBuf,
    },
    /// The system gave no thread.
    #[error("cannot start a thread for the backup: {0}")]
    Thread(std::io::Error),
    /// A log cannot be sealed.
    #[error(transparent)]
    Log(#[from] ChangeError),
    /// A partition is unavailable.
    #[error(transparent)]
    Partition(#[from] Failure),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

#[cfg(test)]
mod tests;
