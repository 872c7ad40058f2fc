//! Compares the files of a backup with its manifest.

use super::manifest::{BackupManifest, FileSum};
use grower_storage::disk::{Disk, DiskError};
use grower_storage::verify::{Finding, Remedy};
use std::path::Path;

const CHUNK: usize = 1 << 20;

/// Findings for all files that differ from the manifest.
pub(crate) fn compare_all(
    disk: &dyn Disk,
    path: &Path,
    manifest: &BackupManifest,
    mut progress: impl FnMut(u64),
) -> Result<Vec<Finding>, DiskError> {
    let (mut findings, mut read) = (Vec::new(), 0);
    for (name, sum) in &manifest.files {
        let file = path.join(name);
        let reason = compare(disk, &file, *sum)?;
        findings.extend(reason.map(|reason| Finding::file(file, Remedy::RestoreBackup, reason)));
        read += sum.bytes;
        progress(read);
    }
    Ok(findings)
}

/// The difference of a file from the manifest, if there is one.
fn compare(disk: &dyn Disk, path: &Path, expected: FileSum) -> Result<Option<String>, DiskError> {
    let found = match sum_of(disk, path, |_, _| Ok(())) {
        Ok(found) => found,
        Err(error) if error.is_not_found() => return Ok(Some("it is missing".into())),
        Err(error) => return Err(error),
    };
    Ok((found != expected).then(|| difference(found, expected)))
}

/// A difference in words.
pub(super) fn difference(found: FileSum, expected: FileSum) -> String {
    if found.bytes != expected.bytes {
        return format!("it has {} bytes, the backup was made with {}", found.bytes, expected.bytes);
    }
    format!("its crc32 is {:08x}, the backup was made with {:08x}", found.crc, expected.crc)
}

/// Reads a whole file; `each` gets its bytes and their position.
pub(super) fn sum_of(
    disk: &dyn Disk,
    path: &Path,
    mut each: impl FnMut(&[u8], u64) -> Result<(), DiskError>,
) -> Result<FileSum, DiskError> {
    let file = disk.open(path)?;
    let (mut crc, mut bytes, mut buffer) = (crc32fast::Hasher::new(), 0, vec![0; CHUNK]);
    loop {
        let read = file.read_at(&mut buffer, bytes)?;
        if read == 0 {
            return Ok(FileSum { bytes, crc: crc.finalize() });
        }
        crc.update(&buffer[..read]);
        each(&buffer[..read], bytes)?;
        bytes += read as u64;
    }
}
