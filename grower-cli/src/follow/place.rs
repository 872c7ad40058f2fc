//! Up to where a followed file has been acknowledged, kept in a small file so that the next run goes on from there.
//!
//! It is written to a temporary name, fsynced and renamed after every group of acks, so a crash leaves the old note or
//! the new one. While a follower lives it holds a lock on its note: two followers of one file would send it twice.

use super::fingerprint::{FileId, Fingerprint};
use super::tail::Open;
use grower_client::ids::{Offset, PartitionId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    version: u32,
    /// Names this follower in the marks of its records.
    pub(crate) follower: String,
    pub(super) file: FileId,
    /// The how-manieth file it is.
    pub(crate) incarnation: u32,
    /// What stands before the place: so many bytes, and what they look like.
    pub(super) seen: Fingerprint,
    /// For each partition, the offset after the last record known to be ours.
    pub(crate) next: BTreeMap<PartitionId, Offset>,
}

/// Why there is no going on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    /// Reading or writing it failed.
    #[error("{path}: {source}")]
    Io {
        /// The note.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else follows.
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

impl Place {
    /// The first byte that is not acknowledged.
    pub(crate) fn offset(&self) -> u64 {
        self.seen.offset()
    }
}

/// Keeps the note of one followed file.
pub(crate) struct Keeper {
    path: PathBuf,
    place: Place,
    /// The note itself, locked.
    held: File,
}

impl Keeper {
    /// Where the note of a file followed into a topic is: beside the file.
    pub(crate) fn path_for(followed: &Path, topic: &str) -> PathBuf {
        let mut name = followed.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{topic}.grower-place"));
        followed.with_file_name(name)
    }

    /// The note of an earlier run, if there was one.
    pub(crate) fn load(path: &Path) -> Result<Option<Place>, PlaceError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(PlaceError::Io { path: path.to_owned(), source }),
        };
        match serde_json::from_slice::<Place>(&bytes) {
            Ok(place) if place.version == VERSION => Ok(Some(place)),
            _ => Err(PlaceError::Unreadable { path: path.to_owned() }),
        }
    }

    /// Begins to keep the note; `open` is read up to `offset`, and the topic's partitions end at `next`.
    pub(crate) fn begin(
        path: PathBuf,
        follower: String,
        open: &Open,
        offset: u64,
        next: BTreeMap<PartitionId, Offset>,
    ) -> Result<Self, PlaceError> {
        let failed = |source| PlaceError::Io { path: path.clone(), source };
        if let Ok(before) = File::open(&path) {
            check_lock(&before, &path)?;
        }
        let seen = Fingerprint::take(&open.file, offset).map_err(failed)?;
        let place = Place { version: VERSION, follower, file: open.id, incarnation: open.incarnation, seen, next };
        let held = write(&path, &place).map_err(failed)?;
        Ok(Self { path, place, held })
    }

    /// Names this follower.
    pub(crate) fn follower(&self) -> &str {
        &self.place.follower
    }

    /// Remembers a record that was acknowledged.
    pub(crate) fn acknowledged(&mut self, partition: PartitionId, offset: Offset) {
        let next = self.place.next.entry(partition).or_default();
        *next = (*next).max(offset.saturating_add(1));
    }

    /// Writes down that every line of `open` before `offset` is done.
    pub(crate) fn save(&mut self, open: &Open, offset: u64) -> Result<(), PlaceError> {
        match Fingerprint::take(&open.file, offset) {
            Ok(seen) => (self.place.file, self.place.incarnation, self.place.seen) = (open.id, open.incarnation, seen),
            // Truncated since: its bytes cannot be described any more. The marks in the topic still tell what is done.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(source) => return Err(PlaceError::Io { path: self.path.clone(), source }),
        }
        self.held =
            write(&self.path, &self.place).map_err(|source| PlaceError::Io { path: self.path.clone(), source })?;
        Ok(())
    }
}

fn check_lock(file: &File, path: &Path) -> Result<(), PlaceError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(PlaceError::Busy { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(PlaceError::Io { path: path.to_owned(), source }),
    }
}

/// Puts the note in its place at once or not at all, and returns it locked.
fn write(path: &Path, place: &Place) -> io::Result<File> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let mut file = File::create(&temporary)?;
    file.lock()?;
    file.write_all(&serde_json::to_vec(place)?)?;
    file.sync_data()?;
    fs::rename(&temporary, path)?;
    Ok(file)
}
