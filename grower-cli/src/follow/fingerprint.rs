//! What a file is known by: which file it is ([`FileId`]), and what its first N bytes look like ([`Fingerprint`]).

use serde::{Deserialize, Serialize};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::UNIX_EPOCH;

/// How many bytes at either end were compared by notes of earlier versions.
const NARROW: u64 = 256;
/// How many bytes at the beginning are compared: a file of up to this length is compared whole.
pub(super) const HEAD: u64 = 64 << 10;
/// How many bytes before the position are compared.
const TAIL: u64 = 4 << 10;
/// From how many compared bytes on an equal content is no coincidence, such as an equal header line.
const STRONG: u64 = 256;

/// Which file: stays the same when it is renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileId {
    /// May change when the file system is attached again.
    device: u64,
    /// May pass to another file when this one is removed.
    inode: u64,
    /// When it was created, in nanoseconds since 1970, if the file system keeps that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    born: Option<u64>,
}

impl FileId {
    /// The id of no file.
    pub(super) const NONE: Self = Self { device: 0, inode: 0, born: None };

    pub(super) fn of(metadata: &Metadata) -> Self {
        let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        let born = born.and_then(|born| u64::try_from(born.as_nanos()).ok());
        Self { device: metadata.dev(), inode: metadata.ino(), born }
    }

    /// Whether its inode has this number.
    pub(super) fn has_inode(self, inode: u64) -> bool {
        self.inode == inode
    }

    /// Whether it is the same file. The device counts only where no time of creation is known.
    pub(super) fn is_same_file(self, other: Self) -> bool {
        self.inode == other.inode
            && match (self.born, other.born) {
                (Some(a), Some(b)) => a == b,
                _ => self.device == other.device,
            }
    }
}

/// What the first `offset` bytes of a file look like: checksums of their beginning and their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fingerprint {
    offset: u64,
    head: u32,
    tail: u32,
    /// Checksums of longer pieces; notes of earlier versions lack them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wide: Option<Wide>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Wide {
    head: u32,
    tail: u32,
}

/// How the content of a file compares with a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The fingerprint is of no bytes, so it tells nothing.
    Unknown,
    /// The file begins with these bytes.
    Same,
    /// The file is shorter.
    Shorter,
    /// The file begins with other bytes.
    Other,
}

impl Fingerprint {
    /// The fingerprint of no bytes.
    pub(super) const EMPTY: Self = Self { offset: 0, head: 0, tail: 0, wide: None };

    /// Takes the fingerprint of the first `offset` bytes; an error if the file has fewer.
    pub(super) fn take(file: &File, offset: u64) -> io::Result<Self> {
        let head = read(file, 0, offset.min(HEAD))?;
        let tail = read(file, offset - offset.min(TAIL), offset.min(TAIL))?;
        let narrow = offset.min(NARROW) as usize;
        Ok(Self {
            offset,
            head: crc32fast::hash(&head[..narrow]),
            tail: crc32fast::hash(&tail[tail.len() - narrow..]),
            wide: Some(Wide { head: crc32fast::hash(&head), tail: crc32fast::hash(&tail) }),
        })
    }

    /// Compares the file with it.
    pub(super) fn compare(&self, file: &File) -> io::Result<Content> {
        if self.offset == 0 {
            return Ok(Content::Unknown);
        }
        if file.metadata()?.len() < self.offset {
            return Ok(Content::Shorter);
        }
        match Self::take(file, self.offset) {
            Ok(now) if now.is_equal(self) => Ok(Content::Same),
            Ok(_) => Ok(Content::Other),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Content::Shorter),
            Err(error) => Err(error),
        }
    }

    fn is_equal(&self, other: &Self) -> bool {
        let narrow = |of: &Self| (of.offset, of.head, of.tail);
        narrow(self) == narrow(other) && (self.wide.is_none() || other.wide.is_none() || self.wide == other.wide)
    }

    /// How many bytes it is of.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether an equal content cannot be a coincidence.
    pub(super) fn is_strong(&self) -> bool {
        STRONG <= self.offset
    }

    /// Whether every byte before the position is compared.
    pub(super) fn is_whole(&self) -> bool {
        self.offset <= HEAD + TAIL
    }
}

/// Whether two files differ in the bytes from `offset` on that both have; looks at the first and the last of them.
pub(super) fn diverge(a: &File, b: &File, offset: u64) -> io::Result<bool> {
    let end = a.metadata()?.len().min(b.metadata()?.len()).max(offset);
    let first = (end - offset).min(HEAD);
    let last = (end - offset).min(TAIL);
    Ok(read(a, offset, first)? != read(b, offset, first)? || read(a, end - last, last)? != read(b, end - last, last)?)
}

fn read(file: &File, at: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

/// A rotated file that was there when the followed one was begun, so that it cannot come after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownFile {
    id: FileId,
    length: u64,
    /// Checksum of its beginning and its end: recognises it after a copy to another file system.
    ends: u32,
}

impl KnownFile {
    /// Describes a file; one that cannot be read is known by its id only.
    pub(super) fn take(file: Option<&File>, metadata: &Metadata) -> Self {
        let ends = file.and_then(|file| ends(file, metadata.len()).ok());
        let length = ends.map_or(0, |_| metadata.len());
        Self { id: FileId::of(metadata), length, ends: ends.unwrap_or_default() }
    }

    /// Whether the file is this one.
    pub(super) fn is(&self, metadata: &Metadata) -> bool {
        self.id.is_same_file(FileId::of(metadata))
    }

    /// Whether the file has the same content.
    pub(super) fn is_copied_to(&self, file: &File, metadata: &Metadata) -> bool {
        let is_candidate = self.length != 0 && metadata.len() == self.length;
        is_candidate && ends(file, self.length).is_ok_and(|ends| ends == self.ends)
    }
}

fn ends(file: &File, length: u64) -> io::Result<u32> {
    let span = length.min(TAIL);
    let mut bytes = read(file, 0, span)?;
    bytes.extend(read(file, length - span, span)?);
    Ok(crc32fast::hash(&bytes))
}
