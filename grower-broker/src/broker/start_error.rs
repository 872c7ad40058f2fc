//! Reasons for which a broker does not start.

use crate::config::BrokerConfigError;
use crate::metadata::{IdentityError, MetadataOpenError, ProposeError};
use crate::placement::Misplaced;
use grower_protocol::message::Failure;
use grower_storage::disk::DiskError;
use std::net::SocketAddr;

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// BrokerSettings that do not go together.
    #[error(transparent)]
    Config(#[from] BrokerConfigError),
    /// The directory is in use.
    #[error("another broker works in {dir}: {source}")]
    Locked {
        /// The data directory.
        dir: String,
        /// As the system says.
        source: DiskError,
    },
    /// The data directory lies on a read-only mount.
    #[error(
        "{dir} is on a read-only file system, and a starting broker writes: to read the data, make a backup with \
         `grower-cli backup BACKUPS --data-dir {dir}`, restore that elsewhere with `grower-cli restore`, and start there ({source})",
        dir = dir.display()
    )]
    ReadOnly {
        /// The data directory.
        dir: std::path::PathBuf,
        /// As the system says.
        source: DiskError,
    },
    /// The data directory lies where nothing may be written.
    #[error(transparent)]
    Misplaced(#[from] Misplaced),
    /// The data directory cannot be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A restore into the directory was not finished.
    #[error("a restore into {} was interrupted: repeat it with `grower-cli restore`, or start on another directory", dir.display())]
    CutShortRestore {
        /// The data directory.
        dir: std::path::PathBuf,
    },
    /// A partition cannot be opened.
    #[error("cannot open the logs: {0}")]
    Logs(String),
    /// The directory is another node's, or cannot say whose it is.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The metadata cannot be read.
    #[error("cannot open the metadata: {0}")]
    OpenMetadata(#[from] MetadataOpenError),
    /// The metadata cannot be written.
    #[error("cannot change the metadata: {0}")]
    Metadata(#[from] ProposeError),
    /// The state of the groups cannot be read.
    #[error("cannot load the consumer groups: {0}")]
    Groups(#[from] Failure),
    /// The system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// A port cannot be bound.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}
