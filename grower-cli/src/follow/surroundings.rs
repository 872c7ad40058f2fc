//! Surveys the files around a followed path and turns them into facts: [`Candidate`]s for the decisions.
//!
//! A followed path may be a link, or lead through one. Rotations are looked for in the folder of the file that was
//! read, under the names of that file, of the link, and of the file that the link points to now.
//!
//! Rotation may run during a survey, so the order of steps matters. First the file at the path is compared with the
//! bytes that were read, then the names are listed: if the file was truncated, its copy is listed. One survey decides
//! which rotations are older than a file and which are read before it: a later rotation is neither.

use super::fingerprint::{Content, FileIdentity, Fingerprint, KnownFile, is_contained};
use super::recognise::{
    Candidate, CandidateLocation, Recognised, RotatedAs, RotationScheme, Successors, has_unread_copy, is_fresh,
    recognise, successors, undecided,
};
use super::rotation::Rotation;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirEntryExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Limit of repeated scans while files are being renamed.
const SCANS_MAX: usize = 20;
/// Limit of older rotations that are remembered.
const KNOWN_FILES_MAX: usize = 32;

/// The facts by which the file that was read is recognised.
#[derive(Clone, Debug)]
pub(super) struct FileTrace {
    pub(super) id: FileIdentity,
    pub(super) seen: Fingerprint,
    pub(super) older: Option<Arc<[KnownFile]>>,
    pub(super) target: Option<PathBuf>,
}

impl FileTrace {
    /// Whether the file with this trace is at the path.
    pub(super) fn is_at_path(&self, around: &Surroundings) -> bool {
        around.at_path().is_some_and(|nearby| nearby.id.is_same_file(self.id))
    }

    /// The trace of no file.
    pub(super) fn none() -> Self {
        Self { id: FileIdentity::NONE, seen: Fingerprint::EMPTY, older: None, target: None }
    }
}

/// The files around a path.
pub(super) struct Surroundings {
    pub(super) candidates: Vec<Candidate>,
    /// The file of each candidate.
    pub(super) files: Vec<NearbyFile>,
    /// The folder that was searched for rotations.
    folder: Option<PathBuf>,
    /// Set if a rotation was running during the survey.
    pub(super) running_rotation: Option<RunningRotation>,
}

/// A rotation is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RunningRotation {
    /// Files were renamed during the scans.
    Renaming,
    /// These files follow a gap in the numbers.
    Gap(Vec<FileIdentity>),
}

/// A file of the survey.
pub(super) struct NearbyFile {
    pub(super) path: PathBuf,
    /// The path it was written at, links resolved: for a rotation, its former name.
    pub(super) target: Option<PathBuf>,
    pub(super) file: io::Result<File>,
    pub(super) id: FileIdentity,
    metadata: Metadata,
}

impl Surroundings {
    /// Surveys the files. `taken` are those that are being read or queued.
    pub(super) fn survey(path: &Path, trace: &FileTrace, taken: &[FileIdentity]) -> io::Result<Self> {
        let mut found = FolderScan::run(path, trace)?;
        let mut is_renaming = !found.is_current(path);
        for _ in 1..SCANS_MAX {
            if !is_renaming {
                break;
            }
            found = FolderScan::run(path, trace)?;
            is_renaming = !found.is_current(path);
        }
        let candidates = facts(&found, trace, taken);
        let undecided = if trace.older.is_some() { undecided(&candidates) } else { Vec::new() };
        let gap = || RunningRotation::Gap(undecided.iter().map(|at| found.files[*at].1.id).collect());
        let running_rotation =
            is_renaming.then_some(RunningRotation::Renaming).or_else(|| (!undecided.is_empty()).then(gap));
        let folder = found.bases.first().and_then(|base| base.parent()).map(Path::to_owned);
        let files = found.files.into_iter().map(|(_, nearby)| nearby).collect();
        Ok(Self { candidates, files, folder, running_rotation })
    }

    /// Whether the survey covers rotations of the file with this target.
    pub(super) fn covers(&self, target: Option<&Path>) -> bool {
        target.is_none_or(|target| target.parent() == self.folder.as_deref())
    }

    /// Returns the file that continues the one with the fingerprint `seen`.
    pub(super) fn recognise(&self, seen: &Fingerprint) -> Recognised {
        recognise(&self.candidates, seen.enough_bytes_compared())
    }

    /// The file at the path.
    pub(super) fn at_path(&self) -> Option<&NearbyFile> {
        self.files.first().filter(|_| self.candidates[0].location == CandidateLocation::Path)
    }

    /// Returns the rotation suffix of the file with this id.
    pub(super) fn rotated_as(&self, id: FileIdentity) -> Option<RotatedAs> {
        self.candidates.iter().zip(&self.files).filter(|(_, nearby)| nearby.id.is_same_file(id)).find_map(|(c, _)| {
            match &c.location {
                CandidateLocation::Rotated(base, rotation) => Some((*base, rotation.suffix.clone())),
                _ => None,
            }
        })
    }

    /// Whether a copy of the file at the path holds unread lines. The file holds them too, until it is truncated.
    pub(super) fn has_unread_copy(&self) -> bool {
        has_unread_copy(&self.candidates)
    }

    /// Whether any file was rotated after this file was begun.
    pub(super) fn shows_rotation(&self) -> bool {
        self.candidates.iter().any(|candidate| is_fresh(candidate, &self.candidates))
    }

    /// Returns the files to read next.
    pub(super) fn successors(&self, rotated_as: Option<&RotatedAs>, by_copying: bool) -> Successors<&NearbyFile> {
        let found = successors(&self.candidates, rotated_as, by_copying);
        let nearby = |at: Vec<usize>| at.into_iter().map(|at| &self.files[at]).collect();
        Successors { readable: nearby(found.readable), compressed: nearby(found.compressed) }
    }

    /// Returns why the file with this trace cannot be read.
    pub(super) fn read_error(&self, trace: &FileTrace) -> io::Error {
        let itself = self.files.iter().find(|nearby| nearby.id.is_same_file(trace.id) && nearby.file.is_err());
        let why = itself.or(self.at_path()).and_then(|nearby| nearby.readable().err());
        why.unwrap_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Returns the rotations that are not newer than this file. A rotation outside `read`, the files being read or
    /// queued, counts as newer if it may be an unfinished copy of the file at the path.
    pub(super) fn older_than(&self, id: FileIdentity, read: &[FileIdentity]) -> Arc<[KnownFile]> {
        let is_read = |nearby: &NearbyFile| read.iter().any(|read| read.is_same_file(nearby.id));
        let is_old = |c: &Candidate, nearby: &NearbyFile| c.is_known || !c.is_beginning_of_path || is_read(nearby);
        let rotated_as = self.rotated_as(id);
        let mut older: Vec<_> = self
            .candidates
            .iter()
            .zip(&self.files)
            .filter_map(|(candidate, nearby)| match &candidate.location {
                CandidateLocation::Rotated(base, rotation)
                    if !nearby.id.is_same_file(id) && is_old(candidate, nearby) =>
                {
                    Some((*base, &rotation.suffix, nearby))
                }
                _ => None,
            })
            .filter(|(base, suffix, _)| {
                rotated_as.as_ref().is_none_or(|(own_base, own)| base != own_base || !suffix.is_newer_than(own))
            })
            .collect();
        older.sort_by(|a, b| b.1.reading_order(a.1));
        let known = |nearby: &NearbyFile| KnownFile::take(nearby.file.as_ref().ok(), &nearby.metadata);
        older.into_iter().take(KNOWN_FILES_MAX).map(|(_, _, nearby)| known(nearby)).collect()
    }
}

/// The result of one scan.
struct FolderScan {
    files: Vec<(CandidateLocation, NearbyFile)>,
    /// Comparison of the file at the path with the bytes read, made before the names were listed.
    at_path: Option<Content>,
    bases: Vec<PathBuf>,
    /// The listed names.
    names: BTreeSet<PathBuf>,
    inode_of: FileIdentity,
    /// Whether a listed file was gone when it was opened.
    is_outdated: bool,
}

impl FolderScan {
    fn run(path: &Path, trace: &FileTrace) -> io::Result<Self> {
        let target = fs::canonicalize(path).ok();
        let bases = bases(path, trace.target.as_deref(), target.as_deref());
        let mut files: Vec<(CandidateLocation, NearbyFile)> = Vec::new();
        match NearbyFile::open(path.to_owned(), target.clone()) {
            Ok(nearby) => files.push((CandidateLocation::Path, nearby)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let id_at_path = files.first().map(|(_, nearby)| nearby.id);
        let is_at_path = |nearby: &NearbyFile| id_at_path.is_some_and(|id| id.is_same_file(nearby.id));
        let at_path = files.first().and_then(|(_, nearby)| trace.seen.compare(nearby.file.as_ref().ok()?).ok());
        let former = trace.target.clone().filter(|former| Some(former) != target.as_ref());
        let former = former
            .and_then(|former| NearbyFile::open(former.clone(), Some(former)).ok())
            .filter(|nearby| !is_at_path(nearby));
        files.extend(former.map(|nearby| (CandidateLocation::FormerTarget, nearby)));
        let mut is_outdated = false;
        let listed = rotations(&bases, trace.id);
        let names = names_of(&listed);
        for (location, other) in listed {
            let target = match &location {
                CandidateLocation::Rotated(scheme, _) => bases[scheme.base].clone(),
                _ => other.clone(),
            };
            match NearbyFile::open(other.clone(), Some(target)) {
                Ok(nearby) if !is_at_path(&nearby) => files.push((location, nearby)),
                Ok(_) => {}
                Err(_) => is_outdated |= fs::symlink_metadata(&other).is_err(), // Else it is a link to nothing.
            }
        }
        Ok(Self { files, at_path, bases, names, inode_of: trace.id, is_outdated })
    }

    /// Whether each name still refers to the same file: rotation renames files one by one.
    fn is_current(&self, path: &Path) -> bool {
        let now = |path: &Path| fs::metadata(path).ok().map(|metadata| FileIdentity::of(&metadata));
        let is_named_so = |nearby: &NearbyFile| now(&nearby.path).is_some_and(|now| now.is_same_file(nearby.id));
        let is_path_there = self.files.first().is_some_and(|(location, _)| *location == CandidateLocation::Path);
        !self.is_outdated
            && (is_path_there || now(path).is_none())
            && self.files.iter().all(|(_, nearby)| is_named_so(nearby))
            && names_of(&rotations(&self.bases, self.inode_of)) == self.names
    }
}

impl NearbyFile {
    /// Opens a regular file; an unreadable one is kept with its error.
    pub(super) fn open(path: PathBuf, target: Option<PathBuf>) -> io::Result<Self> {
        let metadata = fs::metadata(&path)?;
        if metadata.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        if !metadata.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        // Non-blocking, because a pipe may have replaced it.
        let file =
            OpenOptions::new().read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed()).open(&path);
        let metadata = file.as_ref().ok().and_then(|file| file.metadata().ok()).unwrap_or(metadata);
        Ok(Self { id: FileIdentity::of(&metadata), path, target, file, metadata })
    }

    /// Returns a handle to read from, or why it cannot be read.
    pub(super) fn readable(&self) -> io::Result<File> {
        match &self.file {
            Ok(file) => file.try_clone(),
            Err(error) => Err(error.raw_os_error().map_or(error.kind().into(), io::Error::from_raw_os_error)),
        }
    }
}

/// Returns the names whose rotations count, in the folder of the file that was read. If a link now leads to another
/// folder, rotations there may be old.
fn bases(path: &Path, former: Option<&Path>, target: Option<&Path>) -> Vec<PathBuf> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let link = fs::canonicalize(folder).ok().zip(path.file_name()).map(|(folder, name)| folder.join(name));
    let mut bases: Vec<PathBuf> = Vec::new();
    for base in [former.map(Path::to_owned), target.map(Path::to_owned), link].into_iter().flatten() {
        let is_near = former.is_none_or(|former| former.parent() == base.parent());
        if is_near && !bases.contains(&base) {
            bases.push(base);
        }
    }
    bases
}

/// Lists the files next to the bases that are rotations by name, or have the inode of `id`.
fn rotations(bases: &[PathBuf], id: FileIdentity) -> Vec<(CandidateLocation, PathBuf)> {
    let folders: BTreeSet<&Path> = bases.iter().filter_map(|base| base.parent()).collect();
    let mut found = Vec::new();
    for folder in folders {
        // Ignored: a folder that cannot be listed may hold a readable file.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let here = bases.iter().enumerate().filter(|(_, base)| base.parent() == Some(folder));
            let rotation = here.filter_map(|(at, base)| rotation_of(at, base.file_name()?, &name)).next();
            match rotation {
                Some(location) => found.push((location, entry.path())),
                None if id.has_inode(entry.ino()) => found.push((CandidateLocation::Elsewhere, entry.path())),
                None => {}
            }
        }
    }
    found
}

fn names_of(rotations: &[(CandidateLocation, PathBuf)]) -> BTreeSet<PathBuf> {
    rotations.iter().map(|(_, path)| path.clone()).collect()
}

/// Lists the rotations of a file that was at `target` when it was begun, with their lengths.
pub(super) fn rotation_files(path: &Path, target: &Path) -> Vec<(PathBuf, FileIdentity, u64)> {
    let bases = bases(path, Some(target), fs::canonicalize(path).ok().as_deref());
    let names = names_of(&rotations(&bases, FileIdentity::NONE));
    let described = |path: PathBuf| {
        let metadata = fs::metadata(&path).ok();
        (
            path,
            metadata.as_ref().map_or(FileIdentity::NONE, FileIdentity::of),
            metadata.map_or(0, |metadata| metadata.len()),
        )
    };
    names.into_iter().map(described).collect()
}

fn rotation_of(base: usize, base_name: &OsStr, name: &OsStr) -> Option<CandidateLocation> {
    let location = |is_before_extension| {
        move |rotation| CandidateLocation::Rotated(RotationScheme { base, is_before_extension }, rotation)
    };
    let after_it = Rotation::of(base_name, name).map(location(false));
    after_it.or_else(|| Rotation::before_extension(base_name, name).map(location(true)))
}

fn facts(found: &FolderScan, trace: &FileTrace, taken: &[FileIdentity]) -> Vec<Candidate> {
    let older = trace.older.as_deref().unwrap_or_default();
    // After a move to another file system every file is a copy.
    let is_here = |nearby: &NearbyFile| {
        nearby.id.is_same_file(trace.id) || older.iter().any(|known| known.has_inode_of(&nearby.metadata))
    };
    let have_moved = !found.files.iter().any(|(_, nearby)| is_here(nearby));
    let path = found
        .files
        .iter()
        .find(|(location, _)| *location == CandidateLocation::Path)
        .and_then(|(_, nearby)| nearby.file.as_ref().ok());
    let path_as_read = path.filter(|_| matches!(found.at_path, Some(Content::Same | Content::Unknown)));
    let fact = |(location, nearby): &(CandidateLocation, NearbyFile)| {
        let is_compressed = matches!(location, CandidateLocation::Rotated(_, rotation) if rotation.compressed);
        let is_rotated = matches!(location, CandidateLocation::Rotated(..));
        let file = nearby.file.as_ref().ok().filter(|_| !is_compressed);
        let content = match location {
            _ if is_compressed => Some(Content::Other),
            CandidateLocation::Path => found.at_path,
            _ => file.and_then(|file| trace.seen.compare(file).ok()),
        };
        let has_it = matches!(content, Some(Content::Same | Content::Unknown));
        let is_in = |path: Option<&File>, offset: u64| {
            file.zip(path).is_some_and(|(file, path)| is_contained(file, path, offset).unwrap_or(false))
        };
        let is_copied = |known: &KnownFile| file.is_some_and(|file| known.is_copied_to(file, &nearby.metadata));
        let is_one = |known: &KnownFile| known.is(file, &nearby.metadata) || (have_moved && is_copied(known));
        Candidate {
            location: location.clone(),
            is_same_file: nearby.id.is_same_file(trace.id),
            content,
            is_known: older.iter().any(is_one),
            is_ahead_of_path: !(has_it && is_in(path_as_read, trace.seen.offset())),
            is_beginning_of_path: is_rotated && is_in(path, 0),
            is_longer: file.and_then(|file| file.metadata().ok()).is_some_and(|now| trace.seen.offset() < now.len()),
            is_taken: taken.iter().any(|taken| taken.is_same_file(nearby.id)),
        }
    };
    found.files.iter().map(fact).collect()
}
