//! The file is truncated or rewritten without a copy.

use super::super::log_folder::{LONG, long, one};
use super::{SILENT, Situation};

pub(super) const SITUATIONS: &[Situation] = &[
    Situation {
        name: "truncated, next to another file with the same beginning",
        before: |s| {
            one(s);
            s.append("other.log", "one\nof another file\n");
            s.append("app.log.1", "one\nlong ago\n");
        },
        happens: |s| s.write("app.log", "something-longer\n"),
        sent: "something-longer",
        warned: &["app.log was truncated or rewritten after it was read up to byte 4"],
        after_crash: Some(("something-longer", &["app.log is not the file that was read up to byte 4"])),
    },
    Situation {
        name: "written again with the same length",
        happens: |s| s.write("app.log", "two\n"),
        sent: "two",
        warned: &["app.log was truncated or rewritten"],
        after_crash: Some(("two", &["app.log is not the file"])),
        ..SILENT
    },
    Situation {
        name: "written again with the same length, beginning and end",
        before: |s| s.append("app.log", &format!("{LONG}state=1\n{LONG}")),
        happens: |s| s.write("app.log", &format!("{LONG}state=2\n{LONG}")),
        sent: "long state=2 long",
        warned: &["app.log was truncated or rewritten"],
        after_crash: Some(("long state=2 long", &["app.log is not the file"])),
    },
    Situation {
        name: "written again with the same length and content",
        before: long,
        happens: |s| s.write("app.log", LONG),
        sent: "",
        ..SILENT
    },
    Situation {
        name: "truncated and grown past what was read",
        before: long,
        happens: |s| s.write("app.log", &format!("two\n{LONG}{LONG}")),
        sent: "two long long",
        warned: &["app.log was truncated or rewritten"],
        after_crash: Some(("two long long", &["app.log is not the file"])),
    },
    Situation {
        name: "truncated to nothing",
        happens: |s| s.write("app.log", ""),
        sent: "",
        warned: &["app.log was truncated or rewritten"],
        after_crash: Some(("", &["app.log is not the file"])),
        ..SILENT
    },
];
