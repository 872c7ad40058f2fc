//! Each test plays a writer, a rotation and sometimes a crash, step by step, without waiting.

use super::*;
use crate::follow::place::Keeper;
use std::collections::BTreeMap;
use std::io::Write;

/// A log file in a directory of its own, and its follower.
struct Stage {
    directory: tempfile::TempDir,
    now: Instant,
}

impl Stage {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), now: Instant::now() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn log(&self) -> PathBuf {
        self.path("app.log")
    }

    fn append(&self, name: &str, text: &str) {
        let file = File::options().create(true).append(true).open(self.path(name));
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn follow(&self) -> Tail {
        Tail::start(&self.log(), None, 1000).unwrap()
    }

    /// Everything that comes until nothing does for longer than a farewell takes; gaps are told as such.
    fn read(&mut self, tail: &mut Tail) -> Vec<String> {
        let mut read = Vec::new();
        let mut idle = 0;
        while idle < 3 {
            match tail.step(self.now).unwrap() {
                Step::Lines(_, lines) => {
                    idle = 0;
                    let text = |line: Line| String::from_utf8(line.content.unwrap().to_vec()).unwrap();
                    read.extend(lines.into_iter().map(text));
                }
                Step::Gap(at) => read.push(format!("gap after {at}")),
                Step::Idle => {
                    idle += 1;
                    self.now += FAREWELL;
                }
            }
        }
        read
    }

    /// Everything read so far is acknowledged and noted.
    fn note(&self, tail: &Tail) {
        let note = Keeper::path_for(&self.log(), "events");
        Keeper::begin(note, "me".to_owned(), tail.current(), tail.offset(), BTreeMap::new()).unwrap();
    }

    /// A new follower, as after a crash.
    fn resume(&self) -> Tail {
        let place = Keeper::load(&Keeper::path_for(&self.log(), "events")).unwrap();
        Tail::start(&self.log(), place.as_ref(), 1000).unwrap()
    }
}

#[test]
fn a_line_is_handed_out_once_it_is_whole() {
    let mut stage = Stage::new();
    stage.append("app.log", "one\ntw");
    let mut tail = stage.follow();
    assert_eq!(stage.read(&mut tail), ["one"]);
    stage.append("app.log", "o\nthree\n");
    assert_eq!(stage.read(&mut tail), ["two", "three"]);
}

#[test]
fn a_rotated_file_is_read_to_its_end_before_the_new_one() {
    let mut stage = Stage::new();
    stage.append("app.log", "one\n");
    let mut tail = stage.follow();
    assert_eq!(stage.read(&mut tail), ["one"]);
    stage.append("app.log", "two\n");
    stage.rename("app.log", "app.log.1");
    stage.append("app.log", "four\n");
    assert!(matches!(tail.step(stage.now).unwrap(), Step::Lines(_, lines) if lines.len() == 1));
    assert!(matches!(tail.step(stage.now).unwrap(), Step::Idle)); // The writer may still hold the old file.
    stage.append("app.log.1", "three, and no newline");
    assert_eq!(stage.read(&mut tail), ["three, and no newline", "four"]);
}

#[test]
fn between_two_renames_there_is_no_file_for_a_moment() {
    let mut stage = Stage::new();
    stage.append("app.log", "one\n");
    let mut tail = stage.follow();
    stage.rename("app.log", "app.log.1");
    assert_eq!(stage.read(&mut tail), ["one"]);
    stage.append("app.log", "two\n");
    assert_eq!(stage.read(&mut tail), ["two"]);
}

#[test]
fn files_rotated_meanwhile_are_read_oldest_first() {
    let mut stage = Stage::new();
    stage.append("app.log", "one\n");
    let mut tail = stage.follow();
    assert_eq!(stage.read(&mut tail), ["one"]);
    stage.note(&tail);
    drop(tail);
    stage.append("app.log", "two\n");
    for (older, line) in [(0, "three\n"), (1, "four\n"), (2, "five\n")] {
        for number in (1..=older).rev() {
            stage.rename(&format!("app.log.{number}"), &format!("app.log.{}", number + 1));
        }
        stage.rename("app.log", "app.log.1");
        stage.append("app.log", line);
    }
    stage.append("app.log.gz", "not a rotation by its name\n");
    let mut tail = stage.resume();
    assert_eq!(stage.read(&mut tail), ["two", "three", "four", "five"]);
}

#[test]
fn after_a_crash_it_goes_on_at_the_byte_noted() {
    let mut stage = Stage::new();
    stage.append("app.log", "one\ntwo\nhal");
    let mut tail = stage.follow();
    assert_eq!(stage.read(&mut tail), ["one", "two"]);
    stage.note(&tail);
    drop(tail);
    stage.append("app.log", "f\n");
    let mut tail = stage.resume();
    assert_eq!(stage.read(&mut tail), ["half"]);
}

#[test]
fn a_file_copied_and_truncated_loses_nothing() {
    let mut stage = Stage::new();
    stage.append("app.log", "one\ntw");
    let mut tail = stage.follow();
    assert_eq!(stage.read(&mut tail), ["one"]);
    stage.append("app.log", "o\nthree\n");
    fs::copy(stage.log(), stage.path("app.log.1")).unwrap();
    fs::write(stage.log(), "four\n").unwrap();
    assert_eq!(stage.read(&mut tail), ["two", "three", "four"]);
}

#[test]
fn a_file_truncated_and_grown_past_the_place_is_noticed() {
    let mut stage = Stage::new();
    stage.append("app.log", "one\n");
    let mut tail = stage.follow();
    assert_eq!(stage.read(&mut tail), ["one"]);
    fs::write(stage.log(), "something longer\n").unwrap();
    assert_eq!(stage.read(&mut tail), ["gap after 4", "something longer"]);
}

#[test]
fn a_file_copied_and_truncated_while_nobody_followed_loses_nothing() {
    let mut stage = Stage::new();
    stage.append("app.log", "one\n");
    let mut tail = stage.follow();
    assert_eq!(stage.read(&mut tail), ["one"]);
    stage.note(&tail);
    drop(tail);
    stage.append("app.log", "two\n");
    fs::copy(stage.log(), stage.path("app.log-20261121")).unwrap();
    fs::write(stage.log(), "three\n").unwrap();
    let mut tail = stage.resume();
    assert_eq!(stage.read(&mut tail), ["two", "three"]);
}

#[test]
fn a_file_that_is_gone_for_good_is_told() {
    let mut stage = Stage::new();
    stage.append("app.log", "one\n");
    let mut tail = stage.follow();
    assert_eq!(stage.read(&mut tail), ["one"]);
    stage.note(&tail);
    drop(tail);
    fs::remove_file(stage.log()).unwrap();
    stage.append("app.log", "of another life\n"); // Often the very inode of the file that was removed.
    let mut tail = stage.resume();
    assert_eq!(stage.read(&mut tail), ["gap after 4", "of another life"]);
    assert_eq!(tail.current().incarnation, 1);
}

#[test]
fn two_followers_of_one_file_are_one_too_many() {
    let stage = Stage::new();
    stage.append("app.log", "one\n");
    let tail = stage.follow();
    let note = Keeper::path_for(&stage.log(), "events");
    let begin = || Keeper::begin(note.clone(), "me".to_owned(), tail.current(), 0, BTreeMap::new());
    let first = begin().unwrap();
    assert!(begin().is_err());
    drop(first);
    assert!(begin().is_ok());
}

#[test]
fn a_note_with_any_content_is_refused_or_gone_on_from() {
    let mut stage = Stage::new();
    stage.append("app.log", "one\ntwo\n");
    let mut tail = stage.follow();
    stage.read(&mut tail);
    stage.note(&tail);
    let note = Keeper::path_for(&stage.log(), "events");
    let sound = fs::read(&note).unwrap();
    let mut start = |content: &[u8]| {
        fs::write(&note, content).unwrap();
        let Ok(place) = Keeper::load(&note) else { return false };
        let mut tail = Tail::start(&stage.log(), place.as_ref(), 1000).unwrap();
        stage.read(&mut tail);
        true
    };
    assert!(start(&sound));
    for at in 0..sound.len() {
        assert!(!start(&sound[..at]), "cut at {at}");
        for byte in [0, b'9', b'-', b'"', 0xff] {
            let mut changed = sound.clone();
            changed[at] = byte;
            start(&changed);
        }
    }
    // The greatest that each number can be, and more.
    let text = String::from_utf8(sound).unwrap();
    let numbers = text.match_indices(|letter: char| letter.is_ascii_digit());
    for (at, _) in numbers {
        for most in [u32::MAX.to_string(), u64::MAX.to_string(), "1".repeat(400)] {
            start(format!("{}{most}{}", &text[..at], &text[at + 1..]).as_bytes());
        }
    }
    // After the last number that a file can have comes the first.
    fs::write(&note, text.replace("\"incarnation\":0", "\"incarnation\":4294967295")).unwrap();
    stage.rename("app.log", "app.log.1");
    stage.append("app.log", "three\n");
    let mut tail = stage.resume();
    assert_eq!(stage.read(&mut tail), ["three"]);
    assert_eq!(tail.current().incarnation, 0);
}
