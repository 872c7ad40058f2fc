//! A data directory while no broker runs on it: looking into it, and repairing it.
//!
//! [`dump`] walks one segment file, batch by batch, and goes on behind damage where it can. [`verify`] checks every byte
//! of a directory: identity, metadata, and all partitions. Neither changes a file. [`repair`] gives up damaged
//! records, [`backups`] makes and restores backups.

pub mod backups;
pub mod repair;

pub use grower_protocol::batch::{Batch, RecordView, RecordsError};
pub use grower_storage::disk::{DiskError, FileSystem, Trust};
pub use grower_storage::repair::AcceptedLoss;
pub use grower_storage::verify::{Dumped, Finding};

use crate::backup;
use crate::logs::begun::{self, LostPartition};
use crate::metadata;
use grower_storage::disk::{DirLock, Disk, FileDisk};
use std::io::ErrorKind;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

/// The most that the records of one batch may take once they are decompressed, in bytes.
const RECORD_BYTES_MAX: usize = 1 << 30;

/// What a check of a data directory came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifiedDirectory {
    /// All that is wrong; nothing if the directory is sound.
    pub findings: Vec<Finding>,
    /// How many partitions were checked; the metadata counts as one.
    pub partitions: usize,
    /// Bytes of log that were checked.
    pub bytes: u64,
    /// Bytes that a crash left torn behind what was known to be durable; the next start cuts them.
    pub torn_bytes: u64,
    /// Records that somebody gave up in earlier repairs, and the partition's directory.
    pub accepted: Vec<(PathBuf, AcceptedLoss)>,
}

/// Why a data directory could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Somebody is changing it.
    #[error("a broker works in {dir}: stop it first", dir = dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// No broker was ever started there.
    #[error("{dir} is not a data directory: it has neither `meta` nor `topics`", dir = dir.display())]
    NotADataDirectory {
        /// The directory.
        dir: PathBuf,
    },
    /// A restore into it was not finished.
    #[error(
        "a restore into {dir} was cut short, and it holds a part of a backup: repeat `grower-cli restore BACKUP {dir}`, which begins \
         again",
        dir = dir.display()
    )]
    CutShortRestore {
        /// The directory.
        dir: PathBuf,
    },
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Tells `each` what a segment file holds, in order, until it breaks off.
pub fn dump(file: &Path, each: impl FnMut(Dumped) -> ControlFlow<()>) -> Result<(), DiskError> {
    grower_storage::verify::dump(&disk_of(file), file, each)
}

/// The records of a batch, decompressed.
pub fn records(batch: &Batch) -> Result<Vec<RecordView>, RecordsError> {
    batch.records(RECORD_BYTES_MAX)?.collect()
}

/// Checks every byte of a data directory. `progress` is told from time to time how many bytes of log were checked.
pub fn verify(dir: &Path, mut progress: impl FnMut(u64)) -> Result<VerifiedDirectory, VerifyError> {
    let disk = disk_of(dir);
    let _lock = lock_to_look(&disk, dir)?;
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
        verified.findings.extend(found.findings);
        verified.partitions += 1;
        verified.bytes += found.bytes;
        verified.torn_bytes += found.torn_bytes;
        verified.accepted.extend(found.accepted.into_iter().map(|loss| (partition.clone(), loss)));
    }
    Ok(verified)
}

fn lost_finding(lost: &LostPartition) -> Finding {
    let what = format!("all records of {}/{} are lost: its files are gone", lost.name, lost.partition);
    Finding { path: lost.dir.clone(), bytes: None, offsets: None, what }
}

/// Files where only directories of topics and partitions belong. No partition can be opened there.
fn files_in_place_of_directories(disk: &dyn Disk, dir: &Path) -> Result<Vec<Finding>, DiskError> {
    let topics = dir.join("topics");
    let mut found = Vec::new();
    for parent in std::iter::once(topics.clone()).chain(directories(disk, &topics)?) {
        let what = if parent == topics { "topic" } else { "partition" };
        let belongs = |name: &str| parent == topics || name.parse::<u32>().is_ok();
        let entries = if_found(disk.list(&parent))?.unwrap_or_default().into_iter().filter(|entry| !entry.is_dir);
        let paths = entries.filter(|entry| belongs(&entry.name)).map(|entry| parent.join(entry.name));
        // A link that leads nowhere is no file: its partition's files are gone.
        let is_file = |path: &PathBuf| disk.list(path).is_err_and(|error| error.kind() == ErrorKind::NotADirectory);
        found.extend(paths.filter(is_file).map(|path| {
            let what = format!("a file in the place of a {what}'s directory: restore the directory from a backup");
            Finding { path, bytes: None, offsets: None, what }
        }));
    }
    Ok(found)
}

fn begun_finding(dir: &Path, bytes: Range<u64>) -> Finding {
    let what = "a damaged line; the next start of a broker rebuilds it from the partition's files".to_owned();
    Finding { path: dir.join(begun::FILE), bytes: Some(bytes), offsets: None, what }
}

fn disk_of(path: &Path) -> FileDisk {
    FileDisk::read_only(path)
}

/// Whether a broker was ever started on a directory, or a restore into it was begun.
pub fn is_data_directory(dir: &Path) -> bool {
    [metadata::META, "topics", backup::RESTORING].iter().any(|name| dir.join(name).exists())
}

fn check_is_data_directory(dir: &Path) -> Result<(), VerifyError> {
    if is_data_directory(dir) {
        return Ok(());
    }
    Err(VerifyError::NotADataDirectory { dir: dir.to_owned() })
}

/// Half of a backup looks like damage, and to give records up is no help there. A restore holds the directory's lock, so
/// this is asked under it.
fn check_is_restored(disk: &dyn Disk, dir: &Path) -> Result<(), VerifyError> {
    match backup::is_cut_short(disk, dir)? {
        true => Err(VerifyError::CutShortRestore { dir: dir.to_owned() }),
        false => Ok(()),
    }
}

/// Takes the directory to look only.
fn lock_to_look(disk: &dyn Disk, dir: &Path) -> Result<DirLock, VerifyError> {
    check_is_data_directory(dir)?;
    let lock = disk.lock_shared(dir).map_err(|error| in_use(error, dir))?;
    check_is_restored(disk, dir)?;
    Ok(lock)
}

/// A lock that another holds is a broker's.
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
