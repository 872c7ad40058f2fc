//! Checks where data directories and directories of backups lie: not in a backup, and not in another data directory.
//!
//! A backup shares files by hard links with other backups and with its data directory, so a write to one of them
//! damages all. [`lock`] is the only way to lock a data directory for writing, and checks before it creates any file.

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

/// The reason why nothing may be written to a directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misplaced {
    /// The directory lies in a backup.
    #[error(
        "{dir} lies in the backup {backup}, which shares its files with others: nothing may be written there. Make a data \
         directory from it with `grower-cli restore {backup} OUT`, and use that",
        dir = dir.display(),
        backup = backup.display()
    )]
    InBackup {
        /// The directory.
        dir: PathBuf,
        /// The backup.
        backup: PathBuf,
    },
    /// The directory lies in a data directory, where a broker moves unknown files to quarantine.
    #[error(
        "{dir} lies in the data directory {data_dir}, whose broker owns everything in it: choose a directory outside",
        dir = dir.display(),
        data_dir = data_dir.display()
    )]
    InDataDirectory {
        /// The directory.
        dir: PathBuf,
        /// The data directory.
        data_dir: PathBuf,
    },
}

/// The reason why a data directory was not locked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    #[error(transparent)]
    Misplaced(#[from] Misplaced),
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Locks the data directory `dir` for writing.
pub(crate) fn lock(disk: &dyn Disk, dir: &Path) -> Result<DirLock, LockError> {
    check(dir)?;
    Ok(disk.lock(dir)?)
}

/// Creates the data directory `dir` if missing, and locks it for writing.
pub(crate) fn create_and_lock(disk: &dyn Disk, dir: &Path) -> Result<DirLock, LockError> {
    check(dir)?;
    disk.create_dir_all(dir)?;
    Ok(disk.lock(dir)?)
}

/// Refuses a directory inside a backup, or inside another data directory.
pub(crate) fn check(dir: &Path) -> Result<(), Misplaced> {
    let Ok(path) = real(dir) else { return Ok(()) }; // Then nothing can be created there either.
    if let Some(backup) = path.ancestors().find(|ancestor| is_backup(ancestor)) {
        return Err(Misplaced::InBackup { dir: dir.to_owned(), backup: backup.to_owned() });
    }
    match path.ancestors().skip(1).find(|ancestor| is_data_directory(ancestor)) {
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

/// Whether `dir` is a data directory: it has both the identity and the metadata.
fn is_data_directory(dir: &Path) -> bool {
    dir.join(metadata::META).is_file() && dir.join(metadata::DIR).is_dir()
}

/// The real path. The missing part of a path is taken as it is, below the existing directory.
pub(crate) fn real(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let found = path.ancestors().find_map(|there| Some((there.canonicalize().ok()?, path.strip_prefix(there).ok()?)));
    Ok(found.map_or_else(|| path.clone(), |(there, rest)| there.join(rest)))
}
