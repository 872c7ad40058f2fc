//! Reads a growing file line by line, through rotation: an old file to its end first, then what took its place.
//!
//! Nothing here sleeps or asks the clock: [`Tail::step`] does what can be done now. A last line without newline is
//! waited for as long as its file may still grow.

use super::fingerprint::{FileId, Fingerprint};
use super::place::Place;
use super::siblings::{self, Sibling};
use crate::lines::{Line, Splitter};
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a file that was rotated away must be silent: its writer may not have noticed yet.
const FAREWELL: Duration = Duration::from_secs(1);

/// A file being read.
#[derive(Debug)]
pub(crate) struct Open {
    /// Counts the files in the order they are read; a file that was truncated counts anew.
    pub(crate) incarnation: u32,
    pub(super) file: File,
    pub(super) id: FileId,
}

/// What a step came to.
#[derive(Debug)]
pub(crate) enum Step {
    /// Lines of this file.
    Lines(Arc<Open>, Vec<Line>),
    /// Nothing new now.
    Idle,
    /// The file is not there any more, nor a copy of it: what it held after this byte was not read.
    Gap(u64),
}

/// Follows one path.
pub(crate) struct Tail {
    path: PathBuf,
    open: Arc<Open>,
    splitter: Splitter,
    /// What was read so far, to notice a file that was truncated and has grown again.
    seen: Fingerprint,
    /// Since when nothing has come although the path names another file.
    silent_since: Option<Instant>,
    gap: Option<u64>,
}

impl Tail {
    /// Starts at the beginning of the file, or where `place` says, wherever that file is now. Lines may have `limit` bytes.
    pub(crate) fn start(path: &Path, place: Option<&Place>, limit: usize) -> io::Result<Self> {
        let Some(place) = place else {
            return Self::at(path, Open::new(File::open(path)?, 0)?, 0, limit);
        };
        if let Some(file) = find(path, place)? {
            return Self::at(path, Open::new(file, place.incarnation)?, place.offset(), limit);
        }
        let mut tail = Self::at(path, Open::new(File::open(path)?, place.incarnation.wrapping_add(1))?, 0, limit)?;
        tail.gap = Some(place.offset());
        Ok(tail)
    }

    fn at(path: &Path, open: Open, offset: u64, limit: usize) -> io::Result<Self> {
        (&open.file).seek(SeekFrom::Start(offset))?;
        let seen = Fingerprint::take(&open.file, offset)?;
        let splitter = Splitter::new(offset, limit);
        Ok(Self { path: path.to_owned(), open: Arc::new(open), splitter, seen, silent_since: None, gap: None })
    }

    /// The file being read.
    pub(crate) fn current(&self) -> &Arc<Open> {
        &self.open
    }

    /// Where in it the first line begins that was not handed out.
    pub(crate) fn offset(&self) -> u64 {
        self.splitter.start()
    }

    /// Does what can be done now.
    pub(crate) fn step(&mut self, now: Instant) -> io::Result<Step> {
        if let Some(offset) = self.gap.take() {
            return Ok(Step::Gap(offset));
        }
        if self.open.file.metadata()?.len() == self.splitter.taken() {
            return self.at_the_end(now);
        }
        if !self.seen.matches(&self.open.file) {
            return self.leave_truncated();
        }
        self.splitter.read_from(&mut &self.open.file)?;
        self.silent_since = None;
        // An error here means that the file was truncated just now; the old fingerprint will tell, next time.
        self.seen = Fingerprint::take(&self.open.file, self.splitter.taken()).unwrap_or(self.seen);
        let lines = std::iter::from_fn(|| self.splitter.next_line()).collect();
        Ok(Step::Lines(Arc::clone(&self.open), lines))
    }

    fn at_the_end(&mut self, now: Instant) -> io::Result<Step> {
        match fs::metadata(&self.path) {
            Ok(metadata) if FileId::of(&metadata) == self.open.id => Ok(Step::Idle),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Step::Idle), // Between two renames.
            Err(error) => Err(error),
            Ok(_) if now.duration_since(*self.silent_since.get_or_insert(now)) < FAREWELL => Ok(Step::Idle),
            Ok(_) => {
                let rotated_next = siblings::successor(&self.path, &self.open.file.metadata()?)?;
                let next = rotated_next.map_or_else(|| File::open(&self.path), Ok)?;
                self.go_on_with(next)
            }
        }
    }

    /// Somebody copied the file and truncated it: the copy has what we did not read.
    fn leave_truncated(&mut self) -> io::Result<Step> {
        let taken = self.splitter.taken();
        let copy = if self.seen.is_telling() { find_copy(&self.path, &self.seen)? } else { None };
        if let Some(mut copy) = copy {
            copy.seek(SeekFrom::Start(taken))?;
            self.open = Arc::new(Open::new(copy, self.open.incarnation)?);
            return Ok(Step::Lines(Arc::clone(&self.open), Vec::new()));
        }
        self.gap = self.seen.is_telling().then_some(taken);
        self.go_on_with(File::open(&self.path)?)
    }

    fn go_on_with(&mut self, next: File) -> io::Result<Step> {
        let last = self.splitter.finish().into_iter().collect();
        let next = Open::new(next, self.open.incarnation.wrapping_add(1))?;
        self.seen = Fingerprint::take(&next.file, 0)?;
        self.splitter.restart(0);
        self.silent_since = None;
        let left = std::mem::replace(&mut self.open, Arc::new(next));
        Ok(Step::Lines(left, last))
    }
}

impl Open {
    fn new(file: File, incarnation: u32) -> io::Result<Self> {
        let id = FileId::of(&file.metadata()?);
        Ok(Self { incarnation, file, id })
    }
}

/// The file in which `place` is: still at its path, under the name it was rotated to, or as a copy.
fn find(path: &Path, place: &Place) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) if place.file == FileId::of(&file.metadata()?) && place.seen.matches(&file) => return Ok(Some(file)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let siblings = Sibling::all(path)?;
    if let Some(file) = siblings.iter().find_map(|sibling| sibling.open_if_same(place.file, &place.seen)) {
        return Ok(Some(file));
    }
    if place.seen.is_telling() { find_copy(path, &place.seen) } else { Ok(None) }
}

fn find_copy(path: &Path, seen: &Fingerprint) -> io::Result<Option<File>> {
    Ok(Sibling::all(path)?.iter().find_map(|sibling| sibling.open_if_alike(seen)))
}

#[cfg(test)]
mod tests;
