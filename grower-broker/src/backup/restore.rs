//! Restores a data directory from a backup.
//!
//! Every file is checked against the manifest while it is copied. The new directory has the same cluster and node
//! number, and a new node identity: a cluster must distinguish a node that lost data after the backup from one that
//! has it. Producer ids and leader epochs start above all that were used after the backup, since clients may still
//! hold them.
//!
//! `meta` is written last: no broker starts on a directory without it, and an interrupted restore starts again, which
//! its marker allows.

use super::manifest::{BackupManifest, FileSum, ManifestError};
use super::series;
use super::sums::{difference, sum_of};
use crate::clock::Clock;
use crate::logs::begun;
use crate::metadata::{
    self, Command, IdentityError, LogMetadataStore, MetadataOpenError, MetadataStore, NodeIdentity, ProposeError, Uuid,
};
use crate::placement::{self, LockError, Misplaced};
use grower_storage::disk::{Disk, DiskError};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The marker of an unfinished restore: everything in the directory came from it.
pub(crate) const RESTORING: &str = "restoring";
/// Far more than `meta` ever has. A longer file is damaged, which its beginning shows.
const META_BYTES_MAX: usize = 64 << 10;

/// A restored data directory.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The backup.
    pub backup: PathBuf,
    /// Its manifest.
    pub manifest: BackupManifest,
}

/// The reason why a backup was not restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is no backup.
    #[error("{path} is not a backup and contains none", path = path.display())]
    NoBackup {
        /// The searched path.
        path: PathBuf,
    },
    /// The directory has files, which a restore does not overwrite.
    #[error("{dir} is not empty: restore into a new directory", dir = dir.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory is misplaced.
    #[error(transparent)]
    Misplaced(#[from] Misplaced),
    /// A broker uses the directory.
    #[error("{dir} is in use", dir = dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The manifest is unusable.
    #[error("{path}: {source}; restore an earlier backup", path = path.display())]
    Manifest {
        /// The backup.
        path: PathBuf,
        /// The reason.
        source: ManifestError,
    },
    /// A file is damaged.
    #[error("{path}: {reason}; restore an earlier backup", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The damage.
        reason: String,
    },
    /// The identity is unusable.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The metadata is unusable.
    #[error(transparent)]
    OpenMetadata(#[from] MetadataOpenError),
    /// The new identity cannot be stored.
    #[error(transparent)]
    Metadata(#[from] ProposeError),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Restores the new directory `data_dir` from the backup at `path`, or from the latest in the directory of backups
/// there. `uuid` is the node's new identity; `progress` gets the number of copied bytes. Nothing on `source` is
/// changed.
pub(crate) fn restore(
    (source, path): (&dyn Disk, &Path),
    disk: &Arc<dyn Disk>,
    data_dir: &Path,
    uuid: Uuid,
    clock: Arc<dyn Clock>,
    progress: impl FnMut(u64),
) -> Result<Restored, RestoreError> {
    let found = series::find(source, path)?.ok_or_else(|| RestoreError::NoBackup { path: path.to_owned() })?;
    let backup = found.path;
    let manifest = found.manifest.map_err(|source| RestoreError::Manifest { path: backup.clone(), source })?;
    let _lock = placement::create_and_lock(&**disk, data_dir).map_err(|error| match error {
        LockError::Misplaced(misplaced) => misplaced.into(),
        LockError::Disk(error) if error.kind() == ErrorKind::WouldBlock => {
            RestoreError::InUse { dir: data_dir.to_owned() }
        }
        LockError::Disk(error) => error.into(),
    })?;
    claim(&**disk, data_dir)?;
    let identity = copy_all((source, &backup), &**disk, data_dir, &manifest, progress)?;
    let identity = NodeIdentity { uuid, ..identity };
    let store = LogMetadataStore::open(disk.clone(), data_dir, clock.clone())?;
    store.propose_now(&Command::ReplaceNode { node: identity.node, uuid })?;
    store.propose_now(&metadata::raise_minimum_ids(&store.image(), None, clock.wall()))?;
    drop(store);
    identity.write(&**disk, data_dir)?;
    disk.remove_file(&data_dir.join(RESTORING))?;
    disk.sync_dir(data_dir)?;
    Ok(Restored { backup, manifest })
}

/// Whether a restore into this directory was interrupted.
pub(crate) fn is_cut_short(disk: &dyn Disk, data_dir: &Path) -> Result<bool, DiskError> {
    let names: BTreeSet<String> = disk.list(data_dir)?.into_iter().map(|entry| entry.name).collect();
    Ok(names.contains(RESTORING) && !names.contains(metadata::META))
}

/// Claims the directory: it is empty, or has only the files of an interrupted restore.
fn claim(disk: &dyn Disk, data_dir: &Path) -> Result<(), RestoreError> {
    let names: BTreeSet<String> = disk.list(data_dir)?.into_iter().map(|entry| entry.name).collect();
    if !is_cut_short(disk, data_dir)? && names.iter().any(|name| name != "LOCK") {
        return Err(RestoreError::NotEmpty { dir: data_dir.to_owned() });
    }
    if !names.contains(RESTORING) {
        disk.create(&data_dir.join(RESTORING))?;
    }
    for part in ["topics", metadata::DIR].into_iter().filter(|part| names.contains(*part)) {
        disk.remove_dir_all(&data_dir.join(part))?;
    }
    if names.contains(begun::FILE) {
        disk.remove_file(&data_dir.join(begun::FILE))?;
    }
    Ok(disk.sync_dir(data_dir)?)
}

/// Copies every file except `meta`, and returns the identity in `meta`. The files are durable when this returns.
fn copy_all(
    (source, backup): (&dyn Disk, &Path),
    disk: &dyn Disk,
    data_dir: &Path,
    manifest: &BackupManifest,
    mut progress: impl FnMut(u64),
) -> Result<NodeIdentity, RestoreError> {
    let (mut dirs, mut copied) = (BTreeSet::new(), 0);
    for (name, sum) in manifest.files.iter().filter(|(name, _)| *name != metadata::META) {
        let target = data_dir.join(name);
        let dir = target.parent().unwrap_or(data_dir).to_owned();
        if dirs.insert(dir.clone()) {
            disk.create_dir_all(&dir)?;
        }
        copy((source, &backup.join(name)), disk, &target, *sum)?;
        copied += sum.bytes;
        progress(copied);
    }
    dirs.iter().try_for_each(|dir| disk.sync_dir(dir))?;
    let meta = backup.join(metadata::META);
    let mut bytes = Vec::new();
    let found = sum_of(source, &meta, |read, _| {
        let left = META_BYTES_MAX - bytes.len();
        bytes.extend_from_slice(read.get(..left).unwrap_or(read));
        Ok(())
    })?;
    match manifest.files.get(metadata::META) {
        Some(expected) if found == *expected => Ok(NodeIdentity::parse(&meta, &bytes)?),
        expected => {
            let reason =
                expected.map_or_else(|| "the manifest does not list it".to_owned(), |sum| difference(found, *sum));
            Err(RestoreError::Damaged { path: meta, reason })
        }
    }
}

fn copy((source, from): (&dyn Disk, &Path), disk: &dyn Disk, to: &Path, expected: FileSum) -> Result<(), RestoreError> {
    let file = disk.create(to)?;
    let found = sum_of(source, from, |bytes, position| file.write_all_at(bytes, position)).map_err(|error| {
        if !error.is_not_found() || error.path != from {
            return RestoreError::Disk(error);
        }
        RestoreError::Damaged { path: from.to_owned(), reason: "it is missing".into() }
    })?;
    if found != expected {
        return Err(RestoreError::Damaged { path: from.to_owned(), reason: difference(found, expected) });
    }
    Ok(disk.sync_many(&[file])?)
}
