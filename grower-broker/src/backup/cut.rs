//! A backup in the making. First all files are *held*, quickly: by a second name in the backup; where that lies on another
//! volume, by a second name beside the data; where there are no second names at all, by an open handle. Then, with nobody
//! waiting, what is not in the backup is copied, everything new gets its checksum, and the whole is published.
//!
//! A segment whose index has the same bytes as in the backup before is the same segment: the index witnesses the header
//! of every batch, and each header holds the checksum of its batch.

use super::manifest::{self, FileSum, Manifest};
use super::series::Series;
use super::{BackedUp, BackupError};
use crate::metadata::Identity;
use grower_protocol::ids::Timestamp;
use grower_storage::disk::{Disk, DiskError, SharedFile};
use grower_storage::pieces::Piece;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const CHUNK: usize = 1 << 20;
/// Where files wait to be copied, in the data directory.
const ASIDE: &str = "backup.unfinished";

/// Removes what a backup that a crash cut short left in a data directory.
pub(crate) fn clear_aside(disk: &dyn Disk, data_dir: &Path) -> Result<(), DiskError> {
    match disk.remove_dir_all(&data_dir.join(ASIDE)) {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// A backup that nobody sees yet.
pub(super) struct Cut<'a> {
    disk: &'a dyn Disk,
    series: Series<'a>,
    base: Option<(PathBuf, Manifest)>,
    held: BTreeMap<String, Held>,
    dirs: BTreeSet<PathBuf>,
    sums: BTreeMap<String, FileSum>,
    new_bytes: u64,
    copied_bytes: u64,
    /// A directory for second names on the volume of the data, and how many were given there.
    aside: Option<(PathBuf, u64)>,
}

/// A file that can no longer get lost.
enum Held {
    /// It has a second name, in the backup.
    Linked,
    /// It has a second name there, to be copied from.
    Aside(PathBuf),
    /// It is open, and so many of its bytes are wanted.
    Open(SharedFile, u64),
}

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        if let Some((dir, _)) = &self.aside
            && let Err(error) = self.disk.remove_dir_all(dir)
        {
            tracing::warn!(%error, "the next start removes what a backup left");
        }
    }
}

impl<'a> Cut<'a> {
    /// Begins the next backup in `dir`; a `full` one shares nothing with those before.
    pub(super) fn begin(disk: &'a dyn Disk, dir: &Path, full: bool) -> Result<Self, BackupError> {
        let series = Series::open(disk, dir)?;
        let base = if full { None } else { series.base()? };
        disk.create_dir_all(&series.place())?;
        let (held, dirs, sums) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Ok(Self { disk, series, base, held, dirs, sums, new_bytes: 0, copied_bytes: 0, aside: None })
    }

    /// Lets files be held in `data_dir` until they are copied: a running broker may have more of them than handles.
    pub(super) fn with_room_beside(mut self, data_dir: &Path) -> Result<Self, DiskError> {
        clear_aside(self.disk, data_dir)?;
        let dir = data_dir.join(ASIDE);
        self.disk.create_dir_all(&dir)?;
        self.aside = Some((dir, 0));
        Ok(self)
    }

    /// Makes room for the files of `dir`, a path within the data directory.
    pub(super) fn prepare(&mut self, dir: &str) -> Result<(), DiskError> {
        let place = self.series.place().join(dir);
        self.disk.create_dir_all(&place)?;
        self.dirs.insert(place);
        Ok(())
    }

    /// Holds files of a directory that was prepared. Whoever may remove or replace them must wait until this returns.
    pub(super) fn hold(&mut self, data_dir: &Path, dir: &str, pieces: &[Piece]) -> Result<(), DiskError> {
        let target = self.series.place().join(dir);
        for piece in pieces {
            let source = data_dir.join(dir).join(&piece.name);
            let path = Path::new(dir).join(&piece.name).display().to_string();
            let held = match self.second_name(&source, &target.join(&piece.name), piece)? {
                Some(held) => held,
                None => {
                    let file = self.disk.open(&source)?;
                    let bytes = file.len()?.min(piece.copy.unwrap_or(u64::MAX));
                    Held::Open(file, bytes)
                }
            };
            self.held.insert(path, held);
        }
        Ok(())
    }

    /// None if the file may be written to later, or if it can have no second name.
    fn second_name(&mut self, source: &Path, target: &Path, piece: &Piece) -> Result<Option<Held>, DiskError> {
        if piece.copy.is_some() {
            return Ok(None);
        }
        if self.link(source, target)? {
            return Ok(Some(Held::Linked));
        }
        let Some((dir, names)) = &mut self.aside else { return Ok(None) };
        let beside = dir.join(names.to_string());
        *names += 1;
        Ok(self.link(source, &beside)?.then_some(Held::Aside(beside)))
    }

    /// Says whether a second name could be had.
    fn link(&self, from: &Path, to: &Path) -> Result<bool, DiskError> {
        match self.disk.link(from, to) {
            Ok(()) => Ok(true),
            Err(error) if error.forbids_links() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Copies, checks and publishes. `go_on` is asked between pieces.
    pub(super) fn finish(
        mut self,
        identity: &Identity,
        now: Timestamp,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<BackedUp, BackupError> {
        // Indexes before logs: they tell which logs are known.
        let held = std::mem::take(&mut self.held);
        let (logs, others): (Vec<_>, Vec<_>) = held.into_iter().partition(|(path, _)| path.ends_with(".growerlog"));
        for (path, held) in others.into_iter().chain(logs) {
            let sum = match self.known(&path, &held)? {
                Some(sum) => self.reuse(&path, held, sum)?,
                None => self.settle(&path, held, go_on)?,
            };
            self.sums.insert(path, sum);
        }
        self.dirs.iter().try_for_each(|dir| self.disk.sync_dir(dir))?;
        let manifest = Manifest::new(identity, now, std::mem::take(&mut self.sums));
        self.write_manifest(&manifest)?;
        let path = self.series.publish()?;
        let (files, bytes) = (manifest.files.len() as u64, manifest.bytes());
        Ok(BackedUp { path, files, bytes, new_bytes: self.new_bytes, copied_bytes: self.copied_bytes })
    }

    /// What the base says of a log, if it has the same.
    fn known(&self, path: &str, held: &Held) -> Result<Option<FileSum>, DiskError> {
        let (Some((_, base)), Some(stem)) = (&self.base, path.strip_suffix(".growerlog")) else { return Ok(None) };
        let index = format!("{stem}.growerindex");
        let (Some(ours), Some(theirs)) = (self.sums.get(&index), base.files.get(&index)) else { return Ok(None) };
        let bytes = match held {
            Held::Linked => self.disk.open(&self.series.place().join(path))?.len()?,
            Held::Aside(beside) => self.disk.open(beside)?.len()?,
            Held::Open(_, bytes) => *bytes,
        };
        let known = base.files.get(path).filter(|sum| sum.bytes == bytes && 0 < ours.bytes && ours == theirs);
        Ok(known.copied())
    }

    /// The base's file is as good as ours, and needs no room.
    fn reuse(&mut self, path: &str, held: Held, sum: FileSum) -> Result<FileSum, BackupError> {
        if matches!(held, Held::Linked) {
            return Ok(sum);
        }
        let Some((base, _)) = &self.base else { return Ok(sum) };
        if self.link(&base.join(path), &self.series.place().join(path))? {
            return Ok(sum);
        }
        self.settle(path, held, &mut |_| true)
    }

    /// Reads a file to its end, and copies it where that is needed; durable when this returns.
    fn settle(&mut self, path: &str, held: Held, go_on: &mut dyn FnMut(u64) -> bool) -> Result<FileSum, BackupError> {
        let target = self.series.place().join(path);
        let (from, wanted, to) = match held {
            Held::Linked => {
                let file = self.disk.open(&target)?;
                let bytes = file.len()?;
                (file, bytes, None)
            }
            Held::Aside(beside) => {
                let file = self.disk.open(&beside)?;
                let bytes = file.len()?;
                (file, bytes, Some(self.disk.create(&target)?))
            }
            Held::Open(file, bytes) => (file, bytes, Some(self.disk.create(&target)?)),
        };
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
            self.copied_bytes += bytes;
        }
        Ok(FileSum { bytes, crc: crc.finalize() })
    }

    fn write_manifest(&self, manifest: &Manifest) -> Result<(), DiskError> {
        let (path, text) = (self.series.place().join(manifest::NAME), manifest.to_text());
        if manifest::BYTES_MAX < text.len() {
            return Err(DiskError::at("write", &path)(ErrorKind::FileTooLarge.into()));
        }
        let file = self.disk.create(&path)?;
        file.write_all_at(text.as_bytes(), 0)?;
        self.disk.sync_many(&[file])?;
        self.disk.sync_dir(&self.series.place())
    }
}
