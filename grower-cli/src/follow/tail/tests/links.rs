//! Followed paths that are links, or lead through one.

use super::super::*;
use super::stage::Stage;
use std::fs;

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
