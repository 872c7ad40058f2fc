//! Keeps a note on disk.
//!
//! After every group of acks the note is written to a temporary name, fsynced and renamed: a crash leaves the old
//! note or the new one. A follower holds a lock on its note, because two followers of one file would send it twice.
//! Each new file is locked before the rename, so the file with the note's name is always locked.

use super::{Note, TopicLoss, TopicSpan};
use crate::follow::reader::FollowedFile;
use grower_client::ids::{Offset, PartitionId};
use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a note cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoteError {
    /// An I/O error.
    #[error("{path}: {source}; --state-dir keeps this note of progress elsewhere")]
    Io {
        /// The note.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another follower holds the note.
    #[error("another grower-cli already follows this file into this topic (it holds {path})")]
    Busy {
        /// The note.
        path: PathBuf,
    },
    /// Not a note, or one of a later version.
    #[error("{path} is not a note of this version of grower-cli; to follow the file from its beginning, delete it")]
    Unreadable {
        /// The note.
        path: PathBuf,
    },
}

/// Keeps the note of one followed file.
pub(crate) struct NoteKeeper {
    path: PathBuf,
    note: Note,
    /// The note itself, locked.
    held: File,
}

impl NoteKeeper {
    /// Locks the note at `path` and returns its content. Creates it from `blank` if it does not exist.
    pub(crate) fn open(path: PathBuf, blank: Note) -> Result<(Self, Option<Note>), NoteError> {
        let failed = |source| NoteError::Io { path: path.clone(), source };
        loop {
            match File::open(&path) {
                Ok(mut held) => {
                    lock(&held, &path)?;
                    if !is_at(&held, &path).map_err(failed)? {
                        continue; // Replaced between opening and locking: try again.
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

    /// Like [`Self::open`], but a missing note is created from the first existing one of `former`. Fails if another
    /// follower holds that one.
    pub(crate) fn open_or_move(
        path: PathBuf,
        former: &[PathBuf],
        blank: Note,
    ) -> Result<(Self, Option<Note>), NoteError> {
        if path.exists() {
            return Self::open(path, blank);
        }
        // An unreadable note belongs to another user.
        let there = former.iter().find_map(|former| Some((File::open(former).ok()?, former)));
        let Some((mut held, former)) = there else { return Self::open(path, blank) };
        lock(&held, former)?;
        let moved = read(&mut held, former)?;
        let (keeper, note) = Self::open(path, moved.clone())?;
        Ok((keeper, note.or(Some(moved))))
    }

    /// The name of this follower.
    pub(crate) fn follower(&self) -> &str {
        &self.note.follower
    }

    /// Drops offsets of records that the topic no longer has, and returns the loss. The loss of a blank note concerns
    /// no line.
    pub(crate) fn adjust(&mut self, topic: &TopicSpan) -> (&Note, Option<TopicLoss>) {
        let is_blank = self.note.is_blank();
        let loss = self.note.adjust(topic).filter(|_| !is_blank);
        (&self.note, loss)
    }

    /// The path of the note.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Remembers an acknowledged record. The latest offset counts, not the greatest: a restored log has smaller
    /// offsets. An offset that is too small only makes the next run read more records.
    pub(crate) fn add_acknowledged(&mut self, partition: PartitionId, offset: Offset) {
        self.note.next.insert(partition, offset.saturating_add(1));
    }

    /// Saves that every line before the given position of each file is done.
    pub(crate) fn save(&mut self, done: impl IntoIterator<Item = (Arc<FollowedFile>, u64)>) -> Result<(), NoteError> {
        let failed = |source| NoteError::Io { path: self.path.clone(), source };
        for (open, end) in done {
            self.note.progress(&open, end).map_err(failed)?;
        }
        self.held = replace(&self.path, &self.note, &self.held).map_err(failed)?.ok_or_else(|| {
            NoteError::Busy { path: self.path.clone() } // Deleted, and created by another follower.
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

/// Whether this path leads to the open file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(named) => file.metadata().map(|held| (held.dev(), held.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Creates the note and returns it locked; none if one exists by now.
fn create(path: &Path, note: &Note) -> io::Result<Option<File>> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".grower-place").permissions(Permissions::from_mode(0o666)); // The umask applies.
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

/// Replaces the note atomically and returns it locked; none if another follower created it.
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
    use super::super::tests::topic;
    use super::*;

    fn open(folder: &Path) -> Result<(NoteKeeper, Option<Note>), NoteError> {
        NoteKeeper::open(folder.join("note"), Note::blank("me".to_owned(), &topic(1, 0)))
    }

    #[test]
    fn only_one_of_several_concurrent_followers_gets_the_note() {
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
        keeper.add_acknowledged(PartitionId::new(0), Offset::new(6));
        for _ in 0..3 {
            keeper.save([]).unwrap();
            assert!(matches!(open(folder.path()), Err(NoteError::Busy { .. })));
        }
        drop(keeper);
        let (_, note) = open(folder.path()).unwrap();
        assert_eq!(note.unwrap().next, [(PartitionId::new(0), Offset::new(7))].into());
    }

    #[test]
    fn a_note_in_a_new_place_starts_from_the_former_note() {
        let folder = tempfile::tempdir().unwrap();
        let (mut keeper, _) = open(folder.path()).unwrap();
        keeper.add_acknowledged(PartitionId::new(0), Offset::new(6));
        keeper.save([]).unwrap();
        let blank = || Note::blank("another".to_owned(), &topic(1, 0));
        let [elsewhere, former] = ["elsewhere", "note"].map(|name| folder.path().join(name));
        let moved = |path: &Path| {
            NoteKeeper::open_or_move(path.to_owned(), &[folder.path().join("no"), former.clone()], blank())
        };
        assert!(matches!(moved(&elsewhere), Err(NoteError::Busy { .. })));
        let note = keeper.note.clone();
        drop(keeper);
        assert_eq!(moved(&elsewhere).unwrap().1, Some(note));
        assert_eq!(moved(&elsewhere).unwrap().0.follower(), "me");
    }

    #[test]
    fn a_follower_fails_once_another_one_created_its_deleted_note() {
        let folder = tempfile::tempdir().unwrap();
        let (mut keeper, _) = open(folder.path()).unwrap();
        fs::remove_file(folder.path().join("note")).unwrap();
        keeper.save([]).unwrap(); // Deleted by mistake: the note is written again.
        fs::remove_file(folder.path().join("note")).unwrap();
        let (mut other, _) = open(folder.path()).unwrap();
        assert!(matches!(keeper.save([]), Err(NoteError::Busy { .. })));
        other.save([]).unwrap();
    }

    #[test]
    fn an_ack_at_a_smaller_offset_replaces_a_greater_one_because_the_log_was_restored() {
        let folder = tempfile::tempdir().unwrap();
        let (mut keeper, _) = open(folder.path()).unwrap();
        for offset in [8, 2] {
            keeper.add_acknowledged(PartitionId::new(0), Offset::new(offset));
        }
        assert_eq!(keeper.note.unknown_from(PartitionId::new(0)), Offset::new(3));
    }
}
