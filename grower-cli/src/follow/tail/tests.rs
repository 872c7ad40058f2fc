//! A writer, rotation and sometimes a crash, step by step and without waiting. [`SITUATIONS`] is the table of the module
//! documentation, row by row: each is tried with a follower that looks on, and with one that was killed before.

use super::*;
use crate::follow::{NoteKeeper, note_path};
use std::collections::BTreeMap;
use std::io::Write;

/// A log file in a directory of its own, and its follower.
struct Stage {
    directory: tempfile::TempDir,
    /// The followed path.
    log: &'static str,
    now: Instant,
}

impl Stage {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), log: "app.log", now: Instant::now() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn log(&self) -> PathBuf {
        self.path(self.log)
    }

    fn append(&self, name: &str, text: &str) {
        let file = File::options().create(true).append(true).open(self.path(name));
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn copy(&self, from: &str, to: &str) {
        fs::copy(self.path(from), self.path(to)).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// Renames `app.log` to `app.log.1`, after each `app.log.N` to its successor, and begins it with `text`.
    fn rotate(&self, text: &str) {
        for number in (1..9).rev().filter(|number| self.path(&format!("app.log.{number}")).exists()) {
            self.rename(&format!("app.log.{number}"), &format!("app.log.{}", number + 1));
        }
        self.rename("app.log", "app.log.1");
        self.append("app.log", text);
    }

    fn follow(&self) -> Tail {
        Tail::start(&self.log(), None, 1000)
    }

    /// Everything that comes until nothing does for longer than a farewell takes: lines in a row, and warnings.
    fn read(&mut self, tail: &mut Tail) -> (String, Vec<String>) {
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
    fn save(&self, tail: &Tail) {
        let (mut keeper, _) =
            NoteKeeper::open(self.note_path(), Note::blank("me".to_owned(), BTreeMap::new())).unwrap();
        let readers = tail.left.iter().chain(&tail.current);
        keeper.save(readers.map(|reader| (Arc::clone(&reader.open), reader.splitter.start()))).unwrap();
    }

    /// A new follower, as after a crash.
    fn resume(&self) -> Tail {
        let blank = Note::blank("another".to_owned(), BTreeMap::new());
        let (_, note) = NoteKeeper::open(self.note_path(), blank).unwrap();
        Tail::start(&self.log(), note, 1000)
    }
}

/// What happens to a file that was read, and what is sent and warned of then.
struct Situation {
    name: &'static str,
    before: fn(&Stage),
    happens: fn(&Stage),
    sent: &'static str,
    /// Words of each warning, in their order.
    warned: &'static [&'static str],
    /// Where the outcome is another if no follower looked on.
    away: Option<(&'static str, &'static [&'static str])>,
}

const LONG: &str = "one 0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrst\
uvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz01234\
56789abcdefghijklmnopqrstuvwxyz\n";

fn one(stage: &Stage) {
    stage.append("app.log", "one\n");
}

fn long(stage: &Stage) {
    stage.append("app.log", LONG);
}

const SITUATIONS: &[Situation] = &[
    Situation {
        name: "it grows",
        before: one,
        happens: |s| s.append("app.log", "two\n"),
        sent: "two",
        warned: &[],
        away: None,
    },
    Situation {
        name: "renamed, and a new one created",
        before: one,
        happens: |s| {
            s.append("app.log", "two\n");
            s.rotate("three\n");
        },
        sent: "two three",
        warned: &[],
        away: None,
    },
    Situation {
        name: "renamed to any name, and a new one created",
        before: one,
        happens: |s| {
            s.append("app.log", "two\n");
            s.rename("app.log", "app.log.old");
            s.append("app.log", "three\n");
        },
        sent: "two three",
        warned: &[],
        away: None,
    },
    Situation {
        name: "rotated several times, by numbers",
        before: one,
        happens: |s| {
            s.append("app.log", "two\n");
            ["three\n", "four\n", "five\n"].into_iter().for_each(|line| s.rotate(line));
            s.append("app.log.extra", "not a rotation by its name\n");
        },
        sent: "two three four five",
        warned: &[],
        away: None,
    },
    Situation {
        name: "rotated several times, by dates",
        before: one,
        happens: |s| {
            s.append("app.log", "two\n");
            s.rename("app.log", "app.log-20261120");
            s.append("app.log-20261122", "four\n");
            s.append("app.log-20261121", "three\n");
            s.append("app.log", "five\n");
        },
        sent: "two three four five",
        warned: &[],
        away: None,
    },
    Situation {
        name: "rotated twice, the newer rotation compressed",
        before: one,
        happens: |s| {
            s.rename("app.log", "app.log-20261120");
            s.append("app.log-20261121.gz", "compressed\n");
            s.append("app.log", "five\n");
        },
        sent: "five",
        warned: &["app.log-20261121.gz is compressed"],
        away: None,
    },
    Situation {
        name: "rotated, beside an old rotation that was unpacked since",
        before: |s| {
            one(s);
            s.append("app.log.2.gz", "compressed\n");
        },
        happens: |s| {
            s.append("app.log.2", "long ago\n");
            s.rename("app.log", "app.log.1");
            s.append("app.log", "two\n");
        },
        sent: "two",
        warned: &[],
        away: None,
    },
    Situation {
        name: "an old rotation with the same first line is unpacked, in place of the compressed one",
        before: |s| {
            one(s);
            s.append("app.log.2.gz", "compressed\n");
        },
        happens: |s| {
            s.remove("app.log.2.gz");
            s.append("app.log.2", "one\nlong ago\n");
            s.append("app.log", "two\n");
        },
        sent: "two",
        warned: &[],
        away: None,
    },
    Situation {
        name: "rotated and compressed at once",
        before: one,
        happens: |s| {
            s.append("app.log", "two\n");
            s.rotate("three\n");
            s.append("app.log.1.gz", "compressed\n");
            s.remove("app.log.1");
        },
        sent: "two three",
        warned: &[],
        away: Some(("three", &["app.log is not the file that was read up to byte 4"])),
    },
    Situation {
        name: "rotated and compressed at once, beside an old rotation that was unpacked since",
        before: |s| {
            one(s);
            s.append("app.log.1.gz", "compressed\n");
        },
        happens: |s| {
            s.rename("app.log.1.gz", "app.log.2.gz");
            s.append("app.log.2", "long ago\n");
            s.append("app.log.1.gz", "also compressed\n");
            s.remove("app.log");
            s.append("app.log", "two\n");
        },
        sent: "two",
        warned: &[],
        away: Some(("two", &["app.log is not the file that was read up to byte 4"])),
    },
    Situation {
        name: "rotated, compressed, and rotated again",
        before: one,
        happens: |s| {
            s.append("app.log.2.gz", "compressed\n");
            s.remove("app.log");
            s.append("app.log.1", "two\n");
            s.append("app.log", "three\n");
        },
        sent: "two three",
        warned: &["app.log.1 seems to have been rotated"],
        away: Some(("two three", &["app.log.1 seems to", "app.log is not the file"])),
    },
    Situation {
        name: "the writer changes over late",
        before: one,
        happens: |s| {
            s.rotate("");
            s.append("app.log.1", "two\n");
        },
        sent: "two",
        warned: &[],
        away: None,
    },
    Situation {
        name: "rotated with the same first line",
        before: one,
        happens: |s| {
            s.append("app.log", "two\n");
            s.rotate("one\nthree\n");
        },
        sent: "two one three",
        warned: &[],
        away: None,
    },
    Situation {
        name: "rotated and compressed, with the same first line",
        before: one,
        happens: |s| {
            s.rotate("one\nthree\n");
            s.append("app.log.1.gz", "compressed\n");
            s.remove("app.log.1");
        },
        sent: "one three",
        warned: &[],
        away: Some(("one three", &["app.log.1.gz is compressed and may hold them"])),
    },
    Situation {
        name: "copied and truncated",
        before: long,
        happens: |s| {
            s.append("app.log", "two\n");
            s.copy("app.log", "app.log.1");
            s.write("app.log", "three\n");
        },
        sent: "two three",
        warned: &[],
        away: None,
    },
    Situation {
        name: "copied and truncated when little was read",
        before: one,
        happens: |s| {
            s.append("app.log", "two\n");
            s.copy("app.log", "app.log-20261121");
            s.write("app.log", "three\n");
        },
        sent: "two three",
        warned: &["app.log-20261121 begins with the 4 bytes that were read of app.log"],
        away: None,
    },
    Situation {
        name: "copied and truncated, beside an older copy with the same first line",
        before: |s| {
            s.append("app.log.1", "one\nlong ago\n");
            one(s);
        },
        happens: |s| {
            s.append("app.log", "two\n");
            s.rename("app.log.1", "app.log.2");
            s.copy("app.log", "app.log.1");
            s.write("app.log", "three\n");
        },
        sent: "two three",
        warned: &["app.log.1 begins with the 4 bytes"],
        away: None,
    },
    Situation {
        name: "copied and truncated twice",
        before: long,
        happens: |s| {
            s.append("app.log", "two\n");
            s.copy("app.log", "app.log.1");
            s.write("app.log", "three\n");
            s.rename("app.log.1", "app.log.2");
            s.copy("app.log", "app.log.1");
            s.write("app.log", "four\n");
        },
        sent: "two three four",
        warned: &[],
        away: None,
    },
    Situation {
        name: "copied and truncated, and written with the same beginning",
        before: one,
        happens: |s| {
            s.append("app.log", "two\n");
            s.copy("app.log", "app.log.1");
            s.write("app.log", "one\nthree\n");
        },
        sent: "two one three",
        warned: &["app.log.1 begins with the 4 bytes"],
        away: None,
    },
    Situation {
        name: "copied and not truncated",
        before: one,
        happens: |s| {
            s.append("app.log", "two\n");
            s.copy("app.log", "app.log.1");
            s.append("app.log", "three\n");
        },
        sent: "two three",
        warned: &[],
        away: None,
    },
    Situation {
        name: "truncated, beside another file with the same beginning",
        before: |s| {
            one(s);
            s.append("other.log", "one\nof another file\n");
            s.append("app.log.1", "one\nlong ago\n");
        },
        happens: |s| s.write("app.log", "something-longer\n"),
        sent: "something-longer",
        warned: &["app.log was truncated or rewritten after it was read up to byte 4"],
        away: Some(("something-longer", &["app.log is not the file that was read up to byte 4"])),
    },
    Situation {
        name: "written again with the same length",
        before: one,
        happens: |s| s.write("app.log", "two\n"),
        sent: "two",
        warned: &["app.log was truncated or rewritten"],
        away: Some(("two", &["app.log is not the file"])),
    },
    Situation {
        name: "written again with the same length, beginning and end",
        before: |s| s.append("app.log", &format!("{LONG}state=1\n{LONG}")),
        happens: |s| s.write("app.log", &format!("{LONG}state=2\n{LONG}")),
        sent: "long state=2 long",
        warned: &["app.log was truncated or rewritten"],
        away: Some(("long state=2 long", &["app.log is not the file"])),
    },
    Situation {
        name: "written again with the same length and content",
        before: long,
        happens: |s| s.write("app.log", LONG),
        sent: "",
        warned: &[],
        away: None,
    },
    Situation {
        name: "truncated and grown past what was read",
        before: long,
        happens: |s| s.write("app.log", &format!("two\n{LONG}{LONG}")),
        sent: "two long long",
        warned: &["app.log was truncated or rewritten"],
        away: Some(("two long long", &["app.log is not the file"])),
    },
    Situation {
        name: "truncated to nothing",
        before: one,
        happens: |s| s.write("app.log", ""),
        sent: "",
        warned: &["app.log was truncated or rewritten"],
        away: Some(("", &["app.log is not the file"])),
    },
    Situation {
        name: "replaced by a longer copy",
        before: long,
        happens: |s| {
            s.copy("app.log", "edited");
            s.append("edited", "two\n");
            s.rename("edited", "app.log");
        },
        sent: "two",
        warned: &["app.log is another file than before and begins with the same"],
        away: None,
    },
    Situation {
        name: "replaced by a longer copy while the old file has another name",
        before: |s| {
            long(s);
            fs::hard_link(s.path("app.log"), s.path("kept")).unwrap();
        },
        happens: |s| {
            s.copy("app.log", "edited");
            s.append("edited", "two\n");
            s.rename("edited", "app.log");
        },
        sent: "two",
        warned: &["app.log is another file than before"],
        away: None,
    },
    Situation {
        name: "replaced by other content",
        before: one,
        happens: |s| {
            s.append("new", "two\n");
            s.rename("new", "app.log");
        },
        sent: "two",
        warned: &[],
        away: Some(("two", &["app.log is not the file that was read up to byte 4"])),
    },
    Situation {
        name: "removed, and created again with the same inode",
        before: one,
        happens: |s| {
            s.remove("app.log");
            s.append("app.log", "of-another-life\n"); // Often the very inode of the file that was removed.
        },
        sent: "of-another-life",
        warned: &[],
        away: Some(("of-another-life", &["app.log is not the file"])),
    },
    Situation {
        name: "removed, its inode passed to a neighbour with the same beginning",
        before: one,
        happens: |s| {
            s.remove("app.log");
            s.append("other.log", "one\nof another file\n");
            s.append("app.log", "two\n");
        },
        sent: "two",
        warned: &[],
        away: Some(("two", &["app.log is not the file"])),
    },
    Situation {
        name: "given a second name that looks like a rotation",
        before: one,
        happens: |s| {
            fs::hard_link(s.path("app.log"), s.path("app.log.1")).unwrap();
            s.append("app.log", "two\n");
        },
        sent: "two",
        warned: &[],
        away: None,
    },
    Situation {
        name: "rotated by a hard link, which got two names",
        before: one,
        happens: |s| {
            s.append("app.log", "two\n");
            s.rotate("three\n");
            s.rotate("four\n");
            fs::hard_link(s.path("app.log.1"), s.path("app.log.0")).unwrap();
        },
        sent: "two three four",
        warned: &[],
        away: None,
    },
    Situation {
        name: "begun empty, then rotated",
        before: |s| s.append("app.log", ""),
        happens: |s| {
            s.append("app.log", "two\n");
            s.rotate("three\n");
        },
        sent: "two three",
        warned: &[],
        away: None,
    },
    Situation {
        name: "begun empty, removed, and its inode passed to a neighbour",
        before: |s| s.append("app.log", ""),
        happens: |s| {
            s.remove("app.log");
            s.append("other.log", "of another file\n");
            s.append("app.log", "two\n");
        },
        sent: "two",
        warned: &[],
        away: None,
    },
    Situation {
        name: "rotated, and all files copied to another file system",
        before: |s| {
            s.append("app.log.1", &LONG.replace("one", "before"));
            long(s);
        },
        happens: |s| {
            for name in ["app.log", "app.log.1"] {
                s.copy(name, "copied");
                s.remove(name);
                s.rename("copied", name);
            }
            s.append("app.log", "two\n");
        },
        sent: "two",
        warned: &["app.log is another file than before and begins with the same"],
        away: None,
    },
    Situation {
        name: "a directory for a moment",
        before: one,
        happens: |s| {
            s.rename("app.log", "app.log.1");
            fs::create_dir(s.path("app.log")).unwrap();
            s.append("app.log.1", "two\n");
        },
        sent: "two",
        warned: &["app.log: is a directory: waiting"],
        away: Some(("", &["app.log: is a directory: waiting"])),
    },
];

#[test]
fn every_situation_of_the_table_is_handled_while_the_follower_looks_on() {
    let handled = |situation: &Situation| {
        let mut stage = Stage::new();
        (situation.before)(&stage);
        let mut tail = stage.follow();
        stage.read(&mut tail);
        (situation.happens)(&stage);
        difference(situation.name, stage.read(&mut tail), (situation.sent, situation.warned))
    };
    let differences: Vec<String> = SITUATIONS.iter().filter_map(handled).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn every_situation_of_the_table_is_handled_after_a_crash() {
    let handled = |situation: &Situation| {
        let mut stage = Stage::new();
        (situation.before)(&stage);
        let mut tail = stage.follow();
        stage.read(&mut tail);
        stage.save(&tail);
        drop(tail);
        (situation.happens)(&stage);
        let mut tail = stage.resume();
        let expected = situation.away.unwrap_or((situation.sent, situation.warned));
        let found = difference(situation.name, stage.read(&mut tail), expected);
        found.or_else(|| difference(situation.name, stage.read(&mut tail), ("", &[])))
    };
    let differences: Vec<String> = SITUATIONS.iter().filter_map(handled).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn difference(name: &str, found: (String, Vec<String>), expected: (&str, &[&str])) -> Option<String> {
    let are_told = found.1.iter().zip(expected.1).all(|(warning, words)| warning.contains(words));
    let is_as_expected = found.0 == expected.0 && are_told && found.1.len() == expected.1.len();
    (!is_as_expected).then(|| format!("{name}: {found:#?} in place of {expected:#?}"))
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
