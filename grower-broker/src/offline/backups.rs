//! Backups of a stopped data directory: making, listing, checking and restoring them.

pub use crate::backup::{
    BackedUp, BackupError, BackupManifest, FileSum, Listed, ManifestError, RestoreError, Restored,
};

use super::{Finding, VerifyError, verify};
use crate::backup;
use crate::clock::{Clock, SystemClock};
use crate::metadata::Uuid;
use crate::random::random_bytes;
use grower_storage::disk::{Disk, DiskError, FileDisk};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Makes a backup of `data_dir`, without a running broker, in the directory of backups `dir`. A `full` one shares no
/// files with earlier ones. `keep_going` gets the number of bytes read, and stops the backup by returning false.
pub fn backup(
    data_dir: &Path,
    dir: &Path,
    full: bool,
    keep_going: impl FnMut(u64) -> bool,
) -> Result<BackedUp, BackupError> {
    let source: Arc<dyn Disk> = Arc::new(FileDisk::read_only(data_dir)); // It may be on a read-only mount.
    let disk: Arc<dyn Disk> = Arc::new(FileDisk::new(dir));
    backup::backup((&source, data_dir), (&disk, dir), full, SystemClock.wall(), keep_going)
}

/// The finished backups in a directory, oldest first.
pub fn list(dir: &Path) -> Result<Vec<Listed>, DiskError> {
    backup::list(&FileDisk::read_only(dir), dir)
}

/// The result of checking a backup.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The backup.
    pub path: PathBuf,
    /// Its manifest.
    pub manifest: Result<BackupManifest, ManifestError>,
    /// Damage to its files; empty if the backup can be restored.
    pub findings: Vec<Finding>,
}

/// Checks every byte of the backup at `path`, or of the latest in the directory there; none if there is none.
/// `progress` gets the number of bytes read.
pub fn check(path: &Path, mut progress: impl FnMut(u64)) -> Result<Option<Checked>, VerifyError> {
    let disk = FileDisk::read_only(path);
    let Some(found) = backup::find(&disk, path)? else { return Ok(None) };
    let Ok(manifest) = &found.manifest else {
        return Ok(Some(Checked { path: found.path, manifest: found.manifest, findings: Vec::new() }));
    };
    let mut findings = backup::compare_all(&disk, &found.path, manifest, &mut progress)?;
    if findings.is_empty() {
        // The files are as they were made, but may have been damaged before that.
        let before = manifest.bytes();
        findings = verify(&found.path, |bytes| progress(before + bytes))?.findings;
    }
    Ok(Some(Checked { path: found.path, manifest: found.manifest, findings }))
}

/// Makes the new data directory `data_dir` from the backup at `path`, or from the latest in the directory there.
pub fn restore(path: &Path, data_dir: &Path, progress: impl FnMut(u64)) -> Result<Restored, RestoreError> {
    let disk: Arc<dyn Disk> = Arc::new(FileDisk::new(data_dir));
    let source = FileDisk::read_only(path); // A backup may be on a read-only mount.
    backup::restore(
        (&source, path),
        &disk,
        data_dir,
        Uuid::from_random(random_bytes()),
        Arc::new(SystemClock),
        progress,
    )
}
