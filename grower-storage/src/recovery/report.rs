//! The report of opening a log.

use crate::segment::Damage;
use grower_protocol::ids::Offset;
use std::path::PathBuf;

/// Findings and actions of opening a partition. Empty after a clean stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// A torn tail that was cut off.
    pub cut: Option<CutTail>,
    /// Durable offsets that are damaged: their bytes stay, and readers are refused.
    pub damaged: Vec<Damage>,
    /// Index files that were rebuilt from the log.
    pub reindexed: Vec<PathBuf>,
    /// Further lines for the process's log.
    pub notes: Vec<String>,
}

/// The end of a segment file: a write that never completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutTail {
    /// The segment file.
    pub path: PathBuf,
    /// The log end offset after the cut.
    pub end: Offset,
    /// Where the file was cut.
    pub position: u64,
    /// How many bytes were cut off, without the zeros at the end.
    pub bytes: u64,
    /// Where they are kept, since they may have been acknowledged.
    pub kept: Option<PathBuf>,
}

impl RecoveryReport {
    /// Whether there is anything in it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
