//! The state files of a partition: each is written whole under a temporary name, synced, renamed, and its directory
//! synced.
//!
//! A crash leaves the old content or the new, never a mixture. All have one frame; numbers are big-endian:
//!
//! ```text
//! 0 kind, 4 letters | 4 version u16 | 6 zero u16 | 8 length of the body u32 | 12 body .. | crc32 of all before it
//! ```

mod checkpoint;
mod compaction;
mod epochs;
mod fields;
mod losses;
mod meta;

pub(crate) use checkpoint::{Checkpoint, DurableEnd};
pub(crate) use compaction::{CompactionState, PendingReplacement};
pub(crate) use fields::{FieldReader, FieldWriter};
pub use losses::AcceptedLoss;
pub(crate) use losses::{AcceptedLosses, FileExchange};
pub(crate) use meta::LogIdentity;

use crate::disk::{Disk, DiskError};
use std::path::{Path, PathBuf};

const FRAME_LENGTH: usize = 16;
/// No state file needs more: a longer one is damaged.
const BODY_LENGTH_MAX: usize = 256 << 20;

/// The content of one kind of state file.
pub(crate) trait StateFile: Sized {
    /// Four letters that say what the file is.
    const KIND: [u8; 4];
    /// The format that is written now.
    const VERSION: u16;
    /// The file's name within the partition's directory.
    const NAME: &'static str;

    /// Appends the body.
    fn write(&self, into: &mut FieldWriter);

    /// Reads a body of [`StateFile::VERSION`]; none if it is invalid.
    fn read(fields: &mut FieldReader<'_>) -> Option<Self>;

    /// Reads a body of an earlier version; none if it is invalid, or if there never was such a version.
    fn read_earlier(_version: u16, _fields: &mut FieldReader<'_>) -> Option<Self> {
        None
    }
}

/// Why a state file has no content.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateFileError {
    /// Not written yet, or lost.
    #[error("{} is not there", .0.display())]
    Missing(PathBuf),
    /// Its bytes are wrong.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: &'static str,
    },
    /// Written by a later version.
    #[error("{} has format {found}, this program knows {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u16,
        /// The newest known format.
        known: u16,
    },
    /// Could not be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Replaces the file; durable when this returns. After an error the old content stays, unless a sync failed.
pub(crate) fn store<T: StateFile>(disk: &dyn Disk, dir: &Path, content: &T) -> Result<(), DiskError> {
    let temporary = dir.join(format!("{}.tmp", T::NAME));
    match disk.remove_file(&temporary) {
        Err(error) if !error.is_not_found() => return Err(error), // From a crash.
        _ => {}
    }
    let file = disk.create(&temporary)?;
    let bytes = encode(content);
    debug_assert!(decode::<T>(&temporary, &bytes).is_ok(), "{} is not readable as it is written", T::NAME);
    file.write_all_at(&bytes, 0)?;
    disk.sync_many(&[file])?;
    disk.replace(&temporary, &dir.join(T::NAME))
}

/// Reads the file.
pub(crate) fn load<T: StateFile>(disk: &dyn Disk, dir: &Path) -> Result<T, StateFileError> {
    load_from(disk, dir.join(T::NAME))
}

/// Reads a file of that kind under another name.
pub(crate) fn load_from<T: StateFile>(disk: &dyn Disk, path: PathBuf) -> Result<T, StateFileError> {
    let bytes = match disk.map(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Err(StateFileError::Missing(path)),
        Err(error) => return Err(error.into()),
    };
    decode(&path, bytes.as_ref())
}

pub(crate) fn encode<T: StateFile>(content: &T) -> Vec<u8> {
    let mut body = FieldWriter::default();
    content.write(&mut body);
    let body = body.into_bytes();
    assert!(body.len() <= BODY_LENGTH_MAX, "{} has {} bytes, a reader takes it for damaged", T::NAME, body.len());
    let mut bytes = Vec::with_capacity(FRAME_LENGTH + body.len());
    bytes.extend_from_slice(&T::KIND);
    bytes.extend_from_slice(&T::VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&u32::try_from(body.len()).expect("state files are small").to_be_bytes());
    bytes.extend_from_slice(&body);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    debug_assert_eq!(bytes.len(), FRAME_LENGTH + body.len(), "a state file is its frame and its body");
    bytes
}

pub(crate) fn decode<T: StateFile>(path: &Path, bytes: &[u8]) -> Result<T, StateFileError> {
    let damaged = |reason| StateFileError::Damaged { path: path.to_owned(), reason };
    let mut frame = FieldReader::new(bytes);
    let kind: [u8; 4] = frame.array().ok_or_else(|| damaged("too short"))?;
    let version = frame.u16().ok_or_else(|| damaged("too short"))?;
    let zero = frame.u16().ok_or_else(|| damaged("too short"))?;
    let length = frame.u32().ok_or_else(|| damaged("too short"))? as usize;
    if BODY_LENGTH_MAX < length || bytes.len() != FRAME_LENGTH + length {
        return Err(damaged("not as long as it says"));
    }
    let body = frame.take(length).ok_or_else(|| damaged("too short"))?;
    if frame.u32() != Some(crc32fast::hash(&bytes[..bytes.len() - 4])) {
        return Err(damaged("wrong crc"));
    }
    if kind != T::KIND || zero != 0 {
        return Err(damaged("another kind of file"));
    }
    if T::VERSION < version {
        return Err(StateFileError::Newer { path: path.to_owned(), found: version, known: T::VERSION });
    }
    let mut fields = FieldReader::new(body);
    let content = if version == T::VERSION { T::read(&mut fields) } else { T::read_earlier(version, &mut fields) };
    content.filter(|_| fields.is_empty()).ok_or_else(|| damaged("its fields make no sense"))
}

#[cfg(test)]
mod tests;
