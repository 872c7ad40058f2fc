//! Backups of a data directory without a running broker.

use super::snapshot::BackupSnapshot;
use super::unfinished::UnfinishedBackup;
use super::{BackedUp, BackupError};
use crate::logs::begun;
use crate::metadata::{self, IdentityError, NodeIdentity};
use crate::placement::{self, LockError, real};
use grower_protocol::ids::Timestamp;
use grower_storage::backup_files::{BackupFile, files_of_closed_log};
use grower_storage::disk::{DirLock, Disk, DiskError};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

/// Makes a backup of `data_dir`, which may be read-only, in the directory `dir`. `keep_going` gets the number of bytes
/// read, and stops the backup by returning false.
pub(crate) fn backup(
    (source, data_dir): (&Arc<dyn Disk>, &Path),
    (disk, dir): (&Arc<dyn Disk>, &Path),
    full: bool,
    now: Timestamp,
    mut keep_going: impl FnMut(u64) -> bool,
) -> Result<BackedUp, BackupError> {
    let identity = identity(&**source, data_dir)?;
    let _lock = keep_brokers_out(&**source, data_dir)?;
    let backup = UnfinishedBackup::begin(disk, data_dir, dir, full)?;
    let mut snapshot = BackupSnapshot::of_stopped(source.clone(), data_dir);
    hold_node_files(&mut snapshot, data_dir)?;
    let has_snapshot = exists(&**source, &metadata::snapshot_path(data_dir))?;
    let image_snapshot = has_snapshot.then(|| never_written(metadata::SNAPSHOT));
    hold_stopped(&mut snapshot, data_dir, metadata::DIR, image_snapshot)?;
    for topic in directories(&**source, &data_dir.join("topics"))? {
        for partition in directories(&**source, &data_dir.join("topics").join(&topic))? {
            hold_stopped(&mut snapshot, data_dir, &format!("topics/{topic}/{partition}"), None)?;
        }
    }
    backup.finish(snapshot, &identity, now, &mut keep_going)
}

/// Locks the directory against brokers. On a read-only mount and in a backup no lock may be written: there a shared
/// lock is enough.
fn keep_brokers_out(disk: &dyn Disk, data_dir: &Path) -> Result<DirLock, BackupError> {
    let lock = match placement::lock(disk, data_dir) {
        Ok(lock) => return Ok(lock),
        Err(LockError::Disk(error)) if !error.forbids_writing() => Err(error),
        Err(_) => disk.lock_shared(data_dir),
    };
    lock.map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => BackupError::InUse { dir: data_dir.to_owned() },
        _ => error.into(),
    })
}

/// Checks that data and backups do not lie inside each other, and that a backup does not lie inside another.
pub(super) fn check_apart(data_dir: &Path, dir: &Path) -> Result<(), BackupError> {
    let (Ok(data), Ok(backups)) = (real(data_dir), real(dir)) else { return Ok(()) };
    if data.starts_with(&backups) || backups.starts_with(&data) {
        return Err(BackupError::Inside { dir: dir.to_owned() });
    }
    Ok(placement::check(dir)?)
}

/// The identity of the data. A backup without one could not be restored.
pub(super) fn identity(disk: &dyn Disk, data_dir: &Path) -> Result<NodeIdentity, BackupError> {
    let path = data_dir.join(metadata::META);
    match disk.map(&path) {
        Ok(bytes) => Ok(NodeIdentity::parse(&path, bytes.as_ref())?),
        Err(error) if error.is_not_found() => Err(IdentityError::Missing { path }.into()),
        Err(error) => Err(error.into()),
    }
}

/// Holds a partition that is not open.
pub(super) fn hold_stopped(
    snapshot: &mut BackupSnapshot,
    data_dir: &Path,
    dir: &str,
    more: Option<BackupFile>,
) -> Result<(), BackupError> {
    let source = data_dir.join(dir);
    let backup_files = files_of_closed_log(&*snapshot.disk, &source)?;
    let mut backup_files = backup_files.ok_or(BackupError::Unfinished { dir: source })?;
    backup_files.extend(more);
    snapshot.add_dir(dir);
    Ok(snapshot.hold(dir, &backup_files)?)
}

/// Holds the identity and the list of begun partitions. They are held before all partitions, so the backup has the
/// files of every listed partition.
pub(super) fn hold_node_files(snapshot: &mut BackupSnapshot, data_dir: &Path) -> Result<(), BackupError> {
    snapshot.hold("", &[never_written(metadata::META)])?;
    if exists(&*snapshot.disk, &data_dir.join(begun::FILE))? {
        snapshot.hold("", &[BackupFile { name: begun::FILE.to_owned(), copy: Some(u64::MAX) }])?;
    }
    Ok(())
}

/// A small file that is only ever replaced as a whole.
pub(super) fn never_written(name: &str) -> BackupFile {
    BackupFile { name: name.to_owned(), copy: None }
}

fn exists(disk: &dyn Disk, path: &Path) -> Result<bool, DiskError> {
    match disk.open(path) {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) fn directory_exists(disk: &dyn Disk, dir: &Path) -> Result<bool, DiskError> {
    match disk.list(dir) {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

fn directories(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>, DiskError> {
    match disk.list(dir) {
        Ok(entries) => Ok(entries.into_iter().filter(|entry| entry.is_dir).map(|entry| entry.name).collect()),
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
