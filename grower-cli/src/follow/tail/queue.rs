//! Queues the files to read after the current one: those rotated since, then the one at the path.
//!
//! They are opened when first seen, so that rotation cannot remove them before they are read.

use super::FileTail;
use crate::follow::fingerprint::{FileIdentity, Fingerprint};
use crate::follow::reader::{FileReader, FollowedFile};
use crate::follow::recognise::{RotatedAs, Successors};
use crate::follow::surroundings::{FileTrace, NearbyFile, Surroundings};
use crate::follow::warning::Warning;
use parking_lot::Mutex;
use std::time::Instant;
use std::{fs, io};

impl FileTail {
    /// Queues a new file at the path, and before it the files that were rotated in between.
    pub(super) fn observe(&mut self, now: Instant) -> io::Result<()> {
        let metadata = match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()), // Between two renames.
            metadata => metadata?,
        };
        let id = FileIdentity::of(&metadata);
        let Some(current) = &self.current else { return Ok(()) };
        if current.open.id.is_same_file(id) || self.queue.iter().any(|queued| queued.open.id.is_same_file(id)) {
            return Ok(());
        }
        if let Some(at) = self.left.iter().position(|left| left.open.id.is_same_file(id)) {
            let back_again = self.left.remove(at);
            self.queue.push_back(back_again);
            return Ok(());
        }
        NearbyFile::open(self.path.clone(), None)?.readable()?; // Before any file is queued, because the step is retried.
        let last = self.queue.back().unwrap_or(current);
        let (trace, by_copying) = (last.trace(), last.open.is_copy);
        let surroundings = Surroundings::survey(&self.path, &trace, &self.taken())?;
        if self.defer_for_rotation(&surroundings, now) {
            return Ok(());
        }
        let rotated_as = surroundings.rotated_as(trace.id);
        self.is_rotated |= rotated_as.is_some() || surroundings.shows_rotation();
        self.queue_successors(&surroundings, rotated_as.as_ref(), by_copying)?;
        match surroundings.at_path() {
            Some(nearby) if !self.is_taken(nearby.id) => self.enqueue(nearby, &surroundings, false),
            _ => Ok(()), // Between two renames, or the file returned just now.
        }
    }

    fn is_taken(&self, id: FileIdentity) -> bool {
        self.taken().iter().any(|taken| taken.is_same_file(id))
    }

    /// Queues the files rotated since. `by_copying`: rotation copies the file at the path.
    pub(super) fn queue_successors(
        &mut self,
        around: &Surroundings,
        rotated_as: Option<&RotatedAs>,
        by_copying: bool,
    ) -> io::Result<()> {
        let Successors { readable, compressed } = around.successors(rotated_as, by_copying);
        for nearby in readable {
            if self.is_taken(nearby.id) {
                continue; // A second name of one file.
            }
            self.enqueue(nearby, around, by_copying)?;
            if rotated_as.is_none() {
                let (path, file) = (self.path.clone(), nearby.path.clone());
                self.warnings.push_back(Warning::UnsureSuccessor { path, file });
            }
        }
        if rotated_as.is_some() {
            let passed_over = compressed.iter().map(|nearby| Warning::Compressed { file: nearby.path.clone() });
            self.warnings.extend(passed_over);
        }
        Ok(())
    }

    /// Queues the file that was at the path during the survey. A later file may be there now.
    pub(super) fn queue_path(&mut self, around: &Surroundings) -> io::Result<()> {
        self.enqueue(around.at_path().ok_or(io::ErrorKind::NotFound)?, around, false)
    }

    /// Queues a file to read from its beginning. It gets its incarnation when it is started.
    fn enqueue(&mut self, nearby: &NearbyFile, around: &Surroundings, is_copy: bool) -> io::Result<()> {
        let target = nearby.target.clone();
        let (id, taken) = (nearby.id, self.taken());
        let older = match around.covers(target.as_deref()) {
            true => around.older_than(id, &taken),
            // A link now leads to another folder, whose rotations were not surveyed yet.
            false => {
                let trace = FileTrace { target: target.clone(), ..FileTrace::none() };
                Surroundings::survey(&self.path, &trace, &[])?.older_than(id, &taken)
            }
        };
        let (file, read) = (nearby.readable()?, Mutex::new(Fingerprint::EMPTY));
        let open = FollowedFile { incarnation: 0, file, id, is_copy, older: Some(older), target, read };
        self.queue.push_back(FileReader::new(open, Fingerprint::EMPTY, self.limit));
        Ok(())
    }
}
