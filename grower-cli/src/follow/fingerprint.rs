//! Identifies a file ([`FileIdentity`]) and its first N bytes ([`Fingerprint`]).

use crc32fast::Hasher;
use serde::{Deserialize, Serialize};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::UNIX_EPOCH;

/// Bytes at either end that notes of earlier versions compare.
const NARROW: u64 = 256;
/// Bytes at the beginning that are compared: a file of up to this length is compared completely.
pub(super) const HEAD: u64 = 64 << 10;
/// Bytes before the position that are compared.
const TAIL: u64 = 4 << 10;
/// From this number of compared bytes, equal content is not a coincidence such as an equal header line.
const ENOUGH_BYTES: u64 = 256;

/// The identity of a file, which a rename does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileIdentity {
    /// May change when the file system is mounted again.
    device: u64,
    /// May be reused by another file when this one is removed.
    inode: u64,
    /// Time of creation in nanoseconds since 1970, if the file system keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    born: Option<u64>,
}

impl FileIdentity {
    /// The id of no file.
    pub(super) const NONE: Self = Self { device: 0, inode: 0, born: None };

    pub(super) fn of(metadata: &Metadata) -> Self {
        let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        let born = born.and_then(|born| u64::try_from(born.as_nanos()).ok());
        Self { device: metadata.dev(), inode: metadata.ino(), born }
    }

    /// Whether the inode has this number.
    pub(super) fn has_inode(self, inode: u64) -> bool {
        self.inode == inode
    }

    /// Whether both are the same file. The device counts only if no time of creation is known.
    pub(super) fn is_same_file(self, other: Self) -> bool {
        self.inode == other.inode
            && match (self.born, other.born) {
                (Some(a), Some(b)) => a == b,
                _ => self.device == other.device,
            }
    }
}

/// Checksums of the beginning and the end of the first `offset` bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fingerprint {
    offset: u64,
    head: u32,
    tail: u32,
    /// Checksums of longer ranges; notes of earlier versions lack them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wide: Option<WideChecksums>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct WideChecksums {
    head: u32,
    tail: u32,
}

/// The result of comparing a file with a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Unknown, because the fingerprint covers no bytes.
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

    /// Takes the fingerprint of the first `offset` bytes. Fails if the file has fewer.
    pub(super) fn take(file: &File, offset: u64) -> io::Result<Self> {
        let head = read(file, 0, offset.min(HEAD))?;
        let tail = read_before(file, offset, TAIL)?;
        let narrow = offset.min(NARROW) as usize;
        Ok(Self {
            offset,
            head: crc32fast::hash(&head[..narrow]),
            tail: crc32fast::hash(&tail[tail.len() - narrow..]),
            wide: Some(WideChecksums { head: crc32fast::hash(&head), tail: crc32fast::hash(&tail) }),
        })
    }

    /// Compares a file with the fingerprint.
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

    /// The number of bytes that it covers.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether at least 256 bytes were compared, so that equal content is no coincidence.
    pub(super) fn enough_bytes_compared(&self) -> bool {
        ENOUGH_BYTES <= self.offset
    }

    /// Whether every byte before the position is compared.
    pub(super) fn is_whole(&self) -> bool {
        self.offset <= HEAD + TAIL
    }
}

/// The fingerprint of the bytes read so far, computed from those bytes, because the file may hold others by now.
pub(super) struct RunningFingerprint {
    offset: u64,
    narrow_head: Hasher,
    head: Hasher,
    /// The last bytes.
    tail: Vec<u8>,
}

impl RunningFingerprint {
    /// Continues after the bytes of `seen`; none if the file does not begin with them.
    pub(super) fn resume(file: &File, seen: &Fingerprint) -> io::Result<Option<Self>> {
        let (head, tail) = (read(file, 0, seen.offset.min(HEAD)), read_before(file, seen.offset, TAIL));
        let (head, tail) = match head.and_then(|head| Ok((head, tail?))) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            bytes => bytes?,
        };
        let mut running = Self { offset: 0, narrow_head: Hasher::new(), head: Hasher::new(), tail: Vec::new() };
        running.extend(&head);
        (running.offset, running.tail) = (seen.offset, tail);
        Ok(running.fingerprint().is_equal(seen).then_some(running))
    }

    /// Adds the next bytes.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        let within = |most: u64| &bytes[..most.saturating_sub(self.offset).min(bytes.len() as u64) as usize];
        self.narrow_head.update(within(NARROW));
        self.head.update(within(HEAD));
        self.offset += bytes.len() as u64;
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL as usize)..]);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL as usize));
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        let narrow_tail = &self.tail[self.tail.len().saturating_sub(NARROW as usize)..];
        Fingerprint {
            offset: self.offset,
            head: self.narrow_head.clone().finalize(),
            tail: crc32fast::hash(narrow_tail),
            wide: Some(WideChecksums { head: self.head.clone().finalize(), tail: crc32fast::hash(&self.tail) }),
        }
    }
}

/// Whether `whole` contains the bytes of `part` from `offset`. Only the first and the last of them are compared.
/// False if a file is truncated meanwhile.
pub(super) fn is_contained(part: &File, whole: &File, offset: u64) -> io::Result<bool> {
    let end = part.metadata()?.len().max(offset); // Taken once: the reads below use this length or fail.
    if whole.metadata()?.len() < end {
        return Ok(false);
    }
    let (first, last) = ((end - offset).min(HEAD), (end - offset).min(TAIL));
    let is_equal = |at: u64, length: u64| Ok(read(part, at, length)? == read(whole, at, length)?);
    let is_contained: io::Result<bool> =
        is_equal(offset, first).and_then(|first| Ok(first && is_equal(end - last, last)?));
    match is_contained {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        is_contained => is_contained,
    }
}

fn read_before(file: &File, end: u64, most: u64) -> io::Result<Vec<u8>> {
    read(file, end - end.min(most), end.min(most))
}

fn read(file: &File, at: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

/// A rotation that existed when the followed file was begun, so that it cannot come after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownFile {
    id: FileIdentity,
    length: u64,
    /// Checksum of its beginning and end, which recognises it after a copy to another file system.
    ends: u32,
}

impl KnownFile {
    /// Describes a file; an unreadable one by its id only.
    pub(super) fn take(file: Option<&File>, metadata: &Metadata) -> Self {
        let ends = file.and_then(|file| ends(file, metadata.len()).ok());
        let length = ends.map_or(0, |_| metadata.len());
        Self { id: FileIdentity::of(metadata), length, ends: ends.unwrap_or_default() }
    }

    /// Whether the file has its inode.
    pub(super) fn has_inode_of(&self, metadata: &Metadata) -> bool {
        self.id.is_same_file(FileIdentity::of(metadata))
    }

    /// Whether the file is this one, not overwritten by a copy of another. It may have grown.
    pub(super) fn is(&self, file: Option<&File>, metadata: &Metadata) -> bool {
        let is_overwritten = |file: &File| ends(file, self.length).map_or(true, |ends| ends != self.ends);
        self.has_inode_of(metadata) && !file.is_some_and(|file| self.length != 0 && is_overwritten(file))
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_running_fingerprint_equals_that_of_the_file_with_the_same_bytes() {
        let mut file = tempfile::tempfile().unwrap();
        let mut running = RunningFingerprint::resume(&file, &Fingerprint::EMPTY).unwrap().unwrap();
        for (round, length) in [1, 254, 2, 0, 3000, 1500, 70_000, 5, 4096, 100_000].into_iter().enumerate() {
            let bytes: Vec<u8> = (0..length).map(|at| (at * 31 + round * 7) as u8).collect();
            file.write_all(&bytes).unwrap();
            running.extend(&bytes);
            let seen = running.fingerprint();
            assert_eq!(seen, Fingerprint::take(&file, seen.offset()).unwrap());
            let resumed = RunningFingerprint::resume(&file, &seen).unwrap().unwrap();
            assert_eq!(resumed.fingerprint(), seen);
            running = resumed;
        }
        let seen = running.fingerprint();
        file.set_len(seen.offset() - 1).unwrap();
        assert!(RunningFingerprint::resume(&file, &seen).unwrap().is_none());
        file.set_len(seen.offset()).unwrap();
        assert!(RunningFingerprint::resume(&file, &seen).unwrap().is_none(), "another last byte");
    }
}
