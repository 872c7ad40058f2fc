//! A series of backups in a directory: the existing ones, the latest, and the next.

use super::BackupError;
use super::manifest::{self, BackupManifest, ManifestError};
use crate::metadata::NodeIdentity;
use crate::placement::{self, BACKUP_PREFIX, MANIFEST, UNFINISHED};
use grower_protocol::ids::Timestamp;
use grower_storage::disk::{DirEntry, DirLock, Disk, DiskError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A finished backup.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its path.
    pub path: PathBuf,
    /// Its manifest, if that can be read.
    pub manifest: Result<BackupManifest, ManifestError>,
}

/// The finished backups in `dir`, oldest first.
pub(crate) fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<Listed>, DiskError> {
    let listed = finished(&disk.list(dir)?).into_iter().map(|number| {
        let path = dir.join(name(number));
        Ok(Listed { manifest: read(disk, &path)?, path })
    });
    listed.collect()
}

/// The newest wanted one of these backups in `dir`. Unreadable ones are skipped; `keep_going` is asked before each.
fn newest(
    disk: &dyn Disk,
    dir: &Path,
    numbers: &[u32],
    wanted: impl Fn(&BackupManifest) -> bool,
    keep_going: &dyn Fn() -> bool,
) -> Option<(PathBuf, BackupManifest)> {
    numbers.iter().rev().take_while(|_| keep_going()).find_map(|number| {
        let path = dir.join(name(*number));
        match read(disk, &path) {
            Ok(manifest) => Some((path, manifest.ok().filter(&wanted)?)),
            Err(error) => {
                tracing::warn!(%error, "skipped a backup that cannot be read");
                None
            }
        }
    })
}

/// The depth of the search for backups.
const DEPTH_MAX: usize = 4;

/// The time when the newest backup of this broker began, in `dir` or below it. Skips unreadable directories such as
/// `lost+found`, and does not descend into backups, not even through a link such as `latest`. `keep_going` is asked
/// before each directory and each manifest.
pub(super) fn newest_below(
    disk: &dyn Disk,
    dir: &Path,
    of: &NodeIdentity,
    keep_going: &dyn Fn() -> bool,
) -> Option<Timestamp> {
    let ours = |manifest: &BackupManifest| manifest.cluster == of.cluster && manifest.node == of.node;
    let mut newest_yet = None;
    let mut dirs = vec![(dir.to_owned(), 0)];
    while let Some((dir, depth)) = dirs.pop().filter(|_| keep_going()) {
        let entries = disk.list(&dir).unwrap_or_default();
        if entries.iter().any(|entry| entry.name == MANIFEST) {
            continue;
        }
        let newest_here = newest(disk, &dir, &finished(&entries), ours, keep_going);
        newest_yet = newest_yet.max(newest_here.map(|(_, manifest)| manifest.created));
        if depth < DEPTH_MAX {
            let below = entries.into_iter().filter(|entry| entry.is_dir && !placement::is_backup_name(&entry.name));
            dirs.extend(below.map(|entry| (dir.join(entry.name), depth + 1)));
        }
    }
    newest_yet
}

/// The backup at a path: the path itself, or the latest backup in it.
pub(crate) fn find(disk: &dyn Disk, path: &Path) -> Result<Option<Listed>, DiskError> {
    match disk.open(&path.join(MANIFEST)) {
        Ok(_) => Ok(Some(Listed { path: path.to_owned(), manifest: read(disk, path)? })),
        Err(error) if error.is_not_found() => Ok(list(disk, path)?.pop()),
        Err(error) => Err(error),
    }
}

/// Reads a manifest, never through a memory map: an error of a network file system would end the process.
fn read(disk: &dyn Disk, backup: &Path) -> Result<Result<BackupManifest, ManifestError>, DiskError> {
    let damaged = |reason| Ok(Err(ManifestError::Damaged { reason }));
    let file = match disk.open(&backup.join(MANIFEST)) {
        Ok(file) => file,
        Err(error) if error.is_not_found() => return damaged("it is missing"),
        Err(error) => return Err(error),
    };
    let length = usize::try_from(file.len()?).ok().filter(|length| *length <= manifest::BYTES_MAX);
    let Some(length) = length else { return damaged("it is too long") };
    let mut bytes = vec![0; length];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(BackupManifest::parse(&bytes))
}

/// A directory of backups while one is being added.
pub(super) struct BackupSeries {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    number: u32,
    published: bool,
    _lock: DirLock,
}

impl Drop for BackupSeries {
    /// Removes a failed backup.
    fn drop(&mut self) {
        if !self.published {
            let _ = self.disk.remove_dir_all(&self.unfinished_dir()); // Otherwise the next backup does.
        }
    }
}

impl BackupSeries {
    /// Locks the directory, creates it if missing, and removes interrupted backups.
    pub(super) fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, BackupError> {
        disk.create_dir_all(dir)?;
        let lock = disk.lock(dir).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => BackupError::Busy { dir: dir.to_owned() },
            _ => error.into(),
        })?;
        let entries = numbers(&disk.list(dir)?);
        for (number, _) in entries.iter().filter(|(_, done)| !done) {
            disk.remove_dir_all(&dir.join(unfinished(*number)))?;
        }
        let number = entries.iter().map(|(number, _)| *number).max().unwrap_or(0).saturating_add(1);
        Ok(Self { disk, dir: dir.to_owned(), number, published: false, _lock: lock })
    }

    /// The latest readable backup, to share files with.
    pub(super) fn base(&self) -> Result<Option<(PathBuf, BackupManifest)>, DiskError> {
        Ok(newest(&*self.disk, &self.dir, &finished(&self.disk.list(&self.dir)?), |_| true, &|| true))
    }

    /// The directory of the unfinished backup.
    pub(super) fn unfinished_dir(&self) -> PathBuf {
        self.dir.join(unfinished(self.number))
    }

    /// Publishes the backup. Everything in it must be durable.
    pub(super) fn publish(&mut self) -> Result<PathBuf, DiskError> {
        let path = self.dir.join(name(self.number));
        self.disk.rename(&self.unfinished_dir(), &path)?;
        self.published = true;
        self.disk.sync_dir(&self.dir)?;
        Ok(path)
    }
}

/// The numbers of the finished backups among these entries, in order.
fn finished(entries: &[DirEntry]) -> Vec<u32> {
    let mut numbers: Vec<u32> =
        numbers(entries).into_iter().filter_map(|(number, done)| done.then_some(number)).collect();
    numbers.sort_unstable();
    numbers
}

/// The numbers of the backups among these entries, and whether each is finished.
fn numbers(entries: &[DirEntry]) -> Vec<(u32, bool)> {
    let number = |name: &str| {
        let rest = name.strip_prefix(BACKUP_PREFIX)?;
        let digits = rest.strip_suffix(UNFINISHED).unwrap_or(rest);
        Some((digits.parse().ok()?, !rest.ends_with(UNFINISHED)))
    };
    entries.iter().filter(|entry| entry.is_dir).filter_map(|entry| number(&entry.name)).collect()
}

fn name(number: u32) -> String {
    format!("{BACKUP_PREFIX}{number:06}")
}

fn unfinished(number: u32) -> String {
    format!("{}{UNFINISHED}", name(number))
}
