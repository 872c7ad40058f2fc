//! A log file in a temporary directory, which tests write, rotate and follow.

use super::super::*;
use crate::follow::{NoteKeeper, TopicSpan, note_path};
use grower_client::ids::TopicId;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;

/// A log file in a directory of its own, and its follower.
pub(in crate::follow::tail) struct LogFolder {
    pub(in crate::follow::tail) directory: tempfile::TempDir,
    /// The followed path.
    pub(in crate::follow::tail) log: &'static str,
    pub(in crate::follow::tail) now: Instant,
    /// The time that passes while the tail has nothing to do.
    pub(in crate::follow::tail) idle_pause: Duration,
}

impl LogFolder {
    pub(in crate::follow::tail) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), log: "app.log", now: Instant::now(), idle_pause: SILENCE_MIN }
    }

    pub(in crate::follow::tail) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(in crate::follow::tail) fn log(&self) -> PathBuf {
        self.path(self.log)
    }

    pub(in crate::follow::tail) fn append(&self, name: &str, text: &str) {
        let file = File::options().create(true).append(true).open(self.path(name));
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    pub(in crate::follow::tail) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(in crate::follow::tail) fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    pub(in crate::follow::tail) fn copy(&self, from: &str, to: &str) {
        fs::copy(self.path(from), self.path(to)).unwrap();
    }

    pub(in crate::follow::tail) fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// Renames each `app.log.N` to the next number and `app.log` to `app.log.1`, then creates `app.log` with `text`.
    pub(in crate::follow::tail) fn rotate(&self, text: &str) {
        self.shift_rotations();
        self.rename("app.log", "app.log.1");
        self.append("app.log", text);
    }

    /// Renames each `app.log.N` to the next number.
    pub(in crate::follow::tail) fn shift_rotations(&self) {
        for number in (1..9).rev().filter(|number| self.path(&format!("app.log.{number}")).exists()) {
            self.rename(&format!("app.log.{number}"), &format!("app.log.{}", number + 1));
        }
    }

    pub(in crate::follow::tail) fn follow(&self) -> FileTail {
        FileTail::start(&self.log(), None, 1000)
    }

    /// Reads until the tail is idle for longer than [`SILENCE_MIN`]. Returns the lines in a row, and the warnings.
    pub(in crate::follow::tail) fn read(&mut self, tail: &mut FileTail) -> (String, Vec<String>) {
        let (mut lines, mut warnings, mut idle) = (Vec::new(), Vec::new(), 0);
        while idle < 4 {
            match tail.step(self.now) {
                TailEvent::Begun(..) => {}
                TailEvent::Lines(_, read) => {
                    idle = 0;
                    let text = |line: Line| String::from_utf8(line.content.unwrap().to_vec()).unwrap();
                    lines.extend(read.into_iter().map(|line| text(line).replace(LONG.trim_end(), "long")));
                }
                TailEvent::Warning(warning) => {
                    warnings.push(warning.to_string().replace(&format!("{}/", self.directory.path().display()), ""));
                }
                TailEvent::Idle => {
                    idle += 1;
                    self.now += self.idle_pause;
                }
            }
        }
        (lines.join(" "), warnings)
    }

    pub(in crate::follow::tail) fn note_path(&self) -> PathBuf {
        note_path(&self.log(), "events", None).unwrap()
    }

    /// Saves a note as if every line that `tail` read were acknowledged.
    pub(in crate::follow::tail) fn save(&self, tail: &FileTail) {
        let (mut keeper, _) = NoteKeeper::open(self.note_path(), blank("me")).unwrap();
        let readers = tail.left.iter().chain(&tail.current);
        keeper.save(readers.map(|reader| (Arc::clone(&reader.open), reader.splitter.start()))).unwrap();
    }

    /// Starts a new follower, as after a crash.
    pub(in crate::follow::tail) fn resume(&self) -> FileTail {
        let blank = blank("another");
        let (_, note) = NoteKeeper::open(self.note_path(), blank).unwrap();
        FileTail::start(&self.log(), note, 1000)
    }
}

/// The note of a follower that has read nothing.
pub(in crate::follow::tail) fn blank(follower: &str) -> Note {
    let topic = TopicSpan { id: TopicId::from_random([1; 16]), partitions: BTreeMap::new() };
    Note::blank(follower.to_owned(), &topic)
}

pub(in crate::follow::tail) const LONG: &str = "one 0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrst\
uvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz01234\
56789abcdefghijklmnopqrstuvwxyz\n";

pub(in crate::follow::tail) fn one(log_folder: &LogFolder) {
    log_folder.append("app.log", "one\n");
}

pub(in crate::follow::tail) fn long(log_folder: &LogFolder) {
    log_folder.append("app.log", LONG);
}

pub(in crate::follow::tail) fn empty(log_folder: &LogFolder) {
    log_folder.append("app.log", "");
}

/// A folder with the file that `before` makes, and a tail that has read it.
pub(in crate::follow::tail) fn followed(before: fn(&LogFolder)) -> (LogFolder, FileTail) {
    let mut log_folder = LogFolder::new();
    before(&log_folder);
    let mut tail = log_folder.follow();
    log_folder.read(&mut tail);
    (log_folder, tail)
}
