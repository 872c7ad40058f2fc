//! Up to where a followed file has been acknowledged, kept in a small file so that the next run goes on from there.
//!
//! It is written to a temporary name, fsynced and renamed after every group of acks, so a crash leaves the old note or
//! the new one. While a follower lives it holds a lock on its note: two followers of one file would send it twice. A
//! new note is locked before it gets its name, and a replaced one is locked before it takes the old one's, so that the
//! file with that name is locked at every moment.

use super::fingerprint::{Content, FileId, Fingerprint, KnownFile};
use super::reader::{Open, Reader};
use super::surroundings::{Surroundings, Trace};
use super::tail::LEFT_FILES_MAX;
use grower_client::ids::{Offset, PartitionId};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    version: u32,
    /// Names this follower in the marks of its records.
    pub(crate) follower: String,
    file: FileId,
    /// The how-manieth file it is.
    pub(super) incarnation: u32,
    /// What stands before the first byte that is not acknowledged: so many bytes, and what they look like.
    seen: Fingerprint,
    /// For each partition, the offset after the last record known to be ours.
    pub(crate) next: BTreeMap<PartitionId, Offset>,
    /// The rotations that were there when the file was begun. Notes of earlier versions lack this and what follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    older: Option<Vec<KnownFile>>,
    /// Where the file was when it was begun, through links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// Files that were left, whose writers may still be late.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left: Vec<LeftFile>,
}

/// A file that was read to its end and left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LeftFile {
    file: FileId,
    incarnation: u32,
    seen: Fingerprint,
}

/// Why there is no going on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoteError {
    /// Reading or writing it failed.
    #[error("{path}: {source}; --state-dir keeps this note of progress elsewhere")]
    Io {
        /// The note.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another follower lives.
    #[error("another grower-cli follows this file into this topic already (it holds {path})")]
    Busy {
        /// The note.
        path: PathBuf,
    },
    /// Not our note, or from a later version.
    #[error("{path} is not a note of this version of grower-cli; to follow the file from its beginning, delete it")]
    Unreadable {
        /// The note.
        path: PathBuf,
    },
}

/// Version of the note's form.
const VERSION: u32 = 1;

impl Note {
    /// The note of a follower that has read nothing; the topic's partitions end at `next`.
    pub(crate) fn blank(follower: String, next: BTreeMap<PartitionId, Offset>) -> Self {
        let (file, seen) = (FileId::NONE, Fingerprint::EMPTY);
        Self {
            version: VERSION,
            follower,
            file,
            incarnation: 0,
            seen,
            next,
            older: None,
            target: None,
            left: Vec::new(),
        }
    }

    /// None if it is not ours, or from a later version.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(bytes).ok().filter(|note| note.version == VERSION)
    }

    /// Whether no file was begun.
    pub(super) fn is_blank(&self) -> bool {
        self.file == FileId::NONE
    }

    /// What the file is recognised by.
    pub(super) fn trace(&self) -> Trace {
        let (older, target) = (self.older.as_deref().map(Into::into), self.target.as_ref().map(PathBuf::from));
        Trace { id: self.file, seen: self.seen, older, target }
    }

    /// The files that were left and are still there, without the one that is read.
    pub(super) fn left_files(&self, around: &Surroundings, current: FileId, limit: usize) -> Vec<Reader> {
        let reader = |left: &LeftFile| {
            let mut same = around.files.iter().filter(|nearby| nearby.id.is_same_file(left.file));
            let file = same.find_map(|nearby| nearby.readable().ok())?;
            let is_other = !left.file.is_same_file(current) && left.seen.compare(&file).ok()? == Content::Same;
            let read = Mutex::new(left.seen);
            let open = Open { incarnation: left.incarnation, file, id: left.file, older: None, target: None, read };
            is_other.then(|| Reader::new(open, left.seen, limit))
        };
        self.left.iter().filter_map(reader).collect()
    }

    /// Remembers that every line of `open` before `end` is done.
    fn progress(&mut self, open: &Open, end: u64) -> io::Result<()> {
        let seen = match Fingerprint::take(&open.file, end) {
            // Truncated since: its bytes cannot be described any more. The marks in the topic still tell what is done.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            seen => seen?,
        };
        if end != 0 && !open.is_as_read()? {
            return Ok(()); // Truncated and written again since: its bytes are others now.
        }
        let (file, incarnation) = (open.id, open.incarnation);
        if incarnation != self.incarnation || self.is_blank() {
            if let Some(left) = self.left.iter_mut().find(|left| left.incarnation == incarnation) {
                (left.file, left.seen) = (file, seen);
                return Ok(());
            }
            if !self.is_blank() {
                if u32::MAX / 2 < incarnation.wrapping_sub(self.incarnation) {
                    return Ok(()); // Late lines of a file that is forgotten.
                }
                self.left.push(LeftFile { file: self.file, incarnation: self.incarnation, seen: self.seen });
                let surplus = self.left.len().saturating_sub(LEFT_FILES_MAX);
                self.left.drain(..surplus);
            }
        }
        (self.file, self.incarnation, self.seen) = (file, incarnation, seen);
        self.older = open.older.as_deref().map(Into::into);
        self.target = open.target.as_ref().and_then(|target| target.to_str()).map(str::to_owned);
        Ok(())
    }
}

/// Keeps the note of one followed file.
pub(crate) struct NoteKeeper {
    path: PathBuf,
    note: Note,
    /// The note itself, locked.
    held: File,
}

impl NoteKeeper {
    /// Takes the note at `path`, and returns what an earlier run wrote; begins it with `blank` if there is none.
    pub(crate) fn open(path: PathBuf, blank: Note) -> Result<(Self, Option<Note>), NoteError> {
        let failed = |source| NoteError::Io { path: path.clone(), source };
        loop {
            match File::open(&path) {
                Ok(mut held) => {
                    lock(&held, &path)?;
                    if !is_at(&held, &path).map_err(failed)? {
                        continue; // Replaced between opening and locking: look again.
                    }
                    let note = read(&mut held, &path)?;
                    return Ok((Self { path, note: note.clone(), held }, Some(note)));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if let Some(held) = create(&path, &blank).map_err(failed)? {
                        return Ok((Self { path, note: blank, held }, None));
                    }
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// As [`Self::open`]; if there is no note at `path`, it begins with what the one at `former` says. A follower that
    /// holds that one is refused.
    pub(crate) fn open_or_move(path: PathBuf, former: &Path, blank: Note) -> Result<(Self, Option<Note>), NoteError> {
        if path.exists() || path == former {
            return Self::open(path, blank);
        }
        let mut held = match File::open(former) {
            Ok(held) => held,
            Err(_) => return Self::open(path, blank), // None, or one that is not ours to read.
        };
        lock(&held, former)?;
        let moved = read(&mut held, former)?;
        let (keeper, note) = Self::open(path, moved.clone())?;
        Ok((keeper, note.or(Some(moved))))
    }

    /// Names this follower.
    pub(crate) fn follower(&self) -> &str {
        &self.note.follower
    }

    /// Remembers a record that was acknowledged.
    pub(crate) fn acknowledged(&mut self, partition: PartitionId, offset: Offset) {
        let next = self.note.next.entry(partition).or_default();
        *next = (*next).max(offset.saturating_add(1));
    }

    /// Writes down that every line of each file before its offset is done.
    pub(crate) fn save(&mut self, done: impl IntoIterator<Item = (Arc<Open>, u64)>) -> Result<(), NoteError> {
        let failed = |source| NoteError::Io { path: self.path.clone(), source };
        for (open, end) in done {
            self.note.progress(&open, end).map_err(failed)?;
        }
        self.held = replace(&self.path, &self.note, &self.held).map_err(failed)?.ok_or_else(|| {
            NoteError::Busy { path: self.path.clone() } // Deleted, and another follower began it.
        })?;
        Ok(())
    }
}

fn lock(file: &File, path: &Path) -> Result<(), NoteError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(NoteError::Busy { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(NoteError::Io { path: path.to_owned(), source }),
    }
}

fn read(held: &mut File, path: &Path) -> Result<Note, NoteError> {
    let mut bytes = Vec::new();
    held.read_to_end(&mut bytes).map_err(|source| NoteError::Io { path: path.to_owned(), source })?;
    Note::parse(&bytes).ok_or_else(|| NoteError::Unreadable { path: path.to_owned() })
}

/// Whether the open file is the one with this name.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(named) => file.metadata().map(|held| (held.dev(), held.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes the note unless there is one meanwhile, and returns it locked.
fn create(path: &Path, note: &Note) -> io::Result<Option<File>> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".grower-place").permissions(Permissions::from_mode(0o666)); // Less what the umask takes.
    let mut file = builder.tempfile_in(folder)?;
    file.as_file().lock()?;
    file.write_all(&serde_json::to_vec(note)?)?;
    file.as_file().sync_data()?;
    match file.persist_noclobber(path) {
        Ok(file) => {
            File::open(folder)?.sync_all()?;
            Ok(Some(file))
        }
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(error.error),
    }
}

/// Puts the note in its place at once or not at all, and returns it locked; none if another follower's is there.
fn replace(path: &Path, note: &Note, held: &File) -> io::Result<Option<File>> {
    if !is_at(held, path)? && path.exists() {
        return Ok(None);
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let mut file = File::create(&temporary)?;
    file.lock()?;
    file.write_all(&serde_json::to_vec(note)?)?;
    file.sync_data()?;
    fs::rename(&temporary, path)?;
    Ok(Some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path) -> Result<(NoteKeeper, Option<Note>), NoteError> {
        NoteKeeper::open(folder.join("note"), Note::blank("me".to_owned(), BTreeMap::new()))
    }

    #[test]
    fn only_one_of_many_followers_started_at_once_gets_the_note() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..20 {
            let opened: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| open(folder.path()))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(opened.iter().filter(|opened| opened.is_ok()).count(), 1);
            assert!(opened.iter().all(|opened| matches!(opened, Ok(_) | Err(NoteError::Busy { .. }))));
            drop(opened);
            fs::remove_file(folder.path().join("note")).unwrap();
        }
    }

    #[test]
    fn a_note_stays_locked_while_it_is_replaced_and_is_free_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let (mut keeper, before) = open(folder.path()).unwrap();
        assert_eq!(before, None);
        keeper.acknowledged(PartitionId::new(0), Offset::new(6));
        for _ in 0..3 {
            keeper.save([]).unwrap();
            assert!(matches!(open(folder.path()), Err(NoteError::Busy { .. })));
        }
        drop(keeper);
        let (_, note) = open(folder.path()).unwrap();
        assert_eq!(note.unwrap().next, [(PartitionId::new(0), Offset::new(7))].into());
    }

    #[test]
    fn a_note_that_is_kept_elsewhere_from_now_on_begins_with_the_former_one() {
        let folder = tempfile::tempdir().unwrap();
        let (mut keeper, _) = open(folder.path()).unwrap();
        keeper.acknowledged(PartitionId::new(0), Offset::new(6));
        keeper.save([]).unwrap();
        let blank = || Note::blank("another".to_owned(), BTreeMap::new());
        let [elsewhere, former] = ["elsewhere", "note"].map(|name| folder.path().join(name));
        let moved = |path: &Path| NoteKeeper::open_or_move(path.to_owned(), &former, blank());
        assert!(matches!(moved(&elsewhere), Err(NoteError::Busy { .. })));
        let note = keeper.note.clone();
        drop(keeper);
        assert_eq!(moved(&elsewhere).unwrap().1, Some(note));
        assert_eq!(moved(&elsewhere).unwrap().0.follower(), "me");
    }

    #[test]
    fn a_follower_whose_deleted_note_another_one_began_ends() {
        let folder = tempfile::tempdir().unwrap();
        let (mut keeper, _) = open(folder.path()).unwrap();
        fs::remove_file(folder.path().join("note")).unwrap();
        keeper.save([]).unwrap(); // Deleted by mistake: it is written again.
        fs::remove_file(folder.path().join("note")).unwrap();
        let (mut other, _) = open(folder.path()).unwrap();
        assert!(matches!(keeper.save([]), Err(NoteError::Busy { .. })));
        other.save([]).unwrap();
    }
}
