//! Reads one followed file by position: finds new bytes, and checks that the bytes read before are unchanged.

use super::fingerprint::{Content, FileIdentity, Fingerprint, KnownFile, RunningFingerprint};
use crate::lines::{Line, Splitter};
use parking_lot::Mutex;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Bytes per read.
const READ_BYTES: usize = 256 << 10;

/// An open file that is followed.
#[derive(Debug)]
pub(crate) struct FollowedFile {
    /// Numbers the files in reading order; a truncated file gets a new number.
    pub(crate) incarnation: u32,
    pub(super) file: File,
    pub(super) id: FileIdentity,
    /// Whether it is a copy made by rotation, to which no program writes.
    pub(super) is_copy: bool,
    /// The rotations that existed when it was begun; none in a note of an earlier version.
    pub(super) older: Option<Arc<[KnownFile]>>,
    /// Its path when it was begun, links resolved.
    pub(super) target: Option<PathBuf>,
    /// Fingerprint of the bytes read.
    pub(super) read: Mutex<Fingerprint>,
}

impl FollowedFile {
    /// Its present name, for messages.
    pub(super) fn name(&self) -> Option<PathBuf> {
        fs::read_link(format!("/proc/self/fd/{}", self.file.as_raw_fd())).ok()
    }

    /// Whether it still begins with the bytes that were read: it may have been truncated and rewritten.
    pub(super) fn begins_as_read(&self) -> io::Result<bool> {
        let read = *self.read.lock();
        Ok(matches!(read.compare(&self.file)?, Content::Same | Content::Unknown))
    }
}

/// Reads one file.
pub(super) struct FileReader {
    pub(super) open: Arc<FollowedFile>,
    pub(super) splitter: Splitter,
    /// Fingerprint of the bytes read so far.
    pub(super) seen: Fingerprint,
    /// The same, in progress, once bytes were read.
    running: Option<RunningFingerprint>,
    /// The time since which no bytes have come.
    pub(super) silent_since: Option<Instant>,
    /// Its modification time at the last check of its end.
    modified: Option<(i64, i64)>,
    /// Whether a touch was reported.
    is_touched: bool,
}

/// The result of a check of a file.
#[derive(Debug)]
pub(super) enum ReadOutcome {
    /// New bytes. They follow the bytes read before, unless a file with the same beginning replaced this one: if not,
    /// [`FileReader::accept`] takes them.
    Bytes(Vec<u8>),
    /// No new bytes.
    Nothing,
    /// It was written to, and the compared content is unchanged.
    Touched,
    /// It no longer contains the bytes that were read.
    Rewritten,
}

impl FileReader {
    /// Reads `open` from the byte that `seen` ends at; lines may have `limit` bytes.
    pub(super) fn new(mut open: FollowedFile, seen: Fingerprint, limit: usize) -> Self {
        *open.read.get_mut() = seen;
        let splitter = Splitter::new(seen.offset(), limit);
        let (open, running) = (Arc::new(open), None);
        Self { open, splitter, seen, running, silent_since: None, modified: None, is_touched: false }
    }

    /// Reads new bytes. The position stays until they are accepted.
    pub(super) fn read_new(&mut self, now: Instant) -> io::Result<ReadOutcome> {
        let metadata = self.open.file.metadata()?;
        let taken = self.splitter.taken();
        if metadata.len() < taken {
            return Ok(ReadOutcome::Rewritten);
        }
        let mut bytes = Vec::new();
        if taken < metadata.len() {
            bytes.resize(usize::try_from(metadata.len() - taken).unwrap_or(READ_BYTES).min(READ_BYTES), 0);
            let count = self.open.file.read_at(&mut bytes, taken)?;
            bytes.truncate(count);
        }
        // After the read: an unchanged beginning then proves that these bytes follow it.
        if matches!(self.seen.compare(&self.open.file)?, Content::Other | Content::Shorter) {
            return Ok(ReadOutcome::Rewritten);
        }
        if bytes.is_empty() {
            return Ok(self.handle_end((metadata.mtime(), metadata.mtime_nsec()), now));
        }
        if self.running.is_none() {
            self.running = RunningFingerprint::resume(&self.open.file, &self.seen)?;
        }
        Ok(if self.running.is_some() { ReadOutcome::Bytes(bytes) } else { ReadOutcome::Rewritten })
    }

    /// Takes bytes of [`Self::read_new`], and returns the lines that they complete.
    pub(super) fn accept(&mut self, bytes: &[u8]) -> io::Result<Vec<Line>> {
        self.splitter.read_from(&mut &bytes[..])?;
        (self.silent_since, self.modified) = (None, None);
        if let Some(running) = &mut self.running {
            running.extend(bytes);
            self.seen = running.fingerprint();
        }
        *self.open.read.lock() = self.seen;
        Ok(std::iter::from_fn(|| self.splitter.next_line()).collect())
    }

    /// Records a time without new bytes, and reports a touched file once.
    fn handle_end(&mut self, modified: (i64, i64), now: Instant) -> ReadOutcome {
        self.silent_since.get_or_insert(now);
        let before = self.modified.replace(modified);
        let is_touched = before.is_some_and(|before| before != modified) && !self.seen.is_whole();
        match is_touched && !std::mem::replace(&mut self.is_touched, true) {
            true => ReadOutcome::Touched,
            false => ReadOutcome::Nothing,
        }
    }

    /// Continues at the same position in another file that has the same beginning.
    pub(super) fn continue_in(&mut self, file: File, id: FileIdentity, is_copy: bool) {
        let (older, target) = (self.open.older.clone(), self.open.target.clone());
        let (incarnation, read) = (self.open.incarnation, Mutex::new(self.seen));
        self.open = Arc::new(FollowedFile { incarnation, file, id, is_copy, older, target, read });
        (self.silent_since, self.modified) = (None, None); // Times of the other file do not apply.
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    #[test]
    fn accepted_bytes_are_fingerprinted_as_read_even_if_the_file_changed_since() {
        let mut file = tempfile::tempfile().unwrap();
        let mut write = |text: &str| {
            file.set_len(0).unwrap();
            file.rewind().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file.try_clone().unwrap()
        };
        let (file, read) = (write("one\n"), Mutex::new(Fingerprint::EMPTY));
        let id = FileIdentity::of(&file.metadata().unwrap());
        let open = FollowedFile { incarnation: 0, file, id, is_copy: false, older: None, target: None, read };
        let mut reader = FileReader::new(open, Fingerprint::EMPTY, 1000);
        let Ok(ReadOutcome::Bytes(bytes)) = reader.read_new(Instant::now()) else { panic!("nothing was found") };
        write("another\ntext\n");
        assert_eq!(reader.accept(&bytes).unwrap().len(), 1);
        assert!(matches!(reader.read_new(Instant::now()), Ok(ReadOutcome::Rewritten)));
    }
}
