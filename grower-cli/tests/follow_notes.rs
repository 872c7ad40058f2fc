//! The note of a followed file: the path it belongs to, and the topic's offsets in it.

mod kit;

use kit::{Served, text, until};
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

fn append(path: &Path, text: &str) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// Starts a follower with options.
fn follow(broker: &Served, log: &Path, options: &str) -> Child {
    broker.cli(&format!("produce events {} --follow {options}", log.display())).spawn().unwrap()
}

/// Kills it and returns its standard error.
fn kill(mut follower: Child) -> String {
    follower.kill().unwrap();
    let mut printed = String::new();
    follower.stderr.take().unwrap().read_to_string(&mut printed).unwrap();
    follower.wait().unwrap();
    printed
}

fn arrived(broker: &Served) -> Vec<String> {
    text(&broker.read("events")).lines().map(str::to_owned).collect()
}

/// Two folders and a link `current`, which leads to the first of them.
fn releases(broker: &Served) -> PathBuf {
    for folder in ["releases/1", "releases/2"] {
        fs::create_dir_all(broker.path(folder)).unwrap();
    }
    symlink("releases/1", broker.path("current")).unwrap();
    broker.path("current/app.log")
}

fn lead_to(broker: &Served, release: &str) {
    symlink(release, broker.path("new")).unwrap();
    fs::rename(broker.path("new"), broker.path("current")).unwrap();
}

/// Creates the topic and sends one line of the first release with a `--state-dir`. Returns the log and that flag.
fn one_line_of_a_release(broker: &Served) -> (PathBuf, String) {
    broker.ok("topic create events", b"");
    let (log, state) = (releases(broker), format!("--state-dir {}", broker.path("state").display()));
    append(&log, "one\n");
    let first = follow(broker, &log, &state);
    until("the first line", || arrived(broker).len() == 1);
    kill(first);
    (log, state)
}

#[test]
fn the_rest_of_the_file_comes_first_when_a_folder_of_the_path_leads_elsewhere() {
    let broker = Served::start();
    let (log, state) = one_line_of_a_release(&broker);
    append(&log, "two\n");
    append(&broker.path("releases/2/app.log"), "three\n");
    lead_to(&broker, "releases/2");
    let second = follow(&broker, &log, &state);
    until("the rest and the new file", || arrived(&broker).len() == 3);
    assert_eq!(kill(second), "");
    append(&log, "four\n");
    let third = follow(&broker, &log, &state);
    until("what came since", || 4 <= arrived(&broker).len());
    kill(third);
    assert_eq!(arrived(&broker), ["one", "two", "three", "four"]);
}

#[test]
fn a_file_lost_with_its_folder_is_named() {
    let broker = Served::start();
    let (log, state) = one_line_of_a_release(&broker);
    fs::remove_dir_all(broker.path("releases/1")).unwrap();
    append(&broker.path("releases/2/app.log"), "three\n");
    lead_to(&broker, "releases/2");
    let second = follow(&broker, &log, &state);
    until("the new file", || arrived(&broker).len() == 2);
    let stderr = kill(second);
    assert!(stderr.contains("releases/1/app.log) is gone"), "{stderr}");
}

#[test]
fn a_note_that_an_earlier_version_kept_for_the_resolved_path_is_used() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    let (log, state) = (releases(&broker), format!("--state-dir {}", broker.path("state").display()));
    append(&log, "one\n");
    let resolved = fs::canonicalize(&log).unwrap(); // Earlier versions used this name of the note for both paths.
    let earlier = follow(&broker, &resolved, &state);
    until("the first line", || arrived(&broker).len() == 1);
    kill(earlier);
    append(&log, "two\n");
    let follower = follow(&broker, &log, &state);
    until("the second line", || 2 <= arrived(&broker).len());
    kill(follower);
    assert_eq!(arrived(&broker), ["one", "two"]);
}

#[test]
fn a_new_note_next_to_a_file_behind_a_link_prints_a_warning() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    let log = releases(&broker);
    append(&log, "one\n");
    let first = follow(&broker, &log, "");
    until("the first line", || arrived(&broker).len() == 1);
    let stderr = kill(first);
    assert!(stderr.contains("current/app.log is reached through a link") && stderr.contains("--state-dir"), "{stderr}");
    append(&log, "two\n");
    let second = follow(&broker, &log, "");
    until("the second line", || arrived(&broker).len() == 2);
    assert_eq!(kill(second), "");
}

/// Follows until the new lines have arrived, then kills the follower and restores the former note.
fn follow_and_lose_notes(broker: &Served, before: usize, new: &str) -> String {
    let (log, note) = (broker.path("app.log"), broker.path("app.log.events.grower-place"));
    let as_before = fs::read(&note).unwrap();
    append(&log, new);
    let follower = follow(broker, &log, "");
    until("the new lines", || before + new.lines().count() == arrived(broker).len());
    let stderr = kill(follower);
    fs::write(&note, as_before).unwrap();
    stderr
}

#[test]
fn a_recreated_topic_gets_no_duplicates_and_missing_lines_are_reported() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    let log = broker.path("app.log");
    append(&log, "0\n1\n2\n3\n4\n");
    let first = follow(&broker, &log, "");
    until("the first lines", || arrived(&broker).len() == 5);
    kill(first);
    broker.ok("topic delete events", b"");
    broker.ok("topic create events", b"");
    let stderr = follow_and_lose_notes(&broker, 0, "5\n6\n");
    assert!(stderr.contains("topic events was created again") && stderr.contains("app.log"), "{stderr}");
    append(&log, "7\n");
    let last = follow(&broker, &log, "");
    until("the last line", || arrived(&broker).last().is_some_and(|last| last == "7"));
    kill(last);
    assert_eq!(arrived(&broker), ["5", "6", "7"]);
    let settled = follow(&broker, &log, "");
    append(&log, "8\n");
    until("one more line", || arrived(&broker).len() == 4);
    assert_eq!(kill(settled), "", "the loss is reported once");
}

#[test]
fn a_restored_topic_gets_no_duplicates_and_missing_lines_are_reported() {
    let mut broker = Served::start();
    broker.ok("topic create events", b"");
    let log = broker.path("app.log");
    append(&log, "0\n1\n");
    let first = follow(&broker, &log, "");
    until("the first lines", || arrived(&broker).len() == 2);
    broker.stop();
    let (data, backups) = (broker.data_dir(), broker.path("backups"));
    let cli = |arguments: &[&Path]| {
        let output = Command::new(env!("CARGO_BIN_EXE_grower-cli")).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    };
    let words = |word: &'static str| Path::new(word);
    cli(&[words("backup"), &backups, words("--data-dir"), &data]);
    kill(first);
    broker.restart();
    append(&log, "2\n3\n4\n");
    let second = follow(&broker, &log, "");
    until("more lines", || arrived(&broker).len() == 5);
    kill(second);
    broker.stop();
    fs::rename(&data, broker.path("lost")).unwrap();
    cli(&[words("restore"), &backups.join("backup-000001"), &data]);
    broker.restart();
    let stderr = follow_and_lose_notes(&broker, 2, "5\n6\n");
    assert!(stderr.contains("events/0 ends at offset 2, and it had records up to offset 5"), "{stderr}");
    append(&log, "7\n");
    let last = follow(&broker, &log, "");
    until("the last line", || arrived(&broker).last().is_some_and(|last| last == "7"));
    kill(last);
    assert_eq!(arrived(&broker), ["0", "1", "5", "6", "7"]);
}
