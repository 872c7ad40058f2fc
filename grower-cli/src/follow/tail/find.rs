//! Finds the file to read: at the start, when a rotation appears, and when the file was truncated or rewritten.

use super::FileTail;
use super::TailEvent;
use crate::follow::fingerprint::{FileIdentity, HEAD};
use crate::follow::note::Note;
use crate::follow::reader::{FileReader, FollowedFile};
use crate::follow::recognise::{CandidateLocation, Recognised};
use crate::follow::surroundings::{FileTrace, Surroundings};
use crate::follow::warning::Warning;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::time::Instant;

impl FileTail {
    /// Finds the first file to read.
    pub(super) fn begin(&mut self, now: Instant) -> io::Result<TailEvent> {
        self.queue.clear();
        let trace = self.note.as_ref().map_or(FileTrace::none(), Note::trace);
        let surroundings = Surroundings::survey(&self.path, &trace, &[])?;
        if self.defer_for_rotation(&surroundings, now) {
            return Ok(TailEvent::Idle);
        }
        let Some(note) = self.note.clone() else {
            self.queue_path(&surroundings)?;
            return self.next_file(u32::MAX);
        };
        match surroundings.recognise(&trace.seen) {
            Recognised::Unreadable => Err(surroundings.read_error(&trace)),
            Recognised::Gone => {
                self.queue_successors(&surroundings, None, trace.is_at_path(&surroundings))?;
                self.queue_path(&surroundings)?;
                self.report_gone(&surroundings, &trace, true);
                self.note = None;
                self.next_file(note.incarnation)
            }
            found @ (Recognised::Itself(at) | Recognised::Copy(at) | Recognised::Replacement(at)) => {
                let (file, id) = (surroundings.files[at].readable()?, surroundings.files[at].id);
                self.report_found(found, &surroundings, &trace);
                let is_at_path = surroundings.candidates[at].location == CandidateLocation::Path;
                let is_copy = matches!(found, Recognised::Copy(_)) || (note.is_copy() && !is_at_path);
                self.is_rotated = is_copy;
                self.left = note.left_files(&surroundings, id, self.limit);
                self.note = None;
                // A replacement is accepted only without a rotation, so every existing rotation is older.
                let older = trace.older.filter(|_| !matches!(found, Recognised::Replacement(_)));
                let older = older.unwrap_or_else(|| surroundings.older_than(id, &[id]));
                let (incarnation, target, read) = (note.incarnation, trace.target, Mutex::new(trace.seen));
                let open = FollowedFile { incarnation, file, id, is_copy, older: Some(older), target, read };
                Ok(self.read_on(FileReader::new(open, trace.seen, self.limit)))
            }
        }
    }

    /// Looks for a new rotation. True if the current file may have been copied, truncated and rewritten with the same
    /// beginning since the last check. An equal beginning longer than [`HEAD`] is not a coincidence.
    pub(super) fn check_for_rotation(&mut self, now: Instant) -> bool {
        let current = self.current.as_ref().filter(|current| current.splitter.taken() <= HEAD && !current.open.is_copy);
        let target = current.and_then(|current| current.open.target.as_deref());
        target.is_some_and(|target| self.watch.check_changed(&self.path, target, now))
    }

    /// Continues in the copy that rotation made of the current file, if there is one.
    pub(super) fn continue_in_copy(&mut self, now: Instant) -> io::Result<Option<TailEvent>> {
        let Some(trace) = self.current.as_ref().map(FileReader::trace) else { return Ok(None) };
        let found = match self.survey_for(&trace) {
            Ok(surroundings) if self.defer_for_rotation(&surroundings, now) => return Ok(Some(TailEvent::Idle)),
            Ok(surroundings) => {
                if surroundings.has_unread_copy() {
                    self.watch.reset();
                }
                self.continue_in_copy_of(&trace, &surroundings)
            }
            Err(error) => Err(error),
        };
        if found.is_err() {
            self.watch.reset(); // The detected rotation was not examined.
        }
        found
    }

    /// Surveys the files for the one with this trace.
    fn survey_for(&self, trace: &FileTrace) -> io::Result<Surroundings> {
        let others: Vec<FileIdentity> = self.left.iter().chain(&self.queue).map(|reader| reader.open.id).collect();
        Surroundings::survey(&self.path, trace, &others)
    }

    fn continue_in_copy_of(&mut self, trace: &FileTrace, surroundings: &Surroundings) -> io::Result<Option<TailEvent>> {
        let found = surroundings.recognise(&trace.seen);
        let (Recognised::Copy(at), Some(current)) = (found, &mut self.current) else { return Ok(None) };
        current.continue_in(surroundings.files[at].readable()?, surroundings.files[at].id, true);
        let begun = TailEvent::Begun(Arc::clone(&current.open), current.splitter.start());
        self.is_rotated = true;
        self.report_found(found, surroundings, trace);
        Ok(Some(begun))
    }

    /// Handles a truncated or rewritten file: a copy may have the unread lines.
    pub(super) fn find_again(&mut self, now: Instant) -> io::Result<TailEvent> {
        let Some(trace) = self.current.as_ref().map(FileReader::trace) else { return Ok(TailEvent::Idle) };
        let surroundings = self.survey_for(&trace)?;
        if self.defer_for_rotation(&surroundings, now) {
            return Ok(TailEvent::Idle);
        }
        if let Some(begun) = self.continue_in_copy_of(&trace, &surroundings)? {
            return Ok(begun);
        }
        surroundings.at_path().ok_or(io::ErrorKind::NotFound)?.readable()?; // Before any warning, because the step is retried.
        let Some(current) = &mut self.current else { return Ok(TailEvent::Idle) };
        let incarnation = current.open.incarnation;
        let (open, last) = (Arc::clone(&current.open), current.splitter.finish());
        if let Some(last) = last {
            return Ok(TailEvent::Lines(open, vec![last])); // The next step searches again.
        }
        self.report_gone(&surroundings, &trace, false);
        if self.queue.is_empty() {
            // From the survey that found no copy: a later copy is found when its file is read.
            self.queue_successors(&surroundings, None, trace.is_at_path(&surroundings))?;
            self.queue_path(&surroundings)?;
        }
        self.current = None;
        self.next_file(incarnation)
    }

    fn report_found(&mut self, found: Recognised, surroundings: &Surroundings, trace: &FileTrace) {
        let (path, offset) = (self.path.clone(), trace.seen.offset());
        match found {
            Recognised::Replacement(_) => self.warnings.push_back(Warning::Replaced { path, offset }),
            Recognised::Copy(at) if !trace.seen.enough_bytes_compared() => {
                let copy = surroundings.files[at].path.clone();
                self.warnings.push_back(match offset {
                    0 => Warning::UnsureSuccessor { path, file: copy },
                    _ => Warning::UnsureCopy { path, copy, offset },
                });
            }
            _ => {}
        }
    }

    fn report_gone(&mut self, surroundings: &Surroundings, trace: &FileTrace, is_gone: bool) {
        let (path, offset) = (self.path.clone(), trace.seen.offset());
        if offset == 0 {
            return; // No bytes were read, so none are missing.
        }
        let compressed = surroundings.successors(None, false).compressed;
        let compressed = compressed.into_iter().map(|nearby| nearby.path.clone()).collect();
        self.warnings.push_back(match is_gone {
            true => {
                let now = std::fs::canonicalize(&path).ok();
                let target = trace.target.clone().filter(|target| now.as_ref() != Some(target));
                Warning::Gone { path, target, offset, compressed }
            }
            false => Warning::Rewritten { path, offset, compressed },
        });
    }
}
