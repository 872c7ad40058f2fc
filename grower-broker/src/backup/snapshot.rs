//! A snapshot of the files for one backup, *held*: nothing removes them before they are in the backup.
//!
//! Files of a running broker are held by a hard link in the data directory, or by an open handle where links are
//! impossible. So the broker never waits for the file system of the backup, which may not answer. Files of a stopped
//! broker are held by the lock of their directory.

use grower_storage::backup_files::BackupFile;
use grower_storage::disk::{Disk, DiskError, SharedFile};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The directory of hard links in the data directory.
const LINKS: &str = "backup.unfinished";

/// Removes the hard links of interrupted and abandoned backups from a data directory.
pub(crate) fn remove_links(disk: &dyn Disk, data_dir: &Path) -> Result<(), DiskError> {
    remove(disk, &data_dir.join(LINKS))
}

fn remove(disk: &dyn Disk, dir: &Path) -> Result<(), DiskError> {
    match disk.remove_dir_all(dir) {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// The files of a backup.
pub(crate) struct BackupSnapshot {
    pub(super) disk: Arc<dyn Disk>,
    data_dir: PathBuf,
    /// Held files, by their paths in the data directory.
    pub(super) files: BTreeMap<String, HeldFile>,
    /// Their directories.
    pub(super) dirs: BTreeSet<String>,
    links: Option<LinkDirectory>,
}

/// A held file.
pub(super) enum HeldFile {
    /// An immutable file, at this path.
    Whole(PathBuf),
    /// The file at this path; the backup takes this many bytes of it.
    Part(PathBuf, u64),
    /// An open file; the backup takes this many bytes of it.
    Open(SharedFile, u64),
}

/// A directory of hard links, and the number of links.
struct LinkDirectory {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    count: u64,
}

impl LinkDirectory {
    /// Creates a directory with a new name: an abandoned one may still be being removed.
    fn create(disk: &Arc<dyn Disk>, data_dir: &Path) -> Result<Self, DiskError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        remove_links(&**disk, data_dir)?;
        let dir = data_dir.join(LINKS).join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
        disk.create_dir_all(&dir)?;
        Ok(Self { disk: disk.clone(), dir, count: 0 })
    }

    /// Makes a hard link; none if the file cannot have one here.
    fn make_link(&mut self, source: &Path) -> Result<Option<PathBuf>, DiskError> {
        let name = self.dir.join(self.count.to_string());
        self.count += 1;
        Ok(link(&*self.disk, source, &name)?.then_some(name))
    }
}

impl Drop for LinkDirectory {
    fn drop(&mut self) {
        if let Err(error) = remove(&*self.disk, &self.dir) {
            tracing::warn!(%error, "files of a backup could not be removed; the next start removes them");
        }
    }
}

/// Makes a hard link. Returns whether that is possible.
pub(super) fn link(disk: &dyn Disk, from: &Path, to: &Path) -> Result<bool, DiskError> {
    match disk.link(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.forbids_links() => Ok(false),
        Err(error) => Err(error),
    }
}

impl BackupSnapshot {
    /// A snapshot of a data directory that the caller has locked.
    pub(super) fn of_stopped(disk: Arc<dyn Disk>, data_dir: &Path) -> Self {
        let (files, dirs) = (BTreeMap::new(), BTreeSet::new());
        Self { disk, data_dir: data_dir.to_owned(), files, dirs, links: None }
    }

    /// A snapshot of a data directory in use. It holds files by links, since they may be more than file descriptors.
    pub(super) fn of_running(disk: Arc<dyn Disk>, data_dir: &Path) -> Result<Self, DiskError> {
        let links = Some(LinkDirectory::create(&disk, data_dir)?);
        Ok(Self { links, ..Self::of_stopped(disk, data_dir) })
    }

    /// Adds a directory, even if it is empty.
    pub(super) fn add_dir(&mut self, dir: &str) {
        self.dirs.insert(dir.to_owned());
    }

    /// Holds files of a directory. They must not be removed or replaced before this returns.
    pub(super) fn hold(&mut self, dir: &str, backup_files: &[BackupFile]) -> Result<(), DiskError> {
        for backup_file in backup_files {
            let path = Path::new(dir).join(&backup_file.name);
            if path.as_os_str().as_encoded_bytes().contains(&b'\n') {
                // The manifest has one line for each file.
                return Err(DiskError::at("back up", &self.data_dir.join(&path))(ErrorKind::InvalidFilename.into()));
            }
            let held = self.hold_one(self.data_dir.join(&path), backup_file)?;
            self.files.insert(path.display().to_string(), held);
        }
        Ok(())
    }

    fn hold_one(&mut self, source: PathBuf, backup_file: &BackupFile) -> Result<HeldFile, DiskError> {
        let Some(links) = &mut self.links else {
            return Ok(backup_file
                .copy
                .map_or_else(|| HeldFile::Whole(source.clone()), |bytes| HeldFile::Part(source.clone(), bytes)));
        };
        if backup_file.copy.is_none()
            && let Some(name) = links.make_link(&source)?
        {
            return Ok(HeldFile::Whole(name));
        }
        let file = self.disk.open(&source)?;
        let bytes = file.len()?.min(backup_file.copy.unwrap_or(u64::MAX));
        Ok(HeldFile::Open(file, bytes))
    }

    /// Opens a held file. Returns it with the number of bytes to take.
    pub(super) fn open(&self, held: &HeldFile) -> Result<(SharedFile, u64), DiskError> {
        let (file, wanted) = match held {
            HeldFile::Whole(name) => (self.disk.open(name)?, u64::MAX),
            HeldFile::Part(name, bytes) => (self.disk.open(name)?, *bytes),
            HeldFile::Open(file, bytes) => (file.clone(), *bytes),
        };
        let bytes = file.len()?.min(wanted);
        Ok((file, bytes))
    }
}
