//! Offline tools for a data directory without a running broker: checks, repairs and backups.
//!
//! [`dump`] reads one segment file, batch by batch, and continues after damage where it can. [`verify`] checks every
//! byte of a directory: identity, metadata, and all partitions. Neither changes a file. [`repair`] accepts the
//! loss of damaged records, [`backups`] makes and restores backups.

pub mod backups;
pub mod repair;

pub use grower_protocol::batch::{Batch, RecordView, RecordsError};
pub use grower_storage::disk::{DiskError, FileSystem, Trust};
pub use grower_storage::repair::AcceptedLoss;
pub use grower_storage::verify::{Dumped, Finding, Remedy};

use crate::backup;
use crate::logs::begun::{self, LostPartition};
use crate::metadata;
use grower_storage::disk::{DirLock, Disk, FileDisk};
use repair::PartitionName;
use std::io::ErrorKind;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

/// The largest size of one batch's decompressed records, in bytes.
const RECORD_BYTES_MAX: usize = 1 << 30;

/// The result of checking a data directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifiedDirectory {
    /// All damage; empty if the directory is sound.
    pub findings: Vec<Finding>,
    /// The number of checked partitions; the metadata counts as one.
    pub partitions: usize,
    /// Checked bytes of logs.
    pub bytes: u64,
    /// Bytes of torn tails after a crash; the next start cuts them off.
    pub torn_bytes: u64,
    /// Accepted losses of earlier repairs, with the partition's directory.
    pub accepted: Vec<(PathBuf, AcceptedLoss)>,
}

/// The reason why a data directory could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A broker uses it.
    #[error("a broker works in {dir}: stop it first", dir = dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// It is not a data directory.
    #[error("{dir} is not a data directory: it has neither `meta` nor `topics`", dir = dir.display())]
    NotADataDirectory {
        /// The directory.
        dir: PathBuf,
    },
    /// A restore into it was interrupted.
    #[error(
        "a restore into {dir} was interrupted: repeat `grower-cli restore BACKUP {dir}`, which starts again",
        dir = dir.display()
    )]
    CutShortRestore {
        /// The directory.
        dir: PathBuf,
    },
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Passes the content of a segment file to `each`, in order, until that breaks.
pub fn dump(file: &Path, each: impl FnMut(Dumped) -> ControlFlow<()>) -> Result<(), DiskError> {
    grower_storage::verify::dump(&disk_of(file), file, each)
}

/// The records of a batch, decompressed.
pub fn records(batch: &Batch) -> Result<Vec<RecordView>, RecordsError> {
    batch.records(RECORD_BYTES_MAX)?.collect()
}

/// Checks every byte of a data directory. `progress` gets the number of checked bytes of logs.
pub fn verify(dir: &Path, mut progress: impl FnMut(u64)) -> Result<VerifiedDirectory, VerifyError> {
    let disk = disk_of(dir);
    let _lock = lock_to_read(&disk, dir)?;
    let mut verified =
        VerifiedDirectory { findings: metadata::check_files(&disk, dir)?, ..VerifiedDirectory::default() };
    let lost = begun::lost_partitions(&disk, dir)?;
    verified.findings.extend(lost.iter().map(lost_finding));
    verified.findings.extend(begun::damaged_lines(&disk, dir)?.into_iter().map(|bytes| begun_finding(dir, bytes)));
    verified.findings.extend(files_in_place_of_directories(&disk, dir)?);
    for partition in partitions(&disk, dir)? {
        if lost.iter().any(|lost| lost.dir == partition) {
            continue;
        }
        let before = verified.bytes;
        let found = grower_storage::verify::verify(&disk, &partition, |bytes| progress(before + bytes))?;
        verified.findings.extend(found.findings.into_iter().map(|finding| in_directory(finding, dir)));
        verified.partitions += 1;
        verified.bytes += found.bytes;
        verified.torn_bytes += found.torn_bytes;
        verified.accepted.extend(found.accepted.into_iter().map(|loss| (partition.clone(), loss)));
    }
    Ok(verified)
}

/// Only the partitions of topics are repaired: a broker that forgot topics could not tell whose files it has. A start
/// rebuilds the indexes of the metadata; everything else of it comes from a backup.
fn in_directory(finding: Finding, dir: &Path) -> Finding {
    let remedy = match finding.remedy {
        remedy if PartitionName::of(dir, &finding.path).is_some() => remedy,
        Remedy::RebuildIndex if finding.path.starts_with(dir.join(metadata::DIR)) => Remedy::NextStart,
        _ => Remedy::RestoreBackup,
    };
    Finding { remedy, ..finding }
}

fn lost_finding(lost: &LostPartition) -> Finding {
    let reason = format!("all records of {}/{} are lost: its files are gone", lost.name, lost.partition);
    Finding::file(lost.dir.clone(), Remedy::AcceptLostPartition, reason)
}

/// Files in place of directories of topics and partitions: no partition can be opened there.
fn files_in_place_of_directories(disk: &dyn Disk, dir: &Path) -> Result<Vec<Finding>, DiskError> {
    let topics = dir.join("topics");
    let mut found = Vec::new();
    for parent in std::iter::once(topics.clone()).chain(directories(disk, &topics)?) {
        let what = if parent == topics { "topic" } else { "partition" };
        let belongs = |name: &str| parent == topics || name.parse::<u32>().is_ok();
        let entries = if_found(disk.list(&parent))?.unwrap_or_default().into_iter().filter(|entry| !entry.is_dir);
        let paths = entries.filter(|entry| belongs(&entry.name)).map(|entry| parent.join(entry.name));
        // A dangling link is not a file: its partition's files are gone.
        let is_file = |path: &PathBuf| disk.list(path).is_err_and(|error| error.kind() == ErrorKind::NotADirectory);
        found.extend(paths.filter(is_file).map(|path| {
            let reason = format!("a file in the place of a {what}'s directory: restore the directory from a backup");
            Finding::file(path, Remedy::RestoreBackup, reason)
        }));
    }
    Ok(found)
}

fn begun_finding(dir: &Path, bytes: Range<u64>) -> Finding {
    let reason = "a damaged line; the next start of a broker rebuilds it from the partition's files";
    Finding { bytes: Some(bytes), ..Finding::file(dir.join(begun::FILE), Remedy::NextStart, reason) }
}

fn disk_of(path: &Path) -> FileDisk {
    FileDisk::read_only(path)
}

/// Whether a directory is a data directory, or a restore into it was begun.
pub fn is_data_directory(dir: &Path) -> bool {
    [metadata::META, "topics", backup::RESTORING].iter().any(|name| dir.join(name).exists())
}

fn check_is_data_directory(dir: &Path) -> Result<(), VerifyError> {
    if is_data_directory(dir) {
        return Ok(());
    }
    Err(VerifyError::NotADataDirectory { dir: dir.to_owned() })
}

/// Checks that no restore was interrupted: a part of a backup looks like damage, and to accept a loss would be wrong.
/// Called under the directory's lock, which a restore holds.
fn check_is_restored(disk: &dyn Disk, dir: &Path) -> Result<(), VerifyError> {
    match backup::is_cut_short(disk, dir)? {
        true => Err(VerifyError::CutShortRestore { dir: dir.to_owned() }),
        false => Ok(()),
    }
}

/// Locks the directory for reading.
fn lock_to_read(disk: &dyn Disk, dir: &Path) -> Result<DirLock, VerifyError> {
    check_is_data_directory(dir)?;
    let lock = disk.lock_shared(dir).map_err(|error| in_use(error, dir))?;
    check_is_restored(disk, dir)?;
    Ok(lock)
}

/// A lock of another process is a broker's.
fn in_use(error: DiskError, dir: &Path) -> VerifyError {
    match error.kind() {
        ErrorKind::WouldBlock => VerifyError::InUse { dir: dir.to_owned() },
        _ => error.into(),
    }
}

/// The metadata, then every partition of every topic, sorted.
fn partitions(disk: &dyn Disk, dir: &Path) -> Result<Vec<PathBuf>, DiskError> {
    let mut found = vec![dir.join("metadata")];
    for topic in directories(disk, &dir.join("topics"))? {
        found.extend(directories(disk, &topic)?);
    }
    Ok(found)
}

fn directories(disk: &dyn Disk, dir: &Path) -> Result<Vec<PathBuf>, DiskError> {
    let entries = if_found(disk.list(dir))?.unwrap_or_default();
    Ok(entries.into_iter().filter(|entry| entry.is_dir).map(|entry| dir.join(entry.name)).collect())
}

fn if_found<T>(result: Result<T, DiskError>) -> Result<Option<T>, DiskError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
