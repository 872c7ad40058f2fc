//! Offline checks of the files that only the metadata has: the directory's identity and the snapshot.

use super::image::snapshot;
use super::{NodeIdentity, whole_file};
use grower_storage::disk::{Disk, DiskError};
use grower_storage::verify::{Finding, Remedy};
use std::path::Path;

/// Damage to the identity and the snapshot of a data directory. The metadata log is checked like any other log.
pub(crate) fn check_files(disk: &dyn Disk, dir: &Path) -> Result<Vec<Finding>, DiskError> {
    let mut findings = Vec::new();
    let meta = NodeIdentity::path(dir);
    match whole_file::read(disk, &meta)? {
        Some(bytes) => findings.extend(NodeIdentity::parse(&meta, &bytes).err().map(|error| finding(&meta, &error))),
        None => findings.push(finding(&meta, &"it is missing")),
    }
    let path = super::log_store::snapshot_path(dir);
    if let Some(bytes) = whole_file::read(disk, &path)? {
        findings.extend(snapshot::decode(&bytes).err().map(|error| finding(&path, &error)));
    }
    Ok(findings)
}

fn finding(path: &Path, reason: &dyn std::fmt::Display) -> Finding {
    Finding::file(path.to_owned(), Remedy::RestoreBackup, reason.to_string())
}
