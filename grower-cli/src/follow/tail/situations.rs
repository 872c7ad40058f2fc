//! The table of the module documentation, row by row: each is tried with a follower that looks on, and with one that was
//! killed before.

use super::tests::{LONG, Stage, one};
use std::fs;

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
        name: "rotated several times, by dates before the extension",
        before: one,
        happens: |s| {
            s.append("app.log", "two\n");
            s.rename("app.log", "app-20261120.log");
            s.append("app-20261121.log", "three\n");
            s.append("app.log", "four\n");
            s.append("app-1.log", "of another program\n");
        },
        sent: "two three four",
        warned: &[],
        away: None,
    },
    Situation {
        name: "rotated beside a file whose name could be a date before the extension",
        before: one,
        happens: |s| {
            s.rotate("two\n");
            s.append("app-20261121.log", "of another program\n");
        },
        sent: "two",
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
        name: "all files copied to another file system when little was read",
        before: |s| {
            s.append("app.log.1", "before\n");
            one(s);
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
        warned: &["app.log is another file than before and begins with the same 4 bytes"],
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
