//! Decides which file continues a followed one, and which files come after it: pure functions of facts.
//!
//! [`recognise`] decides after a restart, and when a followed file was truncated, rewritten or replaced.
//! [`successors`] decides when another file is at the path. The table in [`super`] lists the situations.

use super::fingerprint::Content;
use super::rotation::{Rotation, Suffix};
use std::cmp::Ordering;

/// The facts about one file near the followed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) location: CandidateLocation,
    /// Whether it is the file that was read, by inode and time of creation or device.
    pub(super) is_same_file: bool,
    /// Comparison of its content with the bytes read; none if it is unreadable.
    pub(super) content: Option<Content>,
    /// Whether it was rotated away before the file that was read was begun.
    pub(super) is_known: bool,
    /// Whether it may hold unread bytes that the file at the path lacks.
    pub(super) is_ahead_of_path: bool,
    /// Whether the file at the path begins with all its bytes: it may be an unfinished copy of that file.
    pub(super) is_beginning_of_path: bool,
    /// Whether it is longer than the bytes read.
    pub(super) is_longer: bool,
    /// Whether it is being read or queued.
    pub(super) is_taken: bool,
}

impl Candidate {
    /// Whether rotation named it by a suffix after the extension.
    fn is_plain_rotation(&self) -> bool {
        matches!(&self.location, CandidateLocation::Rotated(scheme, _) if !scheme.is_before_extension)
    }
}

/// Where a candidate was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CandidateLocation {
    /// At the followed path, links resolved.
    Path,
    /// At the former target of the followed link.
    FormerTarget,
    /// Next to one of these, under the name of a rotation.
    Rotated(RotationScheme, Rotation),
    /// Next to one of these, under another name.
    Elsewhere,
}

/// The rule that reads a name as a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RotationScheme {
    /// Index of the name that was rotated.
    pub(super) base: usize,
    /// Whether the suffix is before the extension, which counts only once the file that was read got such a name.
    pub(super) is_before_extension: bool,
}

/// The position of a file among the rotations of a name.
pub(super) type RotatedAs = (RotationScheme, Suffix);

/// The file that continues the one that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recognised {
    /// The same file.
    Itself(usize),
    /// A copy made by rotation before it truncated or removed the file.
    Copy(usize),
    /// Another file at the path that begins with all bytes read: an edited or restored file.
    Replacement(usize),
    /// The same file, or the path, is unreadable now.
    Unreadable,
    /// None.
    Gone,
}

/// The files between the one that was read and the one at the path, in reading order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Successors<File> {
    pub(super) readable: Vec<File>,
    /// These are skipped.
    pub(super) compressed: Vec<File>,
}

/// Finds the file that continues the one that was read. The comments name rows of the table in [`super`].
pub(super) fn recognise(candidates: &[Candidate], enough_bytes_compared: bool) -> Recognised {
    let find = |wanted: &dyn Fn(&Candidate) -> bool| candidates.iter().position(wanted);
    let is_path = |c: &&Candidate| c.location == CandidateLocation::Path;
    debug_assert!(candidates.iter().filter(is_path).count() <= 1, "at most one candidate is at the path");
    let path = find(&|c| is_path(&c));
    let is_itself = |c: &Candidate| c.is_same_file && matches!(c.content, Some(Content::Same | Content::Unknown));
    let itself = path.filter(|at| is_itself(&candidates[*at])).or_else(|| find(&is_itself));
    if let Some(itself) = itself {
        // Row: copied, then truncated, and written again with the same beginning. The copy has more bytes. Else,
        // rows: it grows; renamed, a new file at the path.
        let copy = oldest(candidates, |c| !c.is_same_file && c.is_ahead_of_path && is_copy(c, candidates));
        let copy = copy.filter(|_| candidates[itself].location == CandidateLocation::Path);
        return copy.map_or(Recognised::Itself(itself), Recognised::Copy);
    }
    let has_content = |c: &Candidate| c.content == Some(Content::Same);
    // Row: copied, then truncated.
    if let Some(copy) = oldest(candidates, |c| has_content(c) && c.is_ahead_of_path && is_copy(c, candidates)) {
        return Recognised::Copy(copy);
    }
    // Row: missing, unreadable, or not a regular file.
    if candidates.iter().any(|c| c.is_same_file && c.content.is_none()) {
        return Recognised::Unreadable;
    }
    let was_rotated = candidates.iter().any(|c| c.is_ahead_of_path && is_fresh(c, candidates));
    match path {
        // Row: missing, unreadable, or not a regular file.
        None => Recognised::Unreadable,
        Some(path) if candidates[path].content.is_none() => Recognised::Unreadable,
        // Row: another file at the path that begins with all bytes read.
        Some(path) if has_content(&candidates[path]) && !was_rotated => Recognised::Replacement(path),
        Some(_) => {
            // Row: truncated or rewritten; or renamed, but the old file is compressed or removed. If that was
            // unpacked since, it is read: its content is the proof, because its age among compressed neighbours is
            // not known.
            let is_unpacked = |c: &Candidate| {
                enough_bytes_compared && has_content(c) && c.is_plain_rotation() && !c.is_known && !c.is_taken
            };
            oldest(candidates, is_unpacked).map_or(Recognised::Gone, Recognised::Copy)
        }
    }
}

/// Returns the files to read between the one that was read and the one at the path. `rotated_as` is the suffix that
/// the file that was read got, if known. If rotation copies, a copy of the file at the path counts only once that
/// file is truncated.
pub(super) fn successors(
    candidates: &[Candidate],
    rotated_as: Option<&RotatedAs>,
    by_copying: bool,
) -> Successors<usize> {
    let is_later = |c: &Candidate| match (&c.location, rotated_as) {
        (CandidateLocation::Rotated(base, rotation), Some((own_base, own))) => {
            base == own_base && rotation.suffix.is_newer_than(own) && !c.is_known
        }
        (CandidateLocation::Rotated(..), None) => is_fresh(c, candidates),
        (CandidateLocation::FormerTarget, _) => !c.is_known,
        _ => false,
    };
    let is_read = |c: &Candidate| c.is_taken || (by_copying && c.is_beginning_of_path);
    let mut later: Vec<usize> =
        (0..candidates.len()).filter(|at| is_later(&candidates[*at]) && !is_read(&candidates[*at])).collect();
    later.sort_by(|a, b| reading_order(&candidates[*a].location, &candidates[*b].location));
    let (compressed, readable) = later.into_iter().partition(|at| is_compressed(&candidates[*at]));
    Successors { readable, compressed }
}

/// Whether it is a rotation newer than all that existed before, so that it was rotated since.
pub(super) fn is_fresh(candidate: &Candidate, candidates: &[Candidate]) -> bool {
    let CandidateLocation::Rotated(base, rotation) = &candidate.location else { return false };
    if !candidate.is_plain_rotation() {
        return false;
    }
    let is_older = |c: &Candidate| match &c.location {
        CandidateLocation::Rotated(other_base, other) if other_base == base => {
            let is_old = c.is_known || (other.compressed && !rotation.compressed);
            !is_old || rotation.suffix.age_order(&other.suffix).is_none_or(Ordering::is_gt)
        }
        _ => true,
    };
    !candidate.is_known && !is_behind_gap(candidate, candidates) && candidates.iter().all(is_older)
}

/// Whether it is numbered, and the number before is missing. A finished rotation leaves no gap, so another program
/// created a
/// `.2` without a `.1`.
fn is_behind_gap(candidate: &Candidate, candidates: &[Candidate]) -> bool {
    let CandidateLocation::Rotated(base, Rotation { suffix: Suffix::Number(own @ 2..), .. }) = &candidate.location
    else {
        return false;
    };
    let is_next_to = |c: &Candidate| matches!(&c.location, CandidateLocation::Rotated(other_base, other) if other_base == base && other.suffix == Suffix::Number(own - 1));
    !candidates.iter().any(is_next_to)
}

/// Returns the rotations that may or may not be new: there is a gap, as during a rotation, when `.1` was renamed to
/// `.2` and the next `.1` does not exist yet.
pub(super) fn undecided(candidates: &[Candidate]) -> Vec<usize> {
    let is_new = |c: &Candidate| !c.is_known && !c.is_taken && !is_compressed(c);
    let is_undecided = |c: &Candidate| is_new(c) && c.is_plain_rotation() && is_behind_gap(c, candidates);
    (0..candidates.len()).filter(|at| is_undecided(&candidates[*at])).collect()
}

/// Whether a copy of the file at the path holds unread bytes. The file holds them too, until it is truncated, which
/// changes no name.
pub(super) fn has_unread_copy(candidates: &[Candidate]) -> bool {
    let is_unread = |c: &Candidate| !c.is_same_file && c.is_longer && !c.is_ahead_of_path && is_copy(c, candidates);
    candidates.iter().any(is_unread)
}

fn is_copy(candidate: &Candidate, candidates: &[Candidate]) -> bool {
    let may_have_it = matches!(candidate.content, Some(Content::Same | Content::Unknown));
    may_have_it && !candidate.is_taken && !is_compressed(candidate) && is_fresh(candidate, candidates)
}

fn is_compressed(candidate: &Candidate) -> bool {
    matches!(&candidate.location, CandidateLocation::Rotated(_, rotation) if rotation.compressed)
}

/// Returns the first `wanted` rotation in reading order.
fn oldest(candidates: &[Candidate], wanted: impl Fn(&Candidate) -> bool) -> Option<usize> {
    let is_rotation = |c: &Candidate| matches!(c.location, CandidateLocation::Rotated(..));
    (0..candidates.len())
        .filter(|at| is_rotation(&candidates[*at]) && wanted(&candidates[*at]))
        .min_by(|a, b| reading_order(&candidates[*a].location, &candidates[*b].location))
}

/// Orders rotations first, the older before the newer, then the former target of the link.
fn reading_order(a: &CandidateLocation, b: &CandidateLocation) -> Ordering {
    match (a, b) {
        (CandidateLocation::Rotated(base_a, a), CandidateLocation::Rotated(base_b, b)) => {
            base_a.cmp(base_b).then_with(|| a.suffix.reading_order(&b.suffix))
        }
        (a, b) => matches!(b, CandidateLocation::Rotated(..)).cmp(&matches!(a, CandidateLocation::Rotated(..))),
    }
}

#[cfg(test)]
mod tests;
