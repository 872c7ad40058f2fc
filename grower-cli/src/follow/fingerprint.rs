//! Is this file still the one we read up to byte N? Its name and even its inode may have passed to another.

use serde::{Deserialize, Serialize};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

/// How many bytes at either end of what was read are compared.
const SPAN: u64 = 256;

/// Which file: stays the same when it is renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// What the first `offset` bytes of a file look like: checksums of their beginning and their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fingerprint {
    offset: u64,
    head: u32,
    tail: u32,
}

impl Fingerprint {
    /// Takes the fingerprint of the first `offset` bytes; an error if the file has fewer.
    pub(super) fn take(file: &File, offset: u64) -> io::Result<Self> {
        let span = offset.min(SPAN);
        Ok(Self { offset, head: checksum(file, 0, span)?, tail: checksum(file, offset - span, span)? })
    }

    /// Whether the file begins with what was fingerprinted.
    pub(super) fn matches(&self, file: &File) -> bool {
        Self::take(file, self.offset).is_ok_and(|now| now == *self)
    }

    /// How many bytes it covers.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether it says anything: nothing is known of a file of which nothing was read.
    pub(super) fn is_telling(&self) -> bool {
        self.offset != 0
    }
}

fn checksum(file: &File, at: u64, length: u64) -> io::Result<u32> {
    let mut bytes = [0; SPAN as usize];
    let bytes = &mut bytes[..length as usize];
    file.read_exact_at(bytes, at)?;
    Ok(crc32fast::hash(bytes))
}
