//! Backups that a running broker makes of itself.

use super::Failure;
use crate::ids::Timestamp;
use serde::{Deserialize, Serialize};

/// A backup that is being made, or that was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupDescription {
    /// Which one it is since the broker started, from 1.
    pub number: u64,
    /// The directory of backups, as the request named it.
    pub dir: String,
    /// When it was begun, by the broker's clock.
    pub began: Timestamp,
    /// Bytes read so far; only what is new since the backup before is read.
    pub read_bytes: u64,
    /// What became of it.
    pub state: BackupState,
}

/// What became of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackupState {
    /// It is being made.
    Running,
    /// It can be restored.
    Made(BackupMade),
    /// There is none, and nothing is left of it.
    Failed(Failure),
}

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupMade {
    /// Where it lies, on the broker's machine.
    pub path: String,
    /// How many files it has.
    pub files: u64,
    /// How many bytes they have together.
    pub bytes: u64,
    /// Bytes that the backup before did not have.
    pub new_bytes: u64,
    /// Bytes that were copied; all others are second names for files that were there.
    pub copied_bytes: u64,
}
