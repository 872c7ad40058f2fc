//! The files of one backup, *held*: nothing removes them until they are in the backup.
//!
//! Those of a running broker are held by a second name in the data directory, or, where a file can have none, by an open
//! handle. So nothing that others wait for ever waits for the place where the backup goes: that may be a file system that
//! does not answer. Those of a stopped broker are held by the lock of their directory.

use grower_storage::disk::{Disk, DiskError, SharedFile};
use grower_storage::pieces::Piece;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where files wait to be copied, in the data directory.
const LINKS: &str = "backup.unfinished";

/// Removes what backups left in a data directory that a crash snapshot short, or that were given up.
pub(crate) fn remove_links(disk: &dyn Disk, data_dir: &Path) -> Result<(), DiskError> {
    remove(disk, &data_dir.join(LINKS))
}

fn remove(disk: &dyn Disk, dir: &Path) -> Result<(), DiskError> {
    match disk.remove_dir_all(dir) {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// The files that a backup will contain.
pub(crate) struct BackupSnapshot {
    pub(super) disk: Arc<dyn Disk>,
    data_dir: PathBuf,
    /// By their paths in the data directory.
    pub(super) files: BTreeMap<String, HeldFile>,
    /// The directories that they lie in.
    pub(super) dirs: BTreeSet<String>,
    links: Option<LinkDirectory>,
}

/// A file that can no longer get lost.
pub(super) enum HeldFile {
    /// It has this name, and is never written to again.
    Whole(PathBuf),
    /// The file at this path; the backup takes this many of its bytes.
    Part(PathBuf, u64),
    /// An open file; the backup takes this many of its bytes.
    Open(SharedFile, u64),
}

/// A directory for second names, and how many were given there.
struct LinkDirectory {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    names: u64,
}

impl LinkDirectory {
    /// The directory has a name of its own: one that was given up may still be removed while the next is in use.
    fn create(disk: &Arc<dyn Disk>, data_dir: &Path) -> Result<Self, DiskError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        remove_links(&**disk, data_dir)?;
        let dir = data_dir.join(LINKS).join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
        disk.create_dir_all(&dir)?;
        Ok(Self { disk: disk.clone(), dir, names: 0 })
    }

    /// None if the file can have no second name here.
    fn second_name(&mut self, source: &Path) -> Result<Option<PathBuf>, DiskError> {
        let name = self.dir.join(self.names.to_string());
        self.names += 1;
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

/// Gives a file another name, and says whether it can have one.
pub(super) fn link(disk: &dyn Disk, from: &Path, to: &Path) -> Result<bool, DiskError> {
    match disk.link(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.forbids_links() => Ok(false),
        Err(error) => Err(error),
    }
}

impl BackupSnapshot {
    /// For a data directory that belongs to the caller for as long as this lives.
    pub(super) fn of_stopped(disk: Arc<dyn Disk>, data_dir: &Path) -> Self {
        let (files, dirs) = (BTreeMap::new(), BTreeSet::new());
        Self { disk, data_dir: data_dir.to_owned(), files, dirs, links: None }
    }

    /// For a data directory in use. A running broker may have more files than handles, so they get second names.
    pub(super) fn of_running(disk: Arc<dyn Disk>, data_dir: &Path) -> Result<Self, DiskError> {
        let links = Some(LinkDirectory::create(&disk, data_dir)?);
        Ok(Self { links, ..Self::of_stopped(disk, data_dir) })
    }

    /// Notes a directory of the data directory, though it may hold nothing.
    pub(super) fn add_dir(&mut self, dir: &str) {
        self.dirs.insert(dir.to_owned());
    }

    /// Holds files of a directory. They must not be removed or replaced until this returns.
    pub(super) fn hold(&mut self, dir: &str, pieces: &[Piece]) -> Result<(), DiskError> {
        for piece in pieces {
            let path = Path::new(dir).join(&piece.name);
            if path.as_os_str().as_encoded_bytes().contains(&b'\n') {
                // A manifest has a line for each file.
                return Err(DiskError::at("back up", &self.data_dir.join(&path))(ErrorKind::InvalidFilename.into()));
            }
            let held = self.hold_one(self.data_dir.join(&path), piece)?;
            self.files.insert(path.display().to_string(), held);
        }
        Ok(())
    }

    fn hold_one(&mut self, source: PathBuf, piece: &Piece) -> Result<HeldFile, DiskError> {
        let Some(links) = &mut self.links else {
            return Ok(piece
                .copy
                .map_or_else(|| HeldFile::Whole(source.clone()), |bytes| HeldFile::Part(source.clone(), bytes)));
        };
        if piece.copy.is_none()
            && let Some(name) = links.second_name(&source)?
        {
            return Ok(HeldFile::Whole(name));
        }
        let file = self.disk.open(&source)?;
        let bytes = file.len()?.min(piece.copy.unwrap_or(u64::MAX));
        Ok(HeldFile::Open(file, bytes))
    }

    /// A held file, and how many of its bytes are wanted.
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
