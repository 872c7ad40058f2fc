//! A writer, rotation and sometimes a crash, step by step and without waiting.

mod stage;

mod copying;
mod links;
mod notes;
mod situations;

use super::*;
use stage::{Stage, one};
use std::fs;

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
fn a_file_that_is_rotated_while_its_follower_looks_around_is_not_passed_over() {
    let mut stage = Stage::new();
    one(&stage);
    let mut tail = stage.follow();
    stage.read(&mut tail);
    stage.rotate("two\n");
    let trace = tail.current.as_ref().unwrap().trace();
    let around = Surroundings::survey(&stage.log(), &trace, &tail.taken()).unwrap();
    stage.rotate("three\n");
    tail.queue_successors(&around, around.rotated_as(trace.id).as_ref(), false).unwrap();
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
