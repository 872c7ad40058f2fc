//! The note of progress: up to which byte a followed file is acknowledged, so that the next run continues there.
//!
//! This module holds the content; [`keeper`] keeps it on disk.

mod keeper;

pub(crate) use keeper::{NoteError, NoteKeeper};

use super::fingerprint::{Content, FileIdentity, Fingerprint, KnownFile};
use super::line_mark::LineMark;
use super::reader::{FileReader, FollowedFile};
use super::surroundings::{FileTrace, Surroundings};
use super::tail::LEFT_FILES_MAX;
use grower_client::ids::{Offset, PartitionId, TopicId};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

/// The content of a note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    version: u32,
    /// The name of this follower in the marks of its records.
    pub(crate) follower: String,
    file: FileIdentity,
    /// The number of the file.
    pub(super) incarnation: u32,
    /// Fingerprint of the bytes before the first unacknowledged one.
    seen: Fingerprint,
    /// For each partition, the offset after the last known record of this follower.
    next: BTreeMap<PartitionId, Offset>,
    /// The id of the topic: a recreated topic has other records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    /// Whether the file is a copy made by rotation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    copy: bool,
    /// The rotations that existed when the file was begun. Notes of earlier versions lack this and the fields below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    older: Option<Vec<KnownFile>>,
    /// The path of the file when it was begun, links resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// Files that were left, to which a late writer may still append.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left: Vec<LeftFile>,
}

/// A file that was read to its end and left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LeftFile {
    file: FileIdentity,
    incarnation: u32,
    seen: Fingerprint,
}

/// The offsets of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicSpan {
    /// The id of the topic.
    pub(crate) id: TopicId,
    /// The offsets of each partition, from the log's start to the log's end.
    pub(crate) partitions: BTreeMap<PartitionId, Range<Offset>>,
}

/// The records that a topic lost since a note was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TopicLoss {
    /// All records: the topic was created again.
    CreatedAgain,
    /// These records.
    Records(Vec<(PartitionId, Range<Offset>)>),
}

/// Version of the format.
const VERSION: u32 = 1;
/// File numbers wrap around: this many numbers after one are later files, the others are earlier ones.
const INCARNATIONS_AHEAD_MAX: u32 = u32::MAX / 2 + 1;

impl Note {
    /// The note of a follower that has read nothing.
    pub(crate) fn blank(follower: String, topic: &TopicSpan) -> Self {
        Self {
            version: VERSION,
            follower,
            file: FileIdentity::NONE,
            incarnation: 0,
            seen: Fingerprint::EMPTY,
            next: topic.partitions.iter().map(|(partition, span)| (*partition, span.end)).collect(),
            topic: Some(topic.id.to_string()),
            copy: false,
            older: None,
            target: None,
            left: Vec::new(),
        }
    }

    /// Drops offsets of records that the topic no longer has, and returns the loss.
    fn adjust(&mut self, topic: &TopicSpan) -> Option<TopicLoss> {
        let id = topic.id.to_string();
        let before = self.topic.replace(id.clone());
        if before.is_some_and(|before| before != id) {
            self.next.clear();
            return Some(TopicLoss::CreatedAgain);
        }
        let end = |partition: &PartitionId| topic.partitions.get(partition).map_or(Offset::ZERO, |span| span.end);
        let lost = self.next.extract_if(.., |partition, next| end(partition) < *next);
        let lost: Vec<_> = lost.map(|(partition, next)| (partition, end(&partition)..next)).collect();
        (!lost.is_empty()).then_some(TopicLoss::Records(lost))
    }

    /// Returns the offset from which records are searched for arrived lines: the log start if nothing is known.
    pub(super) fn unknown_from(&self, partition: PartitionId) -> Offset {
        self.next.get(&partition).copied().unwrap_or_default()
    }

    /// Whether the note does not say that this line has arrived.
    pub(super) fn leaves_open(&self, line: LineMark) -> bool {
        let is_after = |seen: &Fingerprint| seen.offset() <= line.start;
        match line.incarnation.wrapping_sub(self.incarnation) {
            0 => is_after(&self.seen),
            1..INCARNATIONS_AHEAD_MAX => true,
            _ => self.left.iter().any(|left| left.incarnation == line.incarnation && is_after(&left.seen)),
        }
    }

    /// Parses a note; none if it is invalid, or of a later version.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(bytes).ok().filter(|note| note.version == VERSION)
    }

    /// Whether no file was begun yet.
    pub(super) fn is_blank(&self) -> bool {
        self.file == FileIdentity::NONE
    }

    /// Whether the file is a copy made by rotation.
    pub(super) fn is_copy(&self) -> bool {
        self.copy
    }

    /// Returns the facts by which the file is recognised.
    pub(super) fn trace(&self) -> FileTrace {
        let (older, target) = (self.older.as_deref().map(Into::into), self.target.as_ref().map(PathBuf::from));
        FileTrace { id: self.file, seen: self.seen, older, target }
    }

    /// Opens the files that were left and still exist, without the one being read.
    pub(super) fn left_files(&self, around: &Surroundings, current: FileIdentity, limit: usize) -> Vec<FileReader> {
        let reader = |left: &LeftFile| {
            let mut same = around.files.iter().filter(|nearby| nearby.id.is_same_file(left.file));
            let file = same.find_map(|nearby| nearby.readable().ok())?;
            let is_other = !left.file.is_same_file(current) && left.seen.compare(&file).ok()? == Content::Same;
            let read = Mutex::new(left.seen);
            let open = FollowedFile {
                incarnation: left.incarnation,
                file,
                id: left.file,
                is_copy: false,
                older: None,
                target: None,
                read,
            };
            is_other.then(|| FileReader::new(open, left.seen, limit))
        };
        self.left.iter().filter_map(reader).collect()
    }

    /// Remembers that every line of `open` before `end` is done.
    fn progress(&mut self, open: &FollowedFile, end: u64) -> io::Result<()> {
        let seen = match Fingerprint::take(&open.file, end) {
            // Truncated since: its old bytes cannot be fingerprinted. The marks in the topic still identify arrived
            // lines.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            seen => seen?,
        };
        if end != 0 && !open.begins_as_read()? {
            return Ok(()); // Truncated and rewritten since: it holds other bytes.
        }
        let (file, incarnation) = (open.id, open.incarnation);
        if incarnation != self.incarnation || self.is_blank() {
            if let Some(left) = self.left.iter_mut().find(|left| left.incarnation == incarnation) {
                (left.file, left.seen) = (file, seen);
                return Ok(());
            }
            if !self.is_blank() {
                if INCARNATIONS_AHEAD_MAX <= incarnation.wrapping_sub(self.incarnation) {
                    return Ok(()); // Late lines of a forgotten file.
                }
                self.left.push(LeftFile { file: self.file, incarnation: self.incarnation, seen: self.seen });
                let surplus = self.left.len().saturating_sub(LEFT_FILES_MAX);
                self.left.drain(..surplus);
            }
        }
        (self.file, self.incarnation, self.seen) = (file, incarnation, seen);
        self.copy = open.is_copy;
        self.older = open.older.as_deref().map(Into::into);
        self.target = open.target.as_ref().and_then(|target| target.to_str()).map(str::to_owned);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    /// A topic with one partition that holds `start..6`.
    pub(super) fn topic(id: u8, start: u64) -> TopicSpan {
        let partitions = [(PartitionId::new(0), Offset::new(start)..Offset::new(6))].into();
        TopicSpan { id: TopicId::from_random([id; 16]), partitions }
    }

    #[test]
    fn a_recreated_or_shortened_topic_invalidates_the_offsets_of_a_note() {
        let sent_up_to = |next: u64| {
            let mut note = Note::blank("me".to_owned(), &topic(1, 0));
            (note.file, note.next) =
                (FileIdentity::of(&fs::metadata("/").unwrap()), [(PartitionId::new(0), Offset::new(next))].into());
            note
        };
        let adjusted =
            |mut note: Note, topic: &TopicSpan| (note.adjust(topic), note.unknown_from(PartitionId::new(0)).value());
        assert_eq!(adjusted(sent_up_to(6), &topic(1, 2)), (None, 6));
        assert_eq!(adjusted(sent_up_to(6), &topic(2, 0)), (Some(TopicLoss::CreatedAgain), 0));
        let lost = TopicLoss::Records(vec![(PartitionId::new(0), Offset::new(6)..Offset::new(9))]);
        assert_eq!(adjusted(sent_up_to(9), &topic(1, 0)), (Some(lost), 0));
        let of_earlier_version = Note { topic: None, ..sent_up_to(3) };
        assert_eq!(adjusted(of_earlier_version, &topic(2, 0)), (None, 3));
        // The next run compares with the present topic.
        let mut note = sent_up_to(6);
        note.adjust(&topic(2, 0));
        assert_eq!(note.adjust(&topic(2, 0)), None);
    }

    #[test]
    fn a_line_before_the_noted_position_needs_no_mark() {
        let mut note = Note::blank("me".to_owned(), &topic(1, 0));
        let seen = |offset: u64| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&vec![b'x'; offset as usize]).unwrap();
            Fingerprint::take(&file, offset).unwrap()
        };
        let leaves_open = |note: &Note, incarnation, start| note.leaves_open(LineMark { incarnation, start });
        assert!(leaves_open(&note, 0, 0) && leaves_open(&note, 7, 0) && !leaves_open(&note, u32::MAX, 0));
        (note.incarnation, note.seen) = (u32::MAX, seen(100));
        note.left = vec![LeftFile { file: FileIdentity::NONE, incarnation: 9, seen: seen(5) }];
        assert!(leaves_open(&note, u32::MAX, 100) && !leaves_open(&note, u32::MAX, 99));
        assert!(leaves_open(&note, 0, 0), "the file after the last number");
        assert!(!leaves_open(&note, u32::MAX - 1, 0));
        let note = Note { incarnation: 10, ..note };
        assert!(leaves_open(&note, 9, 5) && !leaves_open(&note, 9, 4));
    }
}
