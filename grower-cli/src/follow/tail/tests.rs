//! A writer, rotation and sometimes a crash, step by step and without waiting.

use super::*;
use crate::follow::{NoteKeeper, note_path};
use std::collections::BTreeMap;
use std::io::Write;

/// A log file in a directory of its own, and its follower.
pub(super) struct Stage {
    directory: tempfile::TempDir,
    /// The followed path.
    log: &'static str,
    now: Instant,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), log: "app.log", now: Instant::now() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn log(&self) -> PathBuf {
        self.path(self.log)
    }

    pub(super) fn append(&self, name: &str, text: &str) {
        let file = File::options().create(true).append(true).open(self.path(name));
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(super) fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    pub(super) fn copy(&self, from: &str, to: &str) {
        fs::copy(self.path(from), self.path(to)).unwrap();
    }

    pub(super) fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// Renames `app.log` to `app.log.1`, after each `app.log.N` to its successor, and begins it with `text`.
    pub(super) fn rotate(&self, text: &str) {
        for number in (1..9).rev().filter(|number| self.path(&format!("app.log.{number}")).exists()) {
            self.rename(&format!("app.log.{number}"), &format!("app.log.{}", number + 1));
        }
        self.rename("app.log", "app.log.1");
        self.append("app.log", text);
    }

    pub(super) fn follow(&self) -> Tail {
        Tail::start(&self.log(), None, 1000)
    }

    /// Everything that comes until nothing does for longer than a farewell takes: lines in a row, and warnings.
    pub(super) fn read(&mut self, tail: &mut Tail) -> (String, Vec<String>) {
        let (mut lines, mut warnings, mut idle) = (Vec::new(), Vec::new(), 0);
        while idle < 4 {
            match tail.step(self.now) {
                Step::Begun(..) => {}
                Step::Lines(_, read) => {
                    idle = 0;
                    let text = |line: Line| String::from_utf8(line.content.unwrap().to_vec()).unwrap();
                    lines.extend(read.into_iter().map(|line| text(line).replace(LONG.trim_end(), "long")));
                }
                Step::Warning(warning) => {
                    warnings.push(warning.to_string().replace(&format!("{}/", self.directory.path().display()), ""));
                }
                Step::Idle => {
                    idle += 1;
                    self.now += FAREWELL;
                }
            }
        }
        (lines.join(" "), warnings)
    }

    fn note_path(&self) -> PathBuf {
        note_path(&self.log(), "events", None).unwrap()
    }

    /// Everything that `tail` read so far is acknowledged and noted.
    pub(super) fn save(&self, tail: &Tail) {
        let (mut keeper, _) =
            NoteKeeper::open(self.note_path(), Note::blank("me".to_owned(), BTreeMap::new())).unwrap();
        let readers = tail.left.iter().chain(&tail.current);
        keeper.save(readers.map(|reader| (Arc::clone(&reader.open), reader.splitter.start()))).unwrap();
    }

    /// A new follower, as after a crash.
    pub(super) fn resume(&self) -> Tail {
        let blank = Note::blank("another".to_owned(), BTreeMap::new());
        let (_, note) = NoteKeeper::open(self.note_path(), blank).unwrap();
        Tail::start(&self.log(), note, 1000)
    }
}

pub(super) const LONG: &str = "one 0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrst\
uvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz01234\
56789abcdefghijklmnopqrstuvwxyz\n";

pub(super) fn one(stage: &Stage) {
    stage.append("app.log", "one\n");
}

#[test]
fn a_line_is_handed_out_once_it_is_whole() {
    let mut stage = Stage::new();
    stage.append("app.log", "one\ntw");
    let mut tail = stage.follow();
    assert_eq!(stage.read(&mut tail).0, "one");
    stage.append("app.log", "o\nthree\n");
    assert_eq!(stage.read(&mut tail).0, "two three");
}

#[test]
fn after_a_crash_it_goes_on_at_the_byte_noted() {
    let mut stage = Stage::new();
    stage.append("app.log", "one\ntwo\nhal");
    let mut tail = stage.follow();
    assert_eq!(stage.read(&mut tail).0, "one two");
    stage.save(&tail);
    drop(tail);
    stage.append("app.log", "f\n");
    let mut tail = stage.resume();
    assert_eq!(stage.read(&mut tail), ("half".to_owned(), vec![]));
}

#[test]
fn a_rotated_file_is_left_when_it_is_silent_and_the_next_has_content() {
    let mut stage = Stage::new();
    one(&stage);
    let mut tail = stage.follow();
    stage.read(&mut tail);
    stage.rotate("");
    stage.append("app.log.1", "two, and no newline");
    assert_eq!(stage.read(&mut tail).0, "");
    stage.append("app.log", "three\n");
    assert_eq!(stage.read(&mut tail), ("two, and no newline three".to_owned(), vec![]));
}

#[test]
fn lines_that_come_late_to_a_rotated_file_are_sent_late_also_after_a_crash() {
    let mut stage = Stage::new();
    one(&stage);
    let mut tail = stage.follow();
    stage.read(&mut tail);
    stage.rotate("three\n");
    assert_eq!(stage.read(&mut tail), ("three".to_owned(), vec![]));
    stage.append("app.log.1", "two\n");
    let (sent, warned) = stage.read(&mut tail);
    assert_eq!(sent, "two");
    assert!(
        matches!(&warned[..], [late] if late.contains("app.log.1 grew after a newer file was begun")),
        "{warned:?}"
    );
    stage.save(&tail);
    drop(tail);
    stage.append("app.log.1", "two and a half\n");
    stage.append("app.log", "four\n");
    let mut tail = stage.resume();
    assert_eq!(stage.read(&mut tail).0, "four two and a half");
}

#[test]
fn a_file_that_is_copied_and_truncated_again_before_its_turn_loses_nothing() {
    for begins in ["", "one\n"] {
        let mut stage = Stage::new();
        one(&stage);
        let mut tail = stage.follow();
        stage.read(&mut tail);
        let truncate = |line: &str| {
            stage.append("app.log", line);
            if stage.path("app.log.1").exists() {
                stage.rename("app.log.1", "app.log.2");
            }
            stage.copy("app.log", "app.log.1");
            stage.write("app.log", begins);
        };
        truncate("two\n");
        let mut steps = (0..10).map(|_| tail.step(stage.now));
        assert!(steps.any(|step| matches!(step, Step::Lines(_, lines) if !lines.is_empty())), "two");
        truncate("three\n");
        stage.append("app.log", "four\n");
        let expected = if begins.is_empty() { "three four" } else { "one three one four" };
        assert_eq!(stage.read(&mut tail).0, expected);
    }
}

#[test]
fn a_file_that_is_rotated_while_its_follower_looks_around_is_not_passed_over() {
    let mut stage = Stage::new();
    one(&stage);
    let mut tail = stage.follow();
    stage.read(&mut tail);
    stage.rotate("two\n");
    let trace = tail.current.as_ref().unwrap().trace();
    let around = Surroundings::survey(&stage.log(), &trace, &tail.taken()).unwrap();
    stage.rotate("three\n");
    tail.queue_successors(&around, around.rotated_as(trace.id).as_ref()).unwrap();
    tail.queue_path(&around).unwrap();
    assert_eq!(stage.read(&mut tail), ("two three".to_owned(), vec![]));
}

#[test]
fn no_line_is_lost_between_rotations_that_follow_each_other_at_once() {
    const ROTATIONS: u32 = 60;
    let mut stage = Stage::new();
    stage.append("app.log", "0\n");
    let mut tail = stage.follow();
    stage.read(&mut tail);
    let log = stage.log();
    let writer = std::thread::spawn(move || {
        let numbered = |number: u32| log.with_file_name(format!("app.log.{number}"));
        for rotation in 1..=ROTATIONS {
            for number in (1..rotation).rev() {
                fs::rename(numbered(number), numbered(number + 1)).unwrap();
            }
            fs::rename(&log, numbered(1)).unwrap();
            fs::write(&log, format!("{rotation}\n")).unwrap();
        }
    });
    let mut sent = Vec::new();
    while !writer.is_finished() {
        sent.push(stage.read(&mut tail).0);
    }
    writer.join().unwrap();
    sent.push(stage.read(&mut tail).0);
    let sent = sent.join(" ");
    let expected: Vec<String> = (1..=ROTATIONS).map(|line| line.to_string()).collect();
    assert_eq!(sent.split_whitespace().collect::<Vec<_>>(), expected);
}

#[test]
fn acks_that_come_after_the_file_was_truncated_and_written_again_lose_nothing_at_a_crash() {
    let mut stage = Stage::new();
    one(&stage);
    let mut tail = stage.follow();
    stage.read(&mut tail);
    stage.save(&tail);
    stage.append("app.log", "two\n");
    assert_eq!(stage.read(&mut tail).0, "two");
    stage.append("app.log", "three\n");
    stage.copy("app.log", "app.log.1");
    stage.write("app.log", "four\nfive\nsix\n");
    stage.save(&tail);
    drop(tail);
    let mut tail = stage.resume();
    assert_eq!(
        stage.read(&mut tail).0,
        "two three four five six",
        "the mark of the second line tells that it has arrived"
    );
}

#[test]
fn a_file_that_is_not_there_yet_is_waited_for_and_that_is_told_once() {
    let mut stage = Stage::new();
    let mut tail = stage.follow();
    let (sent, warned) = stage.read(&mut tail);
    assert!(sent.is_empty() && matches!(&warned[..], [told] if told.contains("app.log: not there yet")), "{warned:?}");
    one(&stage);
    assert_eq!(stage.read(&mut tail), ("one".to_owned(), vec![]));
}

#[test]
fn what_stands_at_the_path_for_a_moment_is_waited_out() {
    let mut stage = Stage::new();
    one(&stage);
    let mut tail = stage.follow();
    stage.read(&mut tail);
    stage.rename("app.log", "app.log.1");
    fs::create_dir(stage.path("app.log")).unwrap();
    let (sent, warned) = stage.read(&mut tail);
    assert!(sent.is_empty() && warned.len() == 1, "{warned:?}");
    fs::remove_dir(stage.path("app.log")).unwrap();
    stage.append("app.log", "two\n");
    assert_eq!(stage.read(&mut tail), ("two".to_owned(), vec![]));
}

#[test]
fn another_device_number_is_no_other_file() {
    let mut stage = Stage::new();
    one(&stage);
    let mut tail = stage.follow();
    stage.read(&mut tail);
    stage.save(&tail);
    drop(tail);
    let mut note: serde_json::Value = serde_json::from_slice(&fs::read(stage.note_path()).unwrap()).unwrap();
    note["file"]["device"] = 1.into();
    fs::write(stage.note_path(), note.to_string()).unwrap();
    stage.append("app.log", "two\n");
    assert_eq!(stage.read(&mut stage.resume()), ("two".to_owned(), vec![]));
    // Without a time of creation only the content tells, which is not certain.
    note["file"].as_object_mut().unwrap().remove("born");
    fs::write(stage.note_path(), note.to_string()).unwrap();
    let (sent, warned) = stage.read(&mut stage.resume());
    assert_eq!((sent.as_str(), warned.len()), ("two", 1));
}

fn check_link(target: &'static str, happens: fn(&Stage), sent: &str) {
    for is_away in [false, true] {
        let mut stage = Stage { log: "x.log", ..Stage::new() };
        fs::create_dir(stage.path("pods")).unwrap();
        point(&stage, target);
        stage.append(target, "one\n");
        let mut tail = stage.follow();
        assert_eq!(stage.read(&mut tail).0, "one");
        stage.save(&tail);
        happens(&stage);
        if is_away {
            tail = stage.resume();
        }
        assert_eq!(stage.read(&mut tail), (sent.to_owned(), vec![]), "away: {is_away}");
    }
}

/// Lets the followed link point elsewhere, at once.
fn point(stage: &Stage, target: &str) {
    std::os::unix::fs::symlink(target, stage.path("new")).unwrap();
    stage.rename("new", "x.log");
}

#[test]
fn a_followed_link_whose_target_is_rotated_loses_nothing() {
    let happens = |s: &Stage| {
        s.append("pods/0.log", "two\n");
        s.rename("pods/0.log", "pods/0.log.20261121-083000");
        s.append("pods/0.log", "three\n");
    };
    check_link("pods/0.log", happens, "two three");
}

#[test]
fn a_followed_link_that_gets_another_target_loses_nothing() {
    let happens = |s: &Stage| {
        s.append("pods/0.log", "two\n");
        s.append("pods/1.log", "three\n");
        point(s, "pods/1.log");
    };
    check_link("pods/0.log", happens, "two three");
    let happens = |s: &Stage| {
        s.append("pods/0.log", "two\n");
        s.rename("pods/0.log", "pods/0.log.20261121-083000");
        s.append("pods/0.log", "three\n");
        s.append("pods/1.log", "four\n");
        point(s, "pods/1.log");
    };
    check_link("pods/0.log", happens, "two three four");
}

#[test]
fn a_followed_link_to_a_file_of_each_day_loses_no_day() {
    let happens = |s: &Stage| {
        s.append("x.log-20261120", "two\n");
        s.append("x.log-20261121", "three\n");
        s.append("x.log-20261122", "four\n");
        point(s, "x.log-20261122");
    };
    check_link("x.log-20261120", happens, "two three four");
}

#[test]
fn rotations_in_a_folder_that_is_new_to_the_follower_are_not_read() {
    let mut stage = Stage { log: "current/app.log", ..Stage::new() };
    for release in ["1", "2"] {
        fs::create_dir(stage.path(release)).unwrap();
    }
    let folder = stage.directory.path().to_owned();
    let point = |release: &str| {
        std::os::unix::fs::symlink(release, folder.join("new")).unwrap();
        fs::rename(folder.join("new"), folder.join("current")).unwrap();
    };
    point("1");
    stage.append("1/app.log", "one\n");
    stage.append("2/app.log.1", "long ago\n");
    stage.append("2/app.log", "two\n");
    let mut tail = stage.follow();
    assert!(matches!(tail.step(stage.now), Step::Begun(..)));
    point("2");
    assert_eq!(stage.read(&mut tail), ("one two".to_owned(), vec![]));
}

#[test]
fn a_note_with_any_content_is_refused_or_gone_on_from() {
    let mut stage = Stage::new();
    stage.append("app.log.1", "before\n");
    stage.append("app.log", "one\ntwo\n");
    let mut tail = stage.follow();
    stage.read(&mut tail);
    stage.save(&tail);
    let note = stage.note_path();
    let sound = fs::read(&note).unwrap();
    let mut start = |content: &[u8]| {
        fs::write(&note, content).unwrap();
        let blank = Note::blank("another".to_owned(), BTreeMap::new());
        let Ok((_, note)) = NoteKeeper::open(note.clone(), blank) else { return false };
        stage.read(&mut Tail::start(&stage.log(), note, 1000));
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
    stage.rotate("three\n");
    let mut tail = stage.resume();
    assert_eq!(stage.read(&mut tail).0, "three");
    assert_eq!(tail.current.unwrap().open.incarnation, 0);
}

#[test]
fn a_note_of_an_earlier_version_is_gone_on_from() {
    let mut stage = Stage::new();
    one(&stage);
    let mut tail = stage.follow();
    stage.read(&mut tail);
    stage.save(&tail);
    let mut note: serde_json::Value = serde_json::from_slice(&fs::read(stage.note_path()).unwrap()).unwrap();
    for (object, fields) in [("", &["older", "target", "left"][..]), ("/file", &["born"]), ("/seen", &["wide"])] {
        let object = note.pointer_mut(object).unwrap().as_object_mut().unwrap();
        object.retain(|field, _| !fields.contains(&field.as_str()));
    }
    fs::write(stage.note_path(), note.to_string()).unwrap();
    stage.append("app.log", "two\n");
    stage.rotate("three\n");
    stage.rotate("four\n");
    assert_eq!(stage.read(&mut stage.resume()), ("two three four".to_owned(), vec![]));
}
