//! Why a log cannot be opened.

use crate::disk::DiskError;
use std::path::PathBuf;
use std::sync::Arc;

/// Why a directory cannot be opened as this partition's log.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is another partition's.
    #[error("{path} belongs to partition {found}, not {expected}", path = path.display())]
    Foreign {
        /// The file that says so.
        path: PathBuf,
        /// Topic id and partition that it names.
        found: String,
        /// Topic id and partition of the log to open.
        expected: String,
    },
    /// A later version of Grower wrote it.
    #[error("{path} has format {found}, this program knows up to {known}: use a newer Grower", path = path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u16,
        /// The newest one known here.
        known: u16,
    },
    /// It has had records, and none of its files is there.
    #[error("its files are gone from {dir}: is a disk not mounted, does a link lead nowhere? Bring them back and restart, or give all its records up with `grower-cli log repair`", dir = dir.display())]
    Lost {
        /// The partition's directory.
        dir: PathBuf,
    },
    /// A sync failed while recovering.
    #[error("recovery could not be made durable: {why}")]
    Failed {
        /// The error that did it.
        why: Arc<str>,
    },
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}
