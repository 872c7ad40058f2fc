//! Where a data directory or a directory of backups may lie: in no backup, and in no data directory of another broker.
//!
//! A backup shares its files by hard links with other backups, and with the data directory that it is of. A write to one of
//! them damages them all. So [`lock`] is the only way to take a data directory for writing: it looks first, and until
//! then makes no file.

use crate::metadata;
use grower_storage::disk::{DirLock, Disk, DiskError};
use std::io;
use std::path::{Path, PathBuf};

/// The manifest of a backup, in its directory.
pub(crate) const MANIFEST: &str = "backup.manifest";
/// The backups of a series are called `backup-000001`, `backup-000002` and so on.
pub(crate) const BACKUP_PREFIX: &str = "backup-";
/// Ends the name of a backup that is still being made.
pub(crate) const UNFINISHED: &str = ".unfinished";

/// Why nothing is written in a place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misplaced {
    /// A backup is only ever read.
    #[error(
        "{dir} lies in the backup {backup}, and a backup shares its files with others: nothing may be written there. Make a data \
         directory from it with `grower-cli restore {backup} OUT`, and use that",
        dir = dir.display(),
        backup = backup.display()
    )]
    InBackup {
        /// The place.
        dir: PathBuf,
        /// The backup.
        backup: PathBuf,
    },
    /// A broker puts what it does not know among its topics aside.
    #[error(
        "{dir} lies in the data directory {data_dir}, whose broker owns everything in it: choose a directory outside",
        dir = dir.display(),
        data_dir = data_dir.display()
    )]
    InDataDirectory {
        /// The place.
        dir: PathBuf,
        /// The data directory.
        data_dir: PathBuf,
    },
}

/// Why a data directory was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    #[error(transparent)]
    Misplaced(#[from] Misplaced),
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Takes the data directory `dir` for writing.
pub(crate) fn lock(disk: &dyn Disk, dir: &Path) -> Result<DirLock, LockError> {
    check(dir)?;
    Ok(disk.lock(dir)?)
}

/// Takes the data directory `dir` for writing, and makes it if it is not there.
pub(crate) fn create_and_lock(disk: &dyn Disk, dir: &Path) -> Result<DirLock, LockError> {
    check(dir)?;
    disk.create_dir_all(dir)?;
    Ok(disk.lock(dir)?)
}

/// Refuses a place in a backup or in a data directory other than `dir` itself.
pub(crate) fn check(dir: &Path) -> Result<(), Misplaced> {
    let Ok(place) = real(dir) else { return Ok(()) }; // Then nothing can be made there either.
    if let Some(backup) = place.ancestors().find(|around| is_backup(around)) {
        return Err(Misplaced::InBackup { dir: dir.to_owned(), backup: backup.to_owned() });
    }
    match place.ancestors().skip(1).find(|around| is_data_directory(around)) {
        Some(data_dir) => Err(Misplaced::InDataDirectory { dir: dir.to_owned(), data_dir: data_dir.to_owned() }),
        None => Ok(()),
    }
}

/// Whether `dir` is a backup, under any name, or one in the making: its files are links to others already.
fn is_backup(dir: &Path) -> bool {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    dir.join(MANIFEST).exists() || is_backup_name(&name) && name.ends_with(UNFINISHED)
}

/// Whether a directory of that name is, or would be taken for, one backup of a series.
pub(crate) fn is_backup_name(name: &str) -> bool {
    let number = name.trim_end_matches(UNFINISHED).trim_start_matches(BACKUP_PREFIX);
    name.starts_with(BACKUP_PREFIX) && number.parse::<u32>().is_ok()
}

/// Both names together are no accident.
fn is_data_directory(dir: &Path) -> bool {
    dir.join(metadata::META).is_file() && dir.join(metadata::DIR).is_dir()
}

/// Where a path leads. What is not there yet is where its name says, in a directory that is there.
pub(crate) fn real(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let found = path.ancestors().find_map(|there| Some((there.canonicalize().ok()?, path.strip_prefix(there).ok()?)));
    Ok(found.map_or_else(|| path.clone(), |(there, rest)| there.join(rest)))
}
