//! Looks at the files around a followed path and turns them into facts: [`Candidate`]s for the decisions.
//!
//! A followed path may be a link, or lead through one. Rotations are looked for in the folder of the file that was read,
//! under the names of that file, of the link, and of the file that the link points to now.

use super::fingerprint::{Content, FileId, Fingerprint, KnownFile, diverge};
use super::recognise::{Candidate, RotatedAs, Scheme, Spot, is_fresh, successors};
use super::rotation::Rotation;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirEntryExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How often the surroundings are looked at, at most, until nothing is renamed meanwhile.
const LOOKS_MAX: usize = 20;
/// How many rotations are remembered as older.
const KNOWN_FILES_MAX: usize = 32;

/// What is known of the file that was read.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    pub(super) id: FileId,
    pub(super) seen: Fingerprint,
    pub(super) older: Option<Arc<[KnownFile]>>,
    pub(super) target: Option<PathBuf>,
}

impl Trace {
    /// The trace of no file.
    pub(super) fn none() -> Self {
        Self { id: FileId::NONE, seen: Fingerprint::EMPTY, older: None, target: None }
    }
}

/// The files around a path.
pub(super) struct Surroundings {
    pub(super) candidates: Vec<Candidate>,
    /// The file of each candidate.
    pub(super) files: Vec<Nearby>,
}

/// A file that was looked at.
pub(super) struct Nearby {
    pub(super) path: PathBuf,
    pub(super) file: io::Result<File>,
    pub(super) id: FileId,
    metadata: Metadata,
}

impl Surroundings {
    /// Looks around. `taken` are the files that are read already, or about to be.
    pub(super) fn survey(path: &Path, trace: &Trace, taken: &[FileId]) -> io::Result<Self> {
        let mut found = Found::look(path, trace)?;
        for _ in 1..LOOKS_MAX {
            if found.is_still_so(path) {
                break;
            }
            found = Found::look(path, trace)?;
        }
        let candidates = facts(&found.files, trace, taken);
        Ok(Self { candidates, files: found.files.into_iter().map(|(_, nearby)| nearby).collect() })
    }

    /// The file at the path.
    pub(super) fn at_path(&self) -> Option<&Nearby> {
        self.files.first().filter(|_| self.candidates[0].spot == Spot::Path)
    }

    /// As which rotation the file with this id is found.
    pub(super) fn rotated_as(&self, id: FileId) -> Option<RotatedAs> {
        self.candidates.iter().zip(&self.files).filter(|(_, nearby)| nearby.id.is_same_file(id)).find_map(|(c, _)| {
            match &c.spot {
                Spot::Rotated(base, rotation) => Some((*base, rotation.suffix.clone())),
                _ => None,
            }
        })
    }

    /// Whether anything was rotated since the file was begun, under whatever name.
    pub(super) fn shows_rotation(&self) -> bool {
        self.candidates.iter().any(|candidate| is_fresh(candidate, &self.candidates))
    }

    /// The files to read next, and those that cannot be read because they are compressed.
    pub(super) fn successors(&self, rotated_as: Option<&RotatedAs>) -> (Vec<&Nearby>, Vec<&Nearby>) {
        let (read, compressed) = successors(&self.candidates, rotated_as);
        let nearby = |at: Vec<usize>| at.into_iter().map(|at| &self.files[at]).collect();
        (nearby(read), nearby(compressed))
    }

    /// Why the file with this trace cannot be read.
    pub(super) fn trouble(&self, trace: &Trace) -> io::Error {
        let itself = self.files.iter().find(|nearby| nearby.id.is_same_file(trace.id) && nearby.file.is_err());
        let why = itself.or(self.at_path()).and_then(|nearby| nearby.readable().err());
        why.unwrap_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The rotations that are not newer than this file.
    pub(super) fn older_than(&self, id: FileId) -> Arc<[KnownFile]> {
        let rotated_as = self.rotated_as(id);
        let mut older: Vec<_> = self
            .candidates
            .iter()
            .zip(&self.files)
            .filter_map(|(candidate, nearby)| match &candidate.spot {
                Spot::Rotated(base, rotation) if !nearby.id.is_same_file(id) => Some((*base, &rotation.suffix, nearby)),
                _ => None,
            })
            .filter(|(base, suffix, _)| {
                rotated_as.as_ref().is_none_or(|(own_base, own)| base != own_base || !suffix.is_newer_than(own))
            })
            .collect();
        older.sort_by(|a, b| b.1.reading_order(a.1));
        let known = |nearby: &Nearby| KnownFile::take(nearby.file.as_ref().ok(), &nearby.metadata);
        older.into_iter().take(KNOWN_FILES_MAX).map(|(_, _, nearby)| known(nearby)).collect()
    }
}

/// What was found in one look.
struct Found {
    files: Vec<(Spot, Nearby)>,
    /// Whether a name had no file any more when it was opened.
    is_outdated: bool,
}

impl Found {
    fn look(path: &Path, trace: &Trace) -> io::Result<Self> {
        let target = fs::canonicalize(path).ok();
        let bases = bases(path, trace.target.as_deref(), target.as_deref());
        let mut files: Vec<(Spot, Nearby)> = Vec::new();
        match Nearby::open(path.to_owned()) {
            Ok(nearby) => files.push((Spot::Path, nearby)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let at_path = files.first().map(|(_, nearby)| nearby.id);
        let is_at_path = |nearby: &Nearby| at_path.is_some_and(|id| id.is_same_file(nearby.id));
        let former = trace.target.clone().filter(|former| Some(former) != target.as_ref());
        let former = former.and_then(|former| Nearby::open(former).ok()).filter(|nearby| !is_at_path(nearby));
        files.extend(former.map(|nearby| (Spot::FormerTarget, nearby)));
        let mut is_outdated = false;
        for (spot, other) in rotations(&bases, trace.id) {
            match Nearby::open(other.clone()) {
                Ok(nearby) if !is_at_path(&nearby) => files.push((spot, nearby)),
                Ok(_) => {}
                Err(_) => is_outdated |= fs::symlink_metadata(&other).is_err(), // Else it is a link to nothing.
            }
        }
        Ok(Self { files, is_outdated })
    }

    /// Whether each name has the same file still: rotation gives names to other files, one after the other.
    fn is_still_so(&self, path: &Path) -> bool {
        let now = |path: &Path| fs::metadata(path).ok().map(|metadata| FileId::of(&metadata));
        let is_named_so = |nearby: &Nearby| now(&nearby.path).is_some_and(|now| now.is_same_file(nearby.id));
        let is_path_there = self.files.first().is_some_and(|(spot, _)| *spot == Spot::Path);
        !self.is_outdated
            && (is_path_there || now(path).is_none())
            && self.files.iter().all(|(_, nearby)| is_named_so(nearby))
    }
}

impl Nearby {
    /// Opens a regular file. One that may not be read is nearby all the same.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let metadata = fs::metadata(&path)?;
        if metadata.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        if !metadata.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        // Non-blocking, because a pipe may have taken its place.
        let file =
            OpenOptions::new().read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed()).open(&path);
        let metadata = file.as_ref().ok().and_then(|file| file.metadata().ok()).unwrap_or(metadata);
        Ok(Self { id: FileId::of(&metadata), path, file, metadata })
    }

    /// Its content, or why it cannot be read.
    pub(super) fn readable(&self) -> io::Result<File> {
        match &self.file {
            Ok(file) => file.try_clone(),
            Err(error) => Err(error.raw_os_error().map_or(error.kind().into(), io::Error::from_raw_os_error)),
        }
    }
}

/// The names whose rotations count, in the folder of the file that was read. Another folder, to which a link points since,
/// may hold rotations from long ago.
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

/// The files beside the bases that are rotations by their names, or have the inode of `id`.
fn rotations(bases: &[PathBuf], id: FileId) -> Vec<(Spot, PathBuf)> {
    let folders: BTreeSet<&Path> = bases.iter().filter_map(|base| base.parent()).collect();
    let mut found = Vec::new();
    for folder in folders {
        // A folder that cannot be listed may hold a file that can be read.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let here = bases.iter().enumerate().filter(|(_, base)| base.parent() == Some(folder));
            let rotation = here.filter_map(|(at, base)| rotation_of(at, base.file_name()?, &name)).next();
            match rotation {
                Some(spot) => found.push((spot, entry.path())),
                None if id.has_inode(entry.ino()) => found.push((Spot::Elsewhere, entry.path())),
                None => {}
            }
        }
    }
    found
}

fn rotation_of(base: usize, base_name: &OsStr, name: &OsStr) -> Option<Spot> {
    let spot = |is_before_extension| move |rotation| Spot::Rotated(Scheme { base, is_before_extension }, rotation);
    let after_it = Rotation::of(base_name, name).map(spot(false));
    after_it.or_else(|| Rotation::before_extension(base_name, name).map(spot(true)))
}

fn facts(found: &[(Spot, Nearby)], trace: &Trace, taken: &[FileId]) -> Vec<Candidate> {
    let older = trace.older.as_deref().unwrap_or_default();
    // On another file system every file is a copy.
    let is_here =
        |nearby: &Nearby| nearby.id.is_same_file(trace.id) || older.iter().any(|known| known.is(&nearby.metadata));
    let have_moved = !found.iter().any(|(_, nearby)| is_here(nearby));
    let at_path = found.iter().find(|(spot, _)| *spot == Spot::Path).and_then(|(_, nearby)| nearby.file.as_ref().ok());
    let at_path = at_path.filter(|file| matches!(trace.seen.compare(file), Ok(Content::Same | Content::Unknown)));
    let fact = |(spot, nearby): &(Spot, Nearby)| {
        let is_compressed = matches!(spot, Spot::Rotated(_, rotation) if rotation.compressed);
        let file = nearby.file.as_ref().ok().filter(|_| !is_compressed);
        let content = match is_compressed {
            true => Some(Content::Other),
            false => file.and_then(|file| trace.seen.compare(file).ok()),
        };
        let has_it = matches!(content, Some(Content::Same | Content::Unknown));
        let is_in_path = |file: &File, path: &File| is_contained(file, path, trace.seen.offset()).unwrap_or(false);
        let is_copied = |known: &KnownFile| file.is_some_and(|file| known.is_copied_to(file, &nearby.metadata));
        Candidate {
            spot: spot.clone(),
            is_same_file: nearby.id.is_same_file(trace.id),
            content,
            is_known: older.iter().any(|known| known.is(&nearby.metadata) || (have_moved && is_copied(known))),
            is_ahead_of_path: !(has_it && file.zip(at_path).is_some_and(|(file, path)| is_in_path(file, path))),
            is_taken: taken.iter().any(|taken| taken.is_same_file(nearby.id)),
        }
    };
    found.iter().map(fact).collect()
}

/// Whether `path` holds all that `file` holds from `offset` on.
fn is_contained(file: &File, path: &File, offset: u64) -> io::Result<bool> {
    Ok(file.metadata()?.len() <= path.metadata()?.len() && !diverge(file, path, offset)?)
}
