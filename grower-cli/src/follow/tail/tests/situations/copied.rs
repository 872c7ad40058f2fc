//! The file is copied, and then truncated or not.

use super::super::log_folder::{long, one};
use super::{SILENT, Situation};

pub(super) const SITUATIONS: &[Situation] = &[
    Situation {
        name: "copied and truncated",
        before: long,
        happens: |s| {
            s.append("app.log", "two\n");
            s.copy("app.log", "app.log.1");
            s.write("app.log", "three\n");
        },
        sent: "two three",
        ..SILENT
    },
    Situation {
        name: "copied and truncated when little was read",
        happens: |s| {
            s.append("app.log", "two\n");
            s.copy("app.log", "app.log-20261121");
            s.write("app.log", "three\n");
        },
        sent: "two three",
        warned: &["app.log-20261121 begins with the 4 bytes that were read of app.log"],
        ..SILENT
    },
    Situation {
        name: "copied and truncated, next to an older copy with the same first line",
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
        ..SILENT
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
        ..SILENT
    },
    Situation {
        name: "copied and truncated, and written with the same beginning",
        happens: |s| {
            s.append("app.log", "two\n");
            s.copy("app.log", "app.log.1");
            s.write("app.log", "one\nthree\n");
        },
        sent: "two one three",
        warned: &["app.log.1 begins with the 4 bytes"],
        ..SILENT
    },
    Situation {
        name: "copied and not truncated",
        happens: |s| {
            s.append("app.log", "two\n");
            s.copy("app.log", "app.log.1");
            s.append("app.log", "three\n");
        },
        sent: "two three",
        ..SILENT
    },
];
