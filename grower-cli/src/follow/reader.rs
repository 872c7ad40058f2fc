//! One followed file, read by positions: what is new in it, and whether it still is what was read.

use super::fingerprint::{Content, FileId, Fingerprint, KnownFile};
use crate::lines::{Line, Splitter};
use parking_lot::Mutex;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// How much is read at once.
const READ_BYTES: usize = 256 << 10;

/// A file that lines are read of.
#[derive(Debug)]
pub(crate) struct Open {
    /// Counts the files in the order they are read; a file that was truncated counts again.
    pub(crate) incarnation: u32,
    pub(super) file: File,
    pub(super) id: FileId,
    /// The rotations that were there when it was begun; none if an earlier version began it.
    pub(super) older: Option<Arc<[KnownFile]>>,
    /// Where it was when it was begun, through links.
    pub(super) target: Option<PathBuf>,
    /// What was read of it.
    pub(super) read: Mutex<Fingerprint>,
}

impl Open {
    /// Its name now, for messages.
    pub(super) fn name(&self) -> Option<PathBuf> {
        fs::read_link(format!("/proc/self/fd/{}", self.file.as_raw_fd())).ok()
    }

    /// Whether it still begins with what was read of it: it may have been truncated and written again since.
    pub(super) fn is_as_read(&self) -> io::Result<bool> {
        let read = *self.read.lock();
        Ok(matches!(read.compare(&self.file)?, Content::Same | Content::Unknown))
    }
}

/// Reads one file.
pub(super) struct Reader {
    pub(super) open: Arc<Open>,
    pub(super) splitter: Splitter,
    /// What was read so far.
    pub(super) seen: Fingerprint,
    /// Since when nothing has come.
    pub(super) silent_since: Option<Instant>,
    /// When it was last written to, as of the last look at its end.
    modified: Option<(i64, i64)>,
    /// Whether a touch was told.
    is_touched: bool,
}

/// What a look at a file found.
#[derive(Debug)]
pub(super) enum Look {
    /// More lines, perhaps none that is whole.
    Lines(Vec<Line>),
    /// Nothing.
    Nothing,
    /// It was written to, and what is compared of its content is as before.
    Touched,
    /// What was read is not in it any more.
    Rewritten,
}

impl Reader {
    /// Reads `open` from the byte that `seen` ends at; lines may have `limit` bytes.
    pub(super) fn new(mut open: Open, seen: Fingerprint, limit: usize) -> Self {
        *open.read.get_mut() = seen;
        let splitter = Splitter::new(seen.offset(), limit);
        Self { open: Arc::new(open), splitter, seen, silent_since: None, modified: None, is_touched: false }
    }

    /// Looks for what is new.
    pub(super) fn look(&mut self, now: Instant) -> io::Result<Look> {
        let metadata = self.open.file.metadata()?;
        let taken = self.splitter.taken();
        if metadata.len() < taken {
            return Ok(Look::Rewritten);
        }
        let mut bytes = Vec::new();
        if taken < metadata.len() {
            bytes.resize(usize::try_from(metadata.len() - taken).unwrap_or(READ_BYTES).min(READ_BYTES), 0);
            let count = self.open.file.read_at(&mut bytes, taken)?;
            bytes.truncate(count);
        }
        // After the read: then the bytes that were read followed what was read before.
        if matches!(self.seen.compare(&self.open.file)?, Content::Other | Content::Shorter) {
            return Ok(Look::Rewritten);
        }
        if bytes.is_empty() {
            return Ok(self.at_the_end((metadata.mtime(), metadata.mtime_nsec()), now));
        }
        self.splitter.read_from(&mut &bytes[..])?;
        (self.silent_since, self.modified) = (None, None);
        // An error here means that the file was truncated just now; the old fingerprint tells next time.
        self.seen = Fingerprint::take(&self.open.file, self.splitter.taken()).unwrap_or(self.seen);
        *self.open.read.lock() = self.seen;
        Ok(Look::Lines(std::iter::from_fn(|| self.splitter.next_line()).collect()))
    }

    fn at_the_end(&mut self, modified: (i64, i64), now: Instant) -> Look {
        self.silent_since.get_or_insert(now);
        let before = self.modified.replace(modified);
        let is_touched = before.is_some_and(|before| before != modified) && !self.seen.is_whole();
        match is_touched && !std::mem::replace(&mut self.is_touched, true) {
            true => Look::Touched,
            false => Look::Nothing,
        }
    }

    /// Goes on at the same position in another file that has the same beginning.
    pub(super) fn continue_in(&mut self, file: File, id: FileId) {
        let (older, target) = (self.open.older.clone(), self.open.target.clone());
        let (incarnation, read) = (self.open.incarnation, Mutex::new(self.seen));
        self.open = Arc::new(Open { incarnation, file, id, older, target, read });
        self.silent_since = None;
    }
}
