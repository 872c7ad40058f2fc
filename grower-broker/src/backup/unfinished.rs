//! A backup in the making, where it will lie. Files that were held get a name there or are copied, everything new gets its
//! checksum, and the whole is published. A running broker never waits for anything here.
//!
//! A segment whose index has the same bytes as in the backup before is the same segment: the index witnesses the header
//! of every batch, and each header holds the checksum of its batch.

use super::cut::{Cut, Held, link};
use super::manifest::{self, FileSum, Manifest};
use super::series::Series;
use super::stopped::check_apart;
use super::{BackedUp, BackupError};
use crate::metadata::Identity;
use crate::placement::MANIFEST;
use grower_protocol::ids::Timestamp;
use grower_storage::disk::{Disk, DiskError, SharedFile};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CHUNK: usize = 1 << 20;

/// Asked from time to time, with the bytes read so far: whether to go on.
pub(crate) type GoOn<'a> = &'a mut dyn FnMut(u64) -> bool;

/// A backup that is not yet published.
pub(crate) struct UnfinishedBackup {
    disk: Arc<dyn Disk>,
    series: Series,
    base: Option<(PathBuf, Manifest)>,
    sums: BTreeMap<String, FileSum>,
    new_bytes: u64,
    copied_bytes: u64,
}

impl UnfinishedBackup {
    /// Begins the next backup of `data_dir` in `dir`; a `full` one shares nothing with those before.
    pub(crate) fn begin(disk: &Arc<dyn Disk>, data_dir: &Path, dir: &Path, full: bool) -> Result<Self, BackupError> {
        check_apart(data_dir, dir)?;
        let series = Series::open(disk.clone(), dir)?;
        let base = if full { None } else { series.base()? };
        disk.create_dir_all(&series.place())?;
        Ok(Self { disk: disk.clone(), series, base, sums: BTreeMap::new(), new_bytes: 0, copied_bytes: 0 })
    }

    /// Copies, checks and publishes. `go_on` is asked between pieces.
    pub(crate) fn finish(
        mut self,
        mut cut: Cut,
        identity: &Identity,
        now: Timestamp,
        go_on: GoOn<'_>,
    ) -> Result<BackedUp, BackupError> {
        let dirs: Vec<PathBuf> = cut.dirs.iter().map(|dir| self.series.place().join(dir)).collect();
        dirs.iter().try_for_each(|dir| self.disk.create_dir_all(dir))?;
        // Indexes before logs: they tell which logs are known.
        let files = std::mem::take(&mut cut.files);
        let (logs, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|(path, _)| path.ends_with(".growerlog"));
        for (path, held) in others.into_iter().chain(logs) {
            if !go_on(self.new_bytes) {
                return Err(BackupError::Stopped);
            }
            let sum = self.take_in(&path, &held, &cut, go_on)?;
            self.sums.insert(path, sum);
        }
        dirs.iter().try_for_each(|dir| self.disk.sync_dir(dir))?;
        let manifest = Manifest::new(identity, now, std::mem::take(&mut self.sums));
        self.write_manifest(&manifest)?;
        let path = self.series.publish()?;
        let (files, bytes) = (manifest.files.len() as u64, manifest.bytes());
        Ok(BackedUp { path, files, bytes, new_bytes: self.new_bytes, copied_bytes: self.copied_bytes })
    }

    /// Puts a file into the backup, durable when this returns.
    fn take_in(&mut self, path: &str, held: &Held, cut: &Cut, go_on: GoOn<'_>) -> Result<FileSum, BackupError> {
        let (file, bytes) = cut.open(held)?;
        let (target, known) = (self.series.place().join(path), self.known(path, bytes));
        let is_linked = match held {
            Held::Whole(name) => link(&*self.disk, name, &target)?,
            _ => false,
        };
        match known {
            Some((_, sum)) if is_linked => Ok(sum),
            // The earlier backup's file is as good as ours, and needs no room.
            Some((base, sum)) if link(&*self.disk, &base.join(path), &target)? => Ok(sum),
            _ if is_linked => self.copy(&file, bytes, None, go_on),
            _ => {
                let sum = self.copy(&file, bytes, Some(self.disk.create(&target)?), go_on)?;
                self.copied_bytes += sum.bytes;
                Ok(sum)
            }
        }
    }

    /// What the backup before says of a log, if it has the same.
    fn known(&self, path: &str, bytes: u64) -> Option<(PathBuf, FileSum)> {
        let (place, base) = self.base.as_ref()?;
        let index = format!("{}.growerindex", path.strip_suffix(".growerlog")?);
        let (ours, theirs) = (self.sums.get(&index)?, base.files.get(&index)?);
        let known = base.files.get(path).filter(|sum| sum.bytes == bytes && 0 < ours.bytes && ours == theirs);
        Some((place.clone(), *known?))
    }

    /// Reads a file to its end, and writes what it reads, durably.
    fn copy(
        &mut self,
        from: &SharedFile,
        wanted: u64,
        to: Option<SharedFile>,
        go_on: GoOn<'_>,
    ) -> Result<FileSum, BackupError> {
        let (mut crc, mut bytes, mut buffer) = (crc32fast::Hasher::new(), 0, vec![0; CHUNK]);
        while bytes < wanted {
            if !go_on(self.new_bytes) {
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

    fn write_manifest(&self, manifest: &Manifest) -> Result<(), DiskError> {
        let (path, text) = (self.series.place().join(MANIFEST), manifest.to_text());
        if manifest::BYTES_MAX < text.len() {
            return Err(DiskError::at("write", &path)(ErrorKind::FileTooLarge.into()));
        }
        let file = self.disk.create(&path)?;
        file.write_all_at(text.as_bytes(), 0)?;
        self.disk.sync_many(&[file])?;
        self.disk.sync_dir(&self.series.place())
    }
}
