//! The files of a partition, as a backup takes them.
//!
//! A sealed segment is never written to again, and state files are only ever replaced: a second name for such a file
//! is as good as a copy. The last segment of a closed log may be written to after the next opening, so its sound part
//! is to be copied.

use crate::disk::{Disk, DiskError};
use crate::epochs::EpochHistory;
use crate::producers::{PREVIOUS_NAME, ProducerSnapshot};
use crate::recovery::{Directory, scan_tail};
use crate::segment;
use crate::state_file::{self, AcceptedLosses, Checkpoint, CompactionState, LogIdentity, StateFile, StateFileError};
use grower_protocol::ids::Offset;
use std::path::Path;

/// One file of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupFile {
    /// Its name in the partition's directory.
    pub name: String,
    /// How much of it to copy, since it may be written to later; none for a file that never is.
    pub copy: Option<u64>,
}

impl BackupFile {
    pub(crate) fn never_written(name: impl Into<String>) -> Self {
        Self { name: name.into(), copy: None }
    }

    /// Whether it is the log or the index of a segment. Such a file changes only if its segment is dropped or
    /// rewritten, while state files are replaced often.
    pub fn is_segment_file(&self) -> bool {
        segment::base_of_log(&self.name).or_else(|| segment::base_of_index(&self.name)).is_some()
    }
}

/// The state files that a partition may have.
const SMALL: [&str; 7] = [
    LogIdentity::NAME,
    EpochHistory::NAME,
    Checkpoint::NAME,
    ProducerSnapshot::NAME,
    PREVIOUS_NAME,
    CompactionState::NAME,
    AcceptedLosses::NAME,
];

/// The files of a partition that no process has open; none if an interrupted change awaits the next opening.
pub fn files_of_closed_log(disk: &dyn Disk, dir: &Path) -> Result<Option<Vec<BackupFile>>, DiskError> {
    let Some(directory) = Directory::list(disk, dir)? else { return Ok(Some(Vec::new())) };
    let checkpoint = found(state_file::load::<Checkpoint>(disk, dir))?;
    let losses = found(state_file::load::<AcceptedLosses>(disk, dir))?;
    let truncating = checkpoint.is_some_and(|checkpoint| checkpoint.truncating.is_some());
    let compaction = found(state_file::load::<CompactionState>(disk, dir))?;
    let compacting = compaction.is_some_and(|compaction| compaction.replacing.is_some());
    if truncating || compacting || losses.is_some_and(|losses| losses.exchange.is_some()) {
        return Ok(None);
    }
    let mut backup_files = Vec::new();
    if let Some((last, sealed)) = directory.logs.split_last() {
        backup_files.extend(sealed_files(&directory, sealed));
        let tail = scan_tail(disk, dir, *last, checkpoint.as_ref(), None)?;
        // Damage below the durable end is kept; nothing relies on bytes above it.
        let sound = if tail.damage.is_empty() { tail.end.bytes } else { tail.length };
        backup_files.push(BackupFile { name: segment::log_name(*last), copy: Some(sound) });
        if directory.indexes.binary_search(last).is_ok() {
            backup_files.push(BackupFile { name: segment::index_name(*last), copy: Some(u64::MAX) });
        }
    }
    backup_files.extend(state_files(&directory));
    Ok(Some(backup_files))
}

/// Sealed segments, with the files that they have.
pub(crate) fn sealed_files(directory: &Directory, bases: &[Offset]) -> Vec<BackupFile> {
    let has_index = |base: &Offset| directory.indexes.binary_search(base).is_ok();
    let backup_files = bases.iter().flat_map(|base| {
        let index = has_index(base).then(|| BackupFile::never_written(segment::index_name(*base)));
        std::iter::once(BackupFile::never_written(segment::log_name(*base))).chain(index)
    });
    backup_files.collect()
}

/// The state files that exist.
pub(crate) fn state_files(directory: &Directory) -> impl Iterator<Item = BackupFile> {
    SMALL.into_iter().filter(|name| directory.has(name)).map(BackupFile::never_written)
}

/// A damaged state file is none here: its partition is still backed up.
fn found<T>(loaded: Result<T, StateFileError>) -> Result<Option<T>, DiskError> {
    match loaded {
        Ok(content) => Ok(Some(content)),
        Err(StateFileError::Disk(error)) => Err(error),
        Err(_) => Ok(None),
    }
}
