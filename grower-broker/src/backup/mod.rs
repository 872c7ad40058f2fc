//! Backups: second names for files that are never written to again, and copies of the rest.
//!
//! A directory of backups holds `backup-000001`, `backup-000002` and so on. Each is a data directory of its own, whole
//! without the others, with a manifest of sizes and checksums; it shares with the one before, and where they lie on one
//! volume with the data directory itself, whatever has not changed. Any of them may be removed, at any time.
//!
//! A running broker makes its backup itself; that of a stopped data directory is made by the caller. First all files are
//! held, quickly, within the data directory (`snapshot`). Then, while the broker works on, they are taken into the backup
//! (`unfinished`), which may lie on a slow file system, or on one that does not answer.
//!
//! A backup is made under a name that ends in `.unfinished`, synced, and renamed: what a crash leaves is recognised by its
//! name, ignored by all, and removed by the next backup.

mod manifest;
mod restore;
mod run;
mod running;
mod series;
mod service;
mod snapshot;
mod stopped;
mod sums;
mod unfinished;

pub use manifest::{BackupManifest, FileSum, ManifestError};
pub(crate) use restore::{RESTORING, is_cut_short, restore};
pub use restore::{RestoreError, Restored};
pub(crate) use run::BackupRun;
pub(crate) use running::{BrokerSnapshot, RunningBroker};
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

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackedUp {
    /// Where it lies.
    pub path: PathBuf,
    /// How many files it has.
    pub files: u64,
    /// How many bytes they have together.
    pub bytes: u64,
    /// Bytes that the backup before did not have.
    pub new_bytes: u64,
    /// Bytes that were copied; all others are second names for files that were there.
    pub copied_bytes: u64,
}

/// Why no backup was made. What was begun is ignored by everybody and removed by the next one.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Somebody is changing the data.
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
    /// A backup within the data would contain itself.
    #[error("{dir} and the data directory lie inside each other: choose a separate directory for backups", dir = dir.display())]
    Inside {
        /// The directory of the backups.
        dir: PathBuf,
    },
    /// The backups would lie where nothing may be written.
    #[error(transparent)]
    Misplaced(#[from] Misplaced),
    /// Only an opening finishes what was begun there.
    #[error("{dir} has a change that its broker did not finish: start the broker on it once", dir = dir.display())]
    Unfinished {
        /// The partition's directory.
        dir: PathBuf,
    },
    /// The data directory is not one, or not of this version.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The caller said so.
    #[error("the backup was stopped; the next one starts from the beginning")]
    Stopped,
    /// It was told to stop, and the step that it was at did not come back.
    #[error(
        "the file system of {dir} does not answer; the next backup removes the unfinished one",
        dir = dir.display()
    )]
    Unanswered {
        /// The directory of the backups.
        dir: PathBuf,
    },
    /// The system gives no thread.
    #[error("cannot start a thread for the backup: {0}")]
    Thread(std::io::Error),
    /// A log cannot be sealed.
    #[error(transparent)]
    Log(#[from] ChangeError),
    /// A partition cannot be had.
    #[error(transparent)]
    Partition(#[from] Failure),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

#[cfg(test)]
mod tests;
