//! Reads a growing file line by line, through rotation: an old file to its end first, then what took its place.
//!
//! Nothing here sleeps or asks the clock: [`Tail::step`] does what can be done now. A last line without newline is
//! waited for as long as its file may still grow. An error is never the end: it is told once, and tried again.
//!
//! A file that was rotated away is left once it was silent for [`FAREWELL`] and a newer one has content, because its
//! writer may not have noticed yet. It is watched after that as well: lines that come late are read late.

mod queue;

use super::fingerprint::{Content, FileId, Fingerprint, HEAD};
use super::note::Note;
use super::reader::{Look, Open, Reader};
use super::recognise::{Recognised, recognise};
use super::surroundings::{Nearby, Surroundings, Trace};
use super::warning::Warning;
use crate::lines::Line;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a file that was rotated away must be silent: its writer may not have noticed yet.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a file that was left and removed is watched.
const REMOVED_WATCH: Duration = Duration::from_secs(10);
/// How many files that were left are watched.
pub(super) const LEFT_FILES_MAX: usize = 2;

/// What a step came to.
#[derive(Debug)]
pub(crate) enum Step {
    /// A file is read from this byte on.
    Begun(Arc<Open>, u64),
    /// Lines of this file.
    Lines(Arc<Open>, Vec<Line>),
    /// Nothing new now.
    Idle,
    /// Something that a person should know.
    Warning(Warning),
}

/// Follows one path.
pub(crate) struct Tail {
    path: PathBuf,
    limit: usize,
    /// Where an earlier run stopped, until that place is found.
    note: Option<Note>,
    /// The file being read; none as long as none is found.
    current: Option<Reader>,
    /// Files that were read and left, the newest last.
    left: Vec<Reader>,
    /// Files to read after the current one, opened when they were first seen so that removal cannot take them.
    queue: VecDeque<Reader>,
    /// Whether the current file is known to have been rotated away, so that what comes next is another.
    is_rotated: bool,
    /// Whether the current file is a copy that rotation made.
    is_copy: bool,
    warnings: VecDeque<Warning>,
    /// When something was created or renamed beside the current file, as of the last look.
    folder_changed: Option<(i64, i64)>,
    /// How long the next file was at the last look.
    next_length: u64,
    /// The last trouble that was told.
    trouble: Option<String>,
    next_line: u64,
}

impl Tail {
    /// Starts at the beginning of the file, or where `note` says, wherever that file is now. Lines may have `limit` bytes.
    pub(crate) fn start(path: &Path, note: Option<Note>, limit: usize) -> Self {
        Self {
            path: path.to_owned(),
            limit,
            note: note.filter(|note| !note.is_blank()),
            current: None,
            left: Vec::new(),
            queue: VecDeque::new(),
            is_rotated: false,
            is_copy: false,
            warnings: VecDeque::new(),
            folder_changed: None,
            next_length: 0,
            trouble: None,
            next_line: 1,
        }
    }

    /// Does what can be done now.
    pub(crate) fn step(&mut self, now: Instant) -> Step {
        if let Some(warning) = self.warnings.pop_front() {
            return Step::Warning(warning);
        }
        match self.advance(now) {
            Ok(Step::Lines(open, mut lines)) => {
                for line in &mut lines {
                    line.number = self.next_line;
                    self.next_line += 1;
                }
                Step::Lines(open, lines)
            }
            Ok(step) => {
                self.trouble = None;
                step
            }
            Err(error) => self.told_once(&error),
        }
    }

    fn told_once(&mut self, error: &io::Error) -> Step {
        let why = match error.kind() {
            io::ErrorKind::NotFound => "not there yet".to_owned(),
            _ => error.to_string(),
        };
        if self.trouble.as_ref() == Some(&why) {
            return Step::Idle;
        }
        self.trouble = Some(why.clone());
        Step::Warning(Warning::Waiting { file: self.path.clone(), why })
    }

    fn advance(&mut self, now: Instant) -> io::Result<Step> {
        if self.current.is_none() {
            return self.begin();
        }
        if self.may_be_another()
            && let Some(begun) = self.continue_in_copy()?
        {
            return Ok(begun);
        }
        let Some(current) = &mut self.current else { return Ok(Step::Idle) };
        let look = current.look(now);
        let open = Arc::clone(&current.open);
        let observed = self.observe(); // Also while there is much to read: a file may be gone soon.
        match look? {
            Look::Lines(lines) => Ok(Step::Lines(open, lines)),
            Look::Rewritten => self.find_again(),
            Look::Touched => Ok(Step::Warning(Warning::Touched { file: open.name().unwrap_or(self.path.clone()) })),
            Look::Nothing => match self.late_lines(now) {
                Some(lines) => Ok(lines),
                None => {
                    observed?;
                    self.leave_if_silent(now)
                }
            },
        }
    }

    /// Finds the first file to read.
    fn begin(&mut self) -> io::Result<Step> {
        self.queue.clear();
        let Some(note) = self.note.clone() else {
            let open = self.opened(&Nearby::open(self.path.clone())?)?;
            return Ok(self.read_on(Reader::new(open, Fingerprint::EMPTY, self.limit)));
        };
        let trace = note.trace();
        let surroundings = Surroundings::survey(&self.path, &trace, &[])?;
        match recognise(&surroundings.candidates, trace.seen.is_strong()) {
            Recognised::Unreadable => Err(surroundings.trouble(&trace)),
            Recognised::Gone => {
                self.queue_successors(&surroundings, None)?;
                self.queue_path(&surroundings)?;
                self.tell_gone(&surroundings, &trace, true);
                self.note = None;
                self.next_file(note.incarnation)
            }
            found @ (Recognised::Itself(at) | Recognised::Copy(at) | Recognised::Replacement(at)) => {
                let (file, id) = (surroundings.files[at].readable()?, surroundings.files[at].id);
                self.tell_found(found, &surroundings, &trace);
                self.is_copy = matches!(found, Recognised::Copy(_));
                self.is_rotated = self.is_copy;
                self.left = note.left_files(&surroundings, id, self.limit);
                self.note = None;
                // A replacement is believed only if nothing was rotated, so all that is there is older.
                let older = trace.older.filter(|_| !matches!(found, Recognised::Replacement(_)));
                let older = older.unwrap_or_else(|| surroundings.older_than(id));
                let (incarnation, target, read) = (note.incarnation, trace.target, Mutex::new(trace.seen));
                let open = Open { incarnation, file, id, older: Some(older), target, read };
                Ok(self.read_on(Reader::new(open, trace.seen, self.limit)))
            }
        }
    }

    fn read_on(&mut self, reader: Reader) -> Step {
        let begun = Step::Begun(Arc::clone(&reader.open), reader.splitter.start());
        self.current = Some(reader);
        begun
    }

    /// The files that are read, were read, or will be.
    fn taken(&self) -> Vec<FileId> {
        self.current.iter().chain(&self.left).chain(&self.queue).map(|reader| reader.open.id).collect()
    }

    /// Whether the current file may have been copied, truncated and written again with the same beginning since the last
    /// look: something was created beside it. A beginning longer than what is compared is no coincidence.
    fn may_be_another(&mut self) -> bool {
        let Some(current) = self.current.as_ref().filter(|current| current.splitter.taken() <= HEAD) else {
            return false;
        };
        let folder = current.open.target.as_deref().and_then(Path::parent);
        let changed =
            folder.and_then(|folder| fs::metadata(folder).ok()).map(|folder| (folder.mtime(), folder.mtime_nsec()));
        std::mem::replace(&mut self.folder_changed, changed) != changed
    }

    /// Lines that came to a file after it was left.
    fn late_lines(&mut self, now: Instant) -> Option<Step> {
        for at in (0..self.left.len()).rev() {
            let left = &mut self.left[at];
            let open = Arc::clone(&left.open);
            match left.look(now) {
                Ok(Look::Lines(lines)) => {
                    let file = open.name().unwrap_or(self.path.clone());
                    let warning = Warning::Late { file };
                    if !lines.is_empty() && !self.warnings.contains(&warning) {
                        self.warnings.push_back(warning);
                    }
                    return Some(Step::Lines(open, lines));
                }
                Ok(Look::Rewritten) | Err(_) => drop(self.left.remove(at)),
                Ok(Look::Touched | Look::Nothing) => {
                    let is_removed = open.file.metadata().map_or(true, |metadata| metadata.nlink() == 0);
                    let silent = left.silent_since.map_or(Duration::ZERO, |since| now.duration_since(since));
                    if is_removed && REMOVED_WATCH <= silent {
                        self.left.remove(at);
                    }
                }
            }
        }
        None
    }

    fn leave_if_silent(&mut self, now: Instant) -> io::Result<Step> {
        let Some(current) = &mut self.current else { return Ok(Step::Idle) };
        let Some(next) = self.queue.front() else { return Ok(Step::Idle) };
        let is_removed = current.open.file.metadata()?.nlink() == 0;
        if self.queue.len() == 1 && next.open.file.metadata()?.len() == 0 && !is_removed && !self.is_copy {
            current.silent_since = None; // As long as the next is empty, the writer has not changed over.
            return Ok(Step::Idle);
        }
        if !self.is_rotated && is_being_copied(&current.open.file, &next.open.file, &mut self.next_length)? {
            current.silent_since = None;
        }
        // A copy has no writer, and that of a file which was rotated twice has changed over; if not, its lines come late.
        let may_grow = self.queue.len() == 1 && !self.is_copy;
        if may_grow && now.duration_since(*current.silent_since.get_or_insert(now)) < FAREWELL {
            return Ok(Step::Idle);
        }
        self.leave()
    }

    /// Goes on with the next file; at the same position, if it holds all that was read of this one.
    fn leave(&mut self) -> io::Result<Step> {
        let Some(current) = &mut self.current else { return Ok(Step::Idle) };
        if !self.is_rotated && self.queue.len() == 1 {
            let next = &self.queue[0].open;
            let trace = current.trace();
            let surroundings = Surroundings::survey(&self.path, &trace, &[trace.id, next.id])?;
            let is_replaced = trace.seen.compare(&next.file)? == Content::Same && !surroundings.shows_rotation();
            if is_replaced {
                current.continue_in(next.file.try_clone()?, next.id);
                self.queue.clear();
                let (path, offset) = (self.path.clone(), trace.seen.offset());
                self.warnings.push_back(Warning::Replaced { path, offset });
                return Ok(Step::Begun(Arc::clone(&current.open), current.splitter.start()));
            }
        }
        let incarnation = current.open.incarnation;
        let (open, last) = (Arc::clone(&current.open), current.splitter.finish());
        if let Some(last) = last {
            return Ok(Step::Lines(open, vec![last])); // And leaves with the next step.
        }
        self.left.extend(self.current.take());
        if LEFT_FILES_MAX < self.left.len() {
            self.left.remove(0);
        }
        self.next_file(incarnation)
    }

    /// Begins the next file of the queue.
    fn next_file(&mut self, incarnation: u32) -> io::Result<Step> {
        (self.is_rotated, self.is_copy) = (1 < self.queue.len(), false);
        self.folder_changed = None; // It may have waited for long.
        let Some(mut next) = self.queue.pop_front() else { return Ok(Step::Idle) };
        if let Some(open) = Arc::get_mut(&mut next.open) {
            open.incarnation = incarnation.wrapping_add(1);
        }
        Ok(self.read_on(next))
    }

    /// Goes on in the copy that rotation made of the current file, if there is one.
    fn continue_in_copy(&mut self) -> io::Result<Option<Step>> {
        let Some(current) = &mut self.current else { return Ok(None) };
        let trace = current.trace();
        let others: Vec<FileId> = self.left.iter().chain(&self.queue).map(|reader| reader.open.id).collect();
        let surroundings = Surroundings::survey(&self.path, &trace, &others)?;
        let found = recognise(&surroundings.candidates, trace.seen.is_strong());
        let Recognised::Copy(at) = found else { return Ok(None) };
        current.continue_in(surroundings.files[at].readable()?, surroundings.files[at].id);
        let begun = Step::Begun(Arc::clone(&current.open), current.splitter.start());
        (self.is_rotated, self.is_copy) = (true, true);
        self.tell_found(found, &surroundings, &trace);
        Ok(Some(begun))
    }

    /// The current file was truncated or rewritten: a copy may have what was not read.
    fn find_again(&mut self) -> io::Result<Step> {
        if let Some(begun) = self.continue_in_copy()? {
            return Ok(begun);
        }
        let Some(current) = &mut self.current else { return Ok(Step::Idle) };
        let trace = current.trace();
        let surroundings = Surroundings::survey(&self.path, &trace, &[trace.id])?;
        let incarnation = current.open.incarnation;
        let (open, last) = (Arc::clone(&current.open), current.splitter.finish());
        if let Some(last) = last {
            return Ok(Step::Lines(open, vec![last])); // And looks again with the next step.
        }
        self.tell_gone(&surroundings, &trace, false);
        if self.queue.is_empty() {
            self.queue_successors(&surroundings, None)?;
            self.queue_path(&surroundings)?;
        }
        self.current = None;
        self.next_file(incarnation)
    }

    fn tell_found(&mut self, found: Recognised, surroundings: &Surroundings, trace: &Trace) {
        let (path, offset) = (self.path.clone(), trace.seen.offset());
        match found {
            Recognised::Replacement(_) => self.warnings.push_back(Warning::Replaced { path, offset }),
            Recognised::Copy(at) if !trace.seen.is_strong() => {
                let copy = surroundings.files[at].path.clone();
                self.warnings.push_back(match offset {
                    0 => Warning::UnsureSuccessor { path, file: copy },
                    _ => Warning::UnsureCopy { path, copy, offset },
                });
            }
            _ => {}
        }
    }

    fn tell_gone(&mut self, surroundings: &Surroundings, trace: &Trace, is_gone: bool) {
        let (path, offset) = (self.path.clone(), trace.seen.offset());
        if offset == 0 {
            return; // Nothing was read, so everything will be.
        }
        let (_, compressed) = surroundings.successors(None);
        let compressed = compressed.into_iter().map(|nearby| nearby.path.clone()).collect();
        self.warnings.push_back(match is_gone {
            true => Warning::Gone { path, offset, compressed },
            false => Warning::Rewritten { path, offset, compressed },
        });
    }
}

impl Reader {
    /// What it is recognised by.
    fn trace(&self) -> Trace {
        let Open { id, older, target, .. } = &*self.open;
        Trace { id: *id, seen: self.seen, older: older.clone(), target: target.clone() }
    }
}

/// Whether the next file is a beginning of the current one that grows: somebody puts a copy in its place.
fn is_being_copied(current: &File, next: &File, length_before: &mut u64) -> io::Result<bool> {
    let length = next.metadata()?.len();
    let grows = std::mem::replace(length_before, length) != length;
    if !grows || current.metadata()?.len() <= length {
        return Ok(false);
    }
    match Fingerprint::take(next, length) {
        Ok(beginning) => Ok(beginning.compare(current)? == Content::Same),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(true), // Written again just now.
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod situations;
#[cfg(test)]
mod tests;
