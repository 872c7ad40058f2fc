//! Another file replaced the followed one without rotation.

use super::super::log_folder::{LONG, LogFolder, long, one};
use super::{SILENT, Situation};
use std::fs;

pub(super) const SITUATIONS: &[Situation] = &[
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
        ..SILENT
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
        ..SILENT
    },
    Situation {
        name: "replaced by other content",
        happens: |s| {
            s.append("new", "two\n");
            s.rename("new", "app.log");
        },
        sent: "two",
        warned: &[],
        after_crash: Some(("two", &["app.log is not the file that was read up to byte 4"])),
        ..SILENT
    },
    Situation {
        name: "removed, and created again with the same inode",
        happens: |s| {
            s.remove("app.log");
            s.append("app.log", "of-another-life\n"); // Often it reuses the inode of the removed file.
        },
        sent: "of-another-life",
        warned: &[],
        after_crash: Some(("of-another-life", &["app.log is not the file"])),
        ..SILENT
    },
    Situation {
        name: "removed, its inode passed to a neighbour with the same beginning",
        happens: |s| {
            s.remove("app.log");
            s.append("other.log", "one\nof another file\n");
            s.append("app.log", "two\n");
        },
        sent: "two",
        warned: &[],
        after_crash: Some(("two", &["app.log is not the file"])),
        ..SILENT
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
        ..SILENT
    },
    Situation {
        name: "rotated, and all files copied to another file system",
        before: |s| {
            s.append("app.log.1", &LONG.replace("one", "before"));
            long(s);
        },
        happens: move_to_another_file_system,
        sent: "two",
        warned: &["app.log is another file than before and begins with the same"],
        ..SILENT
    },
    Situation {
        name: "all files copied to another file system when little was read",
        before: |s| {
            s.append("app.log.1", "before\n");
            one(s);
        },
        happens: move_to_another_file_system,
        sent: "two",
        warned: &["app.log is another file than before and begins with the same 4 bytes"],
        ..SILENT
    },
    Situation {
        name: "a directory for a moment",
        happens: |s| {
            s.rename("app.log", "app.log.1");
            fs::create_dir(s.path("app.log")).unwrap();
            s.append("app.log.1", "two\n");
        },
        sent: "two",
        warned: &["app.log: is a directory: waiting"],
        after_crash: Some(("", &["app.log: is a directory: waiting"])),
        ..SILENT
    },
];

/// Each file is copied, and a line is added.
fn move_to_another_file_system(log_folder: &LogFolder) {
    for name in ["app.log", "app.log.1"] {
        log_folder.copy(name, "copied");
        log_folder.remove(name);
        log_folder.rename("copied", name);
    }
    log_folder.append("app.log", "two\n");
}
