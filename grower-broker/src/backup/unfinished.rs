//! An unfinished backup in its directory: held files are linked or copied, new ones get a checksum, and the whole is
//! published. A running broker never waits for anything here.
//!
//! A segment with the same index bytes as in the backup before is the same segment: the index has a checksum of every
//! batch header, and each header has the checksum of its batch.

use super::manifest::{self, BackupManifest, FileSum};
use super::series::BackupSeries;
use super::snapshot::{BackupSnapshot, HeldFile, link};
use super::stopped::check_apart;
use super::{BackedUp, BackupError};
use crate::metadata::NodeIdentity;
use crate::placement::MANIFEST;
use grower_protocol::ids::Timestamp;
use grower_storage::disk::{Disk, DiskError, SharedFile};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CHUNK: usize = 1 << 20;

/// Called from time to time with the bytes read so far. Returns false to stop the backup.
pub(crate) type KeepGoing<'a> = &'a mut dyn FnMut(u64) -> bool;

/// A backup that is not published yet.
pub(crate) struct UnfinishedBackup {
    disk: Arc<dyn Disk>,
    series: BackupSeries,
    base: Option<(PathBuf, BackupManifest)>,
    sums: BTreeMap<String, FileSum>,
    new_bytes: u64,
    copied_bytes: u64,
}

impl UnfinishedBackup {
    /// Begins the next backup of `data_dir` in `dir`; a `full` one shares no files with earlier ones.
    pub(crate) fn begin(disk: &Arc<dyn Disk>, data_dir: &Path, dir: &Path, full: bool) -> Result<Self, BackupError> {
        check_apart(data_dir, dir)?;
        let series = BackupSeries::open(disk.clone(), dir)?;
        let base = if full { None } else { series.base()? };
        disk.create_dir_all(&series.unfinished_dir())?;
        Ok(Self { disk: disk.clone(), series, base, sums: BTreeMap::new(), new_bytes: 0, copied_bytes: 0 })
    }

    /// Copies the files and publishes the backup. `keep_going` is asked between chunks.
    pub(crate) fn finish(
        mut self,
        mut snapshot: BackupSnapshot,
        identity: &NodeIdentity,
        now: Timestamp,
        keep_going: KeepGoing<'_>,
    ) -> Result<BackedUp, BackupError> {
        let dirs: Vec<PathBuf> = snapshot.dirs.iter().map(|dir| self.series.unfinished_dir().join(dir)).collect();
        dirs.iter().try_for_each(|dir| self.disk.create_dir_all(dir))?;
        // Indexes before logs: they show which logs are known.
        let files = std::mem::take(&mut snapshot.files);
        let (logs, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|(path, _)| path.ends_with(".growerlog"));
        for (path, held) in others.into_iter().chain(logs) {
            if !keep_going(self.new_bytes) {
                return Err(BackupError::Stopped);
            }
            let sum = self.add(&path, &held, &snapshot, keep_going)?;
            self.sums.insert(path, sum);
        }
        dirs.iter().try_for_each(|dir| self.disk.sync_dir(dir))?;
        let manifest = BackupManifest::new(identity, now, std::mem::take(&mut self.sums));
        self.write_manifest(&manifest)?;
        let path = self.series.publish()?;
        let (files, bytes) = (manifest.files.len() as u64, manifest.bytes());
        Ok(BackedUp { path, files, bytes, new_bytes: self.new_bytes, copied_bytes: self.copied_bytes })
    }

    /// Adds a file to the backup; durable when this returns.
    fn add(
        &mut self,
        path: &str,
        held: &HeldFile,
        snapshot: &BackupSnapshot,
        keep_going: KeepGoing<'_>,
    ) -> Result<FileSum, BackupError> {
        let (file, bytes) = snapshot.open(held)?;
        let (target, known) = (self.series.unfinished_dir().join(path), self.known(path, bytes));
        let is_linked = match held {
            HeldFile::Whole(name) => link(&*self.disk, name, &target)?,
            _ => false,
        };
        match known {
            Some((_, sum)) if is_linked => Ok(sum),
            // The earlier backup has the same file, so a link is enough.
            Some((base, sum)) if link(&*self.disk, &base.join(path), &target)? => Ok(sum),
            _ if is_linked => self.copy(&file, bytes, None, keep_going),
            _ => {
                let sum = self.copy(&file, bytes, Some(self.disk.create(&target)?), keep_going)?;
                self.copied_bytes += sum.bytes;
                Ok(sum)
            }
        }
    }

    /// The entry of a log in the backup before, if it has the same log.
    fn known(&self, path: &str, bytes: u64) -> Option<(PathBuf, FileSum)> {
        let (dir, base) = self.base.as_ref()?;
        let index = format!("{}.growerindex", path.strip_suffix(".growerlog")?);
        let (ours, theirs) = (self.sums.get(&index)?, base.files.get(&index)?);
        let known = base.files.get(path).filter(|sum| sum.bytes == bytes && 0 < ours.bytes && ours == theirs);
        Some((dir.clone(), *known?))
    }

    /// Reads up to `wanted` bytes of a file, and writes them durably to `to`.
    fn copy(
        &mut self,
        from: &SharedFile,
        wanted: u64,
        to: Option<SharedFile>,
        keep_going: KeepGoing<'_>,
    ) -> Result<FileSum, BackupError> {
        let (mut crc, mut bytes, mut buffer) = (crc32fast::Hasher::new(), 0, vec![0; CHUNK]);
        while bytes < wanted {
            if !keep_going(self.new_bytes) {
                return Err(BackupError::Stopped);
            }
            let most = usize::try_from(wanted - bytes).unwrap_or(CHUNK).min(CHUNK);
            let read = from.read_at(&mut buffer[..most], bytes)?;
            if read == 0 {
                break;
            }
            crc.update(&buffer[..read]);
            to.as_ref().map_or(Ok(()), |to| to.write_all_at(&buffer[..read], bytes))?;
            bytes += read as u64;
            self.new_bytes += read as u64;
        }
        if let Some(to) = to {
            self.disk.sync_many(&[to])?;
        }
        Ok(FileSum { bytes, crc: crc.finalize() })
    }

    fn write_manifest(&self, manifest: &BackupManifest) -> Result<(), DiskError> {
        let (path, text) = (self.series.unfinished_dir().join(MANIFEST), manifest.to_text());
        if manifest::BYTES_MAX < text.len() {
            return Err(DiskError::at("write", &path)(ErrorKind::FileTooLarge.into()));
        }
        let file = self.disk.create(&path)?;
        file.write_all_at(text.as_bytes(), 0)?;
        self.disk.sync_many(&[file])?;
        self.disk.sync_dir(&self.series.unfinished_dir())
    }
}
