//! Checks a backup: every file against the manifest, and what they hold as `log verify` would.

use super::manifest::{FileSum, Manifest, ManifestError};
use super::series;
use crate::offline::{self, Finding, VerifyError};
use grower_storage::disk::{Disk, DiskError};
use std::path::{Path, PathBuf};

const CHUNK: usize = 1 << 20;

/// What a check of a backup came to.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The backup.
    pub path: PathBuf,
    /// What it should hold.
    pub manifest: Result<Manifest, ManifestError>,
    /// All that is wrong with its files; nothing if it can be restored as it was made.
    pub findings: Vec<Finding>,
}

/// Checks the backup at `path`, or the latest of the directory of backups there; none if there is none. `progress` is
/// told how many bytes were read.
pub(crate) fn check(
    disk: &dyn Disk,
    path: &Path,
    mut progress: impl FnMut(u64),
) -> Result<Option<Checked>, VerifyError> {
    let Some(found) = series::find(disk, path)? else { return Ok(None) };
    let Ok(manifest) = &found.manifest else {
        return Ok(Some(Checked { path: found.path, manifest: found.manifest, findings: Vec::new() }));
    };
    let mut findings = compare_all(disk, &found.path, manifest, &mut progress)?;
    if findings.is_empty() {
        // The files are as they were made; whether they were sound then is another matter.
        let before = manifest.bytes();
        findings = offline::verify(&found.path, |bytes| progress(before + bytes))?.findings;
    }
    Ok(Some(Checked { path: found.path, manifest: found.manifest, findings }))
}

/// Every file that is not as the manifest says.
pub(super) fn compare_all(
    disk: &dyn Disk,
    path: &Path,
    manifest: &Manifest,
    mut progress: impl FnMut(u64),
) -> Result<Vec<Finding>, DiskError> {
    let (mut findings, mut read) = (Vec::new(), 0);
    for (name, sum) in &manifest.files {
        let file = path.join(name);
        let what = compare(disk, &file, *sum)?;
        findings.extend(what.map(|what| Finding { path: file, bytes: None, offsets: None, what }));
        read += sum.bytes;
        progress(read);
    }
    Ok(findings)
}

/// What is wrong with a file, if anything is.
fn compare(disk: &dyn Disk, path: &Path, expected: FileSum) -> Result<Option<String>, DiskError> {
    let found = match sum_of(disk, path, |_, _| Ok(())) {
        Ok(found) => found,
        Err(error) if error.is_not_found() => return Ok(Some("it is not there".into())),
        Err(error) => return Err(error),
    };
    Ok((found != expected).then(|| difference(found, expected)))
}

/// In words.
pub(super) fn difference(found: FileSum, expected: FileSum) -> String {
    if found.bytes != expected.bytes {
        return format!("it has {} bytes, the backup was made with {}", found.bytes, expected.bytes);
    }
    format!("its crc32 is {:08x}, the backup was made with {:08x}", found.crc, expected.crc)
}

/// Reads a whole file; `each` gets its bytes and where they lie.
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
