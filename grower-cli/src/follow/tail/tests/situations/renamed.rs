//! The file grows, or is renamed and created again.

use super::super::log_folder::one;
use super::{SILENT, Situation};
use std::fs;

pub(super) const SITUATIONS: &[Situation] = &[
    Situation { name: "it grows", happens: |s| s.append("app.log", "two\n"), sent: "two", ..SILENT },
    Situation {
        name: "renamed, and a new one created",
        happens: |s| {
            s.append("app.log", "two\n");
            s.rotate("three\n");
        },
        sent: "two three",
        ..SILENT
    },
    Situation {
        name: "renamed to any name, and a new one created",
        happens: |s| {
            s.append("app.log", "two\n");
            s.rename("app.log", "app.log.old");
            s.append("app.log", "three\n");
        },
        sent: "two three",
        ..SILENT
    },
    Situation {
        name: "rotated several times, by numbers",
        happens: |s| {
            s.append("app.log", "two\n");
            ["three\n", "four\n", "five\n"].into_iter().for_each(|line| s.rotate(line));
            s.append("app.log.extra", "not a rotation by its name\n");
        },
        sent: "two three four five",
        ..SILENT
    },
    Situation {
        name: "rotated several times, by dates",
        happens: |s| {
            s.append("app.log", "two\n");
            s.rename("app.log", "app.log-20261120");
            s.append("app.log-20261122", "four\n");
            s.append("app.log-20261121", "three\n");
            s.append("app.log", "five\n");
        },
        sent: "two three four five",
        ..SILENT
    },
    Situation {
        name: "rotated several times, by dates before the extension",
        happens: |s| {
            s.append("app.log", "two\n");
            s.rename("app.log", "app-20261120.log");
            s.append("app-20261121.log", "three\n");
            s.append("app.log", "four\n");
            s.append("app-1.log", "of another program\n");
        },
        sent: "two three four",
        ..SILENT
    },
    Situation {
        name: "rotated next to a file whose name could be a date before the extension",
        happens: |s| {
            s.rotate("two\n");
            s.append("app-20261121.log", "of another program\n");
        },
        sent: "two",
        ..SILENT
    },
    Situation {
        name: "rotated twice, the newer rotation compressed",
        happens: |s| {
            s.rename("app.log", "app.log-20261120");
            s.append("app.log-20261121.gz", "compressed\n");
            s.append("app.log", "five\n");
        },
        sent: "five",
        warned: &["app.log-20261121.gz is compressed"],
        ..SILENT
    },
    Situation {
        name: "rotated, next to an old rotation that was unpacked since",
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
        ..SILENT
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
        ..SILENT
    },
    Situation {
        name: "rotated and compressed at once",
        happens: |s| {
            s.append("app.log", "two\n");
            s.rotate("three\n");
            s.append("app.log.1.gz", "compressed\n");
            s.remove("app.log.1");
        },
        sent: "two three",
        warned: &[],
        after_crash: Some(("three", &["app.log is not the file that was read up to byte 4"])),
        ..SILENT
    },
    Situation {
        name: "rotated and compressed at once, next to an old rotation that was unpacked since",
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
        after_crash: Some(("two", &["app.log is not the file that was read up to byte 4"])),
    },
    Situation {
        name: "rotated, compressed, and rotated again",
        happens: |s| {
            s.append("app.log.2.gz", "compressed\n");
            s.remove("app.log");
            s.append("app.log.1", "two\n");
            s.append("app.log", "three\n");
        },
        sent: "two three",
        warned: &["app.log.1 seems to have been rotated"],
        after_crash: Some(("two three", &["app.log.1 seems to", "app.log is not the file"])),
        ..SILENT
    },
    Situation {
        name: "the writer changes over late",
        happens: |s| {
            s.rotate("");
            s.append("app.log.1", "two\n");
        },
        sent: "two",
        ..SILENT
    },
    Situation {
        name: "rotated with the same first line",
        happens: |s| {
            s.append("app.log", "two\n");
            s.rotate("one\nthree\n");
        },
        sent: "two one three",
        ..SILENT
    },
    Situation {
        name: "rotated and compressed, with the same first line",
        happens: |s| {
            s.rotate("one\nthree\n");
            s.append("app.log.1.gz", "compressed\n");
            s.remove("app.log.1");
        },
        sent: "one three",
        warned: &[],
        after_crash: Some(("one three", &["app.log.1.gz is compressed and may hold them"])),
        ..SILENT
    },
    Situation {
        name: "given a second name that looks like a rotation",
        happens: |s| {
            fs::hard_link(s.path("app.log"), s.path("app.log.1")).unwrap();
            s.append("app.log", "two\n");
        },
        sent: "two",
        ..SILENT
    },
    Situation {
        name: "rotated by a hard link, which got two names",
        happens: |s| {
            s.append("app.log", "two\n");
            s.rotate("three\n");
            s.rotate("four\n");
            fs::hard_link(s.path("app.log.1"), s.path("app.log.0")).unwrap();
        },
        sent: "two three four",
        ..SILENT
    },
    Situation {
        name: "begun empty, then rotated",
        before: |s| s.append("app.log", ""),
        happens: |s| {
            s.append("app.log", "two\n");
            s.rotate("three\n");
        },
        sent: "two three",
        ..SILENT
    },
];
