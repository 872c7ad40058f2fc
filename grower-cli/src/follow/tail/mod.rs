//! Reads a growing file line by line, through rotation: an old file to its end first, then its successor.
//!
//! Nothing here sleeps or reads the clock: [`FileTail::step`] does the work that is possible now. A last line without
//! newline is kept back while its file may still grow. An error never ends the tail: it is reported once, and the
//! step is retried.
//!
//! Rotation may run during a check of the files. New bytes are accepted only after it is certain that the file was
//! not copied and truncated before. A survey during a rotation is repeated.
//!
//! A rotated file is left once it was silent for [`SILENCE_MIN`] and a newer one has content, because its writer may
//! still append. It is watched after that as well: late lines are read late.

mod find;
mod queue;

use super::fingerprint::{Content, FileIdentity, Fingerprint};
use super::folder_watch::FolderWatch;
use super::note::Note;
use super::reader::{FileReader, FollowedFile, ReadOutcome};
use super::recognise::Recognised;
use super::surroundings::{FileTrace, RunningRotation, Surroundings};
use super::warning::Warning;
use crate::lines::Line;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a rotated file must be silent before it is left: its writer may still append.
const SILENCE_MIN: Duration = Duration::from_secs(1);
/// How long a left and removed file is watched.
const REMOVED_WATCH: Duration = Duration::from_secs(10);
/// The longest duration of a rotation. A state that lasts longer is not one.
const ROTATION_MAX: Duration = Duration::from_secs(1);
/// Limit of left files that are watched.
pub(super) const LEFT_FILES_MAX: usize = 2;

/// The result of a step.
#[derive(Debug)]
pub(crate) enum TailEvent {
    /// Starts a file at this byte.
    Begun(Arc<FollowedFile>, u64),
    /// Lines of this file.
    Lines(Arc<FollowedFile>, Vec<Line>),
    /// No news.
    Idle,
    /// A warning to report.
    Warning(Warning),
}

/// Follows one path.
pub(crate) struct FileTail {
    path: PathBuf,
    limit: usize,
    /// The note of an earlier run, until its file is found.
    note: Option<Note>,
    /// The file being read, once one is found.
    current: Option<FileReader>,
    /// Files that were read and left, the newest last.
    left: Vec<FileReader>,
    /// Files to read after the current one. They are opened when first seen, so that their removal loses nothing.
    queue: VecDeque<FileReader>,
    /// Whether the current file is known to be rotated, so that the next one is another file.
    is_rotated: bool,
    warnings: VecDeque<Warning>,
    /// The rotations next to the current file.
    watch: FolderWatch,
    /// A running rotation: since when, and when it was seen last.
    running_rotation: Option<(RunningRotation, Instant, Instant)>,
    /// Time of the last search for rotations of the next file.
    next_checked_at: Option<Instant>,
    /// Length of the next file at the last check.
    next_length: u64,
    /// The last reported error.
    last_error: Option<String>,
    next_line: u64,
}

impl FileTail {
    /// Starts at the beginning of the file, or at the position of `note`, wherever its file is now. Lines may have
    /// `limit` bytes.
    pub(crate) fn start(path: &Path, note: Option<Note>, limit: usize) -> Self {
        Self {
            path: path.to_owned(),
            limit,
            note: note.filter(|note| !note.is_blank()),
            current: None,
            left: Vec::new(),
            queue: VecDeque::new(),
            is_rotated: false,
            warnings: VecDeque::new(),
            watch: FolderWatch::default(),
            running_rotation: None,
            next_checked_at: None,
            next_length: 0,
            last_error: None,
            next_line: 1,
        }
    }

    /// Does the work that is possible now.
    pub(crate) fn step(&mut self, now: Instant) -> TailEvent {
        if let Some(warning) = self.warnings.pop_front() {
            return TailEvent::Warning(warning);
        }
        match self.advance(now) {
            Ok(TailEvent::Lines(open, mut lines)) => {
                for line in &mut lines {
                    line.number = self.next_line;
                    self.next_line += 1;
                }
                TailEvent::Lines(open, lines)
            }
            Ok(step) => {
                self.last_error = None;
                step
            }
            Err(error) => self.warn_once(&error),
        }
    }

    fn warn_once(&mut self, error: &io::Error) -> TailEvent {
        let why = match error.kind() {
            io::ErrorKind::NotFound => "not there yet".to_owned(),
            _ => error.to_string(),
        };
        if self.last_error.as_ref() == Some(&why) {
            return TailEvent::Idle;
        }
        self.last_error = Some(why.clone());
        TailEvent::Warning(Warning::Waiting { file: self.path.clone(), why })
    }

    fn advance(&mut self, now: Instant) -> io::Result<TailEvent> {
        let Some(current) = &mut self.current else { return self.begin(now) };
        let outcome = current.read_new(now);
        let open = Arc::clone(&current.open);
        let observed = self.observe(now); // Also while there is much to read, because a file may vanish soon.
        let outcome = outcome?;
        if matches!(outcome, ReadOutcome::Rewritten) {
            return self.find_again(now);
        }
        // After the read: if it found lines of a rewritten file, the copy of the former content is visible now.
        // The path may be unreadable while the file is elsewhere and readable.
        if self.check_for_rotation(now)
            && let Ok(Some(step)) = self.continue_in_copy(now)
        {
            return Ok(step);
        }
        match (outcome, &mut self.current) {
            (ReadOutcome::Bytes(bytes), Some(current)) => Ok(TailEvent::Lines(open, current.accept(&bytes)?)),
            (ReadOutcome::Touched, _) => {
                Ok(TailEvent::Warning(Warning::Touched { file: open.name().unwrap_or(self.path.clone()) }))
            }
            _ => match self.late_lines(now)? {
                Some(lines) => Ok(lines),
                None => {
                    observed?;
                    self.leave_if_silent(now)
                }
            },
        }
    }

    /// Notes whether a rotation is running. True if the survey is to be repeated later.
    fn defer_for_rotation(&mut self, around: &Surroundings, now: Instant) -> bool {
        let Some(why) = &around.running_rotation else {
            self.running_rotation = None;
            return false;
        };
        let since = match &self.running_rotation {
            Some((before, since, last)) if before == why && now.duration_since(*last) <= ROTATION_MAX => *since,
            _ => now,
        };
        self.running_rotation = Some((why.clone(), since, now));
        let is_waiting = now.duration_since(since) < ROTATION_MAX;
        if is_waiting {
            self.watch.reset();
        }
        is_waiting
    }

    fn read_on(&mut self, reader: FileReader) -> TailEvent {
        let begun = TailEvent::Begun(Arc::clone(&reader.open), reader.splitter.start());
        self.current = Some(reader);
        begun
    }

    /// The files that are being read, left or queued.
    fn taken(&self) -> Vec<FileIdentity> {
        self.current.iter().chain(&self.left).chain(&self.queue).map(|reader| reader.open.id).collect()
    }

    /// Reads lines that were appended to a file after it was left.
    fn late_lines(&mut self, now: Instant) -> io::Result<Option<TailEvent>> {
        for at in (0..self.left.len()).rev() {
            let left = &mut self.left[at];
            let open = Arc::clone(&left.open);
            match left.read_new(now) {
                Ok(ReadOutcome::Bytes(bytes)) => {
                    let lines = left.accept(&bytes)?;
                    let file = open.name().unwrap_or(self.path.clone());
                    let warning = Warning::Late { file };
                    if !lines.is_empty() && !self.warnings.contains(&warning) {
                        self.warnings.push_back(warning);
                    }
                    return Ok(Some(TailEvent::Lines(open, lines)));
                }
                Ok(ReadOutcome::Rewritten) | Err(_) => drop(self.left.remove(at)),
                Ok(ReadOutcome::Touched | ReadOutcome::Nothing) => {
                    let is_removed = open.file.metadata().map_or(true, |metadata| metadata.nlink() == 0);
                    let silent = left.silent_since.map_or(Duration::ZERO, |since| now.duration_since(since));
                    if is_removed && REMOVED_WATCH <= silent {
                        self.left.remove(at);
                    }
                }
            }
        }
        Ok(None)
    }

    fn leave_if_silent(&mut self, now: Instant) -> io::Result<TailEvent> {
        let Some(current) = &mut self.current else { return Ok(TailEvent::Idle) };
        let Some(next) = self.queue.front() else { return Ok(TailEvent::Idle) };
        let (is_removed, is_copy) = (current.open.file.metadata()?.nlink() == 0, current.open.is_copy);
        let is_next_empty = self.queue.len() == 1 && next.open.file.metadata()?.len() == 0;
        if is_next_empty && !is_removed && !is_copy && self.check_next_unused(now)? {
            return Ok(TailEvent::Idle);
        }
        let (Some(current), Some(next)) = (&mut self.current, self.queue.front()) else { return Ok(TailEvent::Idle) };
        if !self.is_rotated && is_being_copied(&current.open.file, &next.open.file, &mut self.next_length)? {
            current.silent_since = None;
        }
        // A copy has no writer. The writer of a file rotated twice has moved on; if not, its lines come late.
        let may_grow = self.queue.len() == 1 && !is_copy;
        if may_grow && now.duration_since(*current.silent_since.get_or_insert(now)) < SILENCE_MIN {
            return Ok(TailEvent::Idle);
        }
        self.leave(now)
    }

    /// Checks whether the empty next file never had lines. If it was copied and truncated, its copy has them.
    fn check_next_unused(&mut self, now: Instant) -> io::Result<bool> {
        let Some(next) = self.queue.front() else { return Ok(true) };
        let is_due = self.next_checked_at.is_none_or(|last| SILENCE_MIN <= now.duration_since(last));
        if is_due {
            let around = Surroundings::survey(&self.path, &next.trace(), &self.taken())?;
            if around.running_rotation.is_none() && matches!(around.recognise(&next.seen), Recognised::Copy(_)) {
                return Ok(false);
            }
            self.next_checked_at = Some(now);
        }
        if let Some(current) = &mut self.current {
            current.silent_since = None; // While the next file is unused, the writer still appends to this one.
        }
        Ok(true)
    }

    /// Continues with the next file, at the same position if it contains all bytes read of this one.
    fn leave(&mut self, now: Instant) -> io::Result<TailEvent> {
        let Some(current) = &mut self.current else { return Ok(TailEvent::Idle) };
        if !self.is_rotated && self.queue.len() == 1 {
            let next = &self.queue[0].open;
            let trace = current.trace();
            let next_id = next.id;
            let surroundings = Surroundings::survey(&self.path, &trace, &[trace.id, next_id])?;
            if self.defer_for_rotation(&surroundings, now) {
                return Ok(TailEvent::Idle);
            }
            let (Some(current), next) = (&mut self.current, &self.queue[0].open) else { return Ok(TailEvent::Idle) };
            let is_replaced = trace.seen.compare(&next.file)? == Content::Same && !surroundings.shows_rotation();
            if is_replaced {
                current.continue_in(next.file.try_clone()?, next.id, false);
                self.queue.clear();
                let (path, offset) = (self.path.clone(), trace.seen.offset());
                self.warnings.push_back(Warning::Replaced { path, offset });
                return Ok(TailEvent::Begun(Arc::clone(&current.open), current.splitter.start()));
            }
        }
        let Some(current) = &mut self.current else { return Ok(TailEvent::Idle) };
        let incarnation = current.open.incarnation;
        let (open, last) = (Arc::clone(&current.open), current.splitter.finish());
        if let Some(last) = last {
            return Ok(TailEvent::Lines(open, vec![last])); // The next step leaves the file.
        }
        self.left.extend(self.current.take());
        if LEFT_FILES_MAX < self.left.len() {
            self.left.remove(0);
        }
        self.next_file(incarnation)
    }

    /// Starts the next file of the queue.
    fn next_file(&mut self, incarnation: u32) -> io::Result<TailEvent> {
        self.is_rotated = 1 < self.queue.len();
        self.watch.reset(); // The next file may have waited for a long time.
        self.next_checked_at = None;
        let Some(mut next) = self.queue.pop_front() else { return Ok(TailEvent::Idle) };
        if let Some(open) = Arc::get_mut(&mut next.open) {
            open.incarnation = incarnation.wrapping_add(1);
        }
        Ok(self.read_on(next))
    }
}

impl FileReader {
    /// Returns the facts by which the file is recognised.
    pub(super) fn trace(&self) -> FileTrace {
        let FollowedFile { id, older, target, .. } = &*self.open;
        FileTrace { id: *id, seen: self.seen, older: older.clone(), target: target.clone() }
    }
}

/// Whether the next file is a growing prefix of the current one: an unfinished copy in its place.
fn is_being_copied(current: &File, next: &File, length_before: &mut u64) -> io::Result<bool> {
    let length = next.metadata()?.len();
    let grows = std::mem::replace(length_before, length) != length;
    if !grows || current.metadata()?.len() <= length {
        return Ok(false);
    }
    match Fingerprint::take(next, length) {
        Ok(beginning) => Ok(beginning.compare(current)? == Content::Same),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(true), // Rewritten just now.
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
