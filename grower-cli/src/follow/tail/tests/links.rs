//! Followed paths that are links, or contain one.

use super::super::*;
use super::log_folder::LogFolder;
use std::fs;

fn check_link(target: &'static str, happens: fn(&LogFolder), sent: &str) {
    for is_away in [false, true] {
        let mut log_folder = LogFolder { log: "x.log", ..LogFolder::new() };
        fs::create_dir(log_folder.path("pods")).unwrap();
        point(&log_folder, target);
        log_folder.append(target, "one\n");
        let mut tail = log_folder.follow();
        assert_eq!(log_folder.read(&mut tail).0, "one");
        log_folder.save(&tail);
        happens(&log_folder);
        if is_away {
            tail = log_folder.resume();
        }
        assert_eq!(log_folder.read(&mut tail), (sent.to_owned(), vec![]), "away: {is_away}");
    }
}

/// Points the followed link elsewhere, atomically.
fn point(log_folder: &LogFolder, target: &str) {
    std::os::unix::fs::symlink(target, log_folder.path("new")).unwrap();
    log_folder.rename("new", "x.log");
}

#[test]
fn a_followed_link_whose_target_is_rotated_loses_nothing() {
    let happens = |s: &LogFolder| {
        s.append("pods/0.log", "two\n");
        s.rename("pods/0.log", "pods/0.log.20261121-083000");
        s.append("pods/0.log", "three\n");
    };
    check_link("pods/0.log", happens, "two three");
}

#[test]
fn a_followed_link_that_gets_another_target_loses_nothing() {
    let happens = |s: &LogFolder| {
        s.append("pods/0.log", "two\n");
        s.append("pods/1.log", "three\n");
        point(s, "pods/1.log");
    };
    check_link("pods/0.log", happens, "two three");
    let happens = |s: &LogFolder| {
        s.append("pods/0.log", "two\n");
        s.rename("pods/0.log", "pods/0.log.20261121-083000");
        s.append("pods/0.log", "three\n");
        s.append("pods/1.log", "four\n");
        point(s, "pods/1.log");
    };
    check_link("pods/0.log", happens, "two three four");
}

#[test]
fn a_followed_link_to_daily_files_loses_no_day() {
    let happens = |s: &LogFolder| {
        s.append("x.log-20261120", "two\n");
        s.append("x.log-20261121", "three\n");
        s.append("x.log-20261122", "four\n");
        point(s, "x.log-20261122");
    };
    check_link("x.log-20261120", happens, "two three four");
}

#[test]
fn rotations_in_a_folder_that_is_new_to_the_follower_are_not_read() {
    let mut log_folder = LogFolder { log: "current/app.log", ..LogFolder::new() };
    for release in ["1", "2"] {
        fs::create_dir(log_folder.path(release)).unwrap();
    }
    let folder = log_folder.directory.path().to_owned();
    let point = |release: &str| {
        std::os::unix::fs::symlink(release, folder.join("new")).unwrap();
        fs::rename(folder.join("new"), folder.join("current")).unwrap();
    };
    point("1");
    log_folder.append("1/app.log", "one\n");
    log_folder.append("2/app.log.1", "long ago\n");
    log_folder.append("2/app.log", "two\n");
    let mut tail = log_folder.follow();
    assert!(matches!(tail.step(log_folder.now), TailEvent::Begun(..)));
    point("2");
    assert_eq!(log_folder.read(&mut tail), ("one two".to_owned(), vec![]));
}
