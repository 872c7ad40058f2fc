//! A writer, rotation and sometimes a crash, step by step and without waiting.

mod log_folder;

mod copying;
mod links;
mod notes;
mod situations;

use super::*;
use log_folder::{LogFolder, followed, one};
use std::fs;

#[test]
fn a_line_is_returned_once_it_is_complete() {
    let mut log_folder = LogFolder::new();
    log_folder.append("app.log", "one\ntw");
    let mut tail = log_folder.follow();
    assert_eq!(log_folder.read(&mut tail).0, "one");
    log_folder.append("app.log", "o\nthree\n");
    assert_eq!(log_folder.read(&mut tail).0, "two three");
}

#[test]
fn a_rotated_file_is_left_when_it_is_silent_and_the_next_has_content() {
    let (mut log_folder, mut tail) = followed(one);
    log_folder.rotate("");
    log_folder.append("app.log.1", "two, and no newline");
    assert_eq!(log_folder.read(&mut tail).0, "");
    log_folder.append("app.log", "three\n");
    assert_eq!(log_folder.read(&mut tail), ("two, and no newline three".to_owned(), vec![]));
}

#[test]
fn late_lines_of_a_rotated_file_are_sent_late_even_after_a_crash() {
    let (mut log_folder, mut tail) = followed(one);
    log_folder.rotate("three\n");
    assert_eq!(log_folder.read(&mut tail), ("three".to_owned(), vec![]));
    log_folder.append("app.log.1", "two\n");
    let (sent, warned) = log_folder.read(&mut tail);
    assert_eq!(sent, "two");
    assert!(
        matches!(&warned[..], [late] if late.contains("app.log.1 grew after a newer file was begun")),
        "{warned:?}"
    );
    log_folder.save(&tail);
    drop(tail);
    log_folder.append("app.log.1", "two and a half\n");
    log_folder.append("app.log", "four\n");
    let mut tail = log_folder.resume();
    assert_eq!(log_folder.read(&mut tail).0, "four two and a half");
}

#[test]
fn a_file_rotated_during_a_survey_is_not_skipped() {
    let (mut log_folder, mut tail) = followed(one);
    log_folder.rotate("two\n");
    let trace = tail.current.as_ref().unwrap().trace();
    let around = Surroundings::survey(&log_folder.log(), &trace, &tail.taken()).unwrap();
    log_folder.rotate("three\n");
    tail.queue_successors(&around, around.rotated_as(trace.id).as_ref(), false).unwrap();
    tail.queue_path(&around).unwrap();
    assert_eq!(log_folder.read(&mut tail), ("two three".to_owned(), vec![]));
}

#[test]
fn no_line_is_lost_in_rapid_rotations() {
    const ROTATIONS: u32 = 60;
    let mut log_folder = LogFolder::new();
    log_folder.append("app.log", "0\n");
    let mut tail = log_folder.follow();
    log_folder.read(&mut tail);
    let log = log_folder.log();
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
    let pause = std::mem::take(&mut log_folder.idle_pause); // A rotation takes less than a second of real time.
    let (begin, started) = (log_folder.now, Instant::now());
    while !writer.is_finished() {
        log_folder.now = begin + started.elapsed();
        sent.push(log_folder.read(&mut tail).0);
    }
    log_folder.idle_pause = pause;
    writer.join().unwrap();
    sent.push(log_folder.read(&mut tail).0);
    let sent = sent.join(" ");
    let expected: Vec<String> = (1..=ROTATIONS).map(|line| line.to_string()).collect();
    assert_eq!(sent.split_whitespace().collect::<Vec<_>>(), expected);
}

#[test]
fn a_missing_file_is_waited_for_with_one_warning() {
    let mut log_folder = LogFolder::new();
    let mut tail = log_folder.follow();
    let (sent, warned) = log_folder.read(&mut tail);
    assert!(
        sent.is_empty() && matches!(&warned[..], [warning] if warning.contains("app.log: not there yet")),
        "{warned:?}"
    );
    one(&log_folder);
    assert_eq!(log_folder.read(&mut tail), ("one".to_owned(), vec![]));
}

#[test]
fn a_directory_that_is_briefly_at_the_path_is_waited_out() {
    let (mut log_folder, mut tail) = followed(one);
    log_folder.rename("app.log", "app.log.1");
    fs::create_dir(log_folder.path("app.log")).unwrap();
    let (sent, warned) = log_folder.read(&mut tail);
    assert!(sent.is_empty() && warned.len() == 1, "{warned:?}");
    fs::remove_dir(log_folder.path("app.log")).unwrap();
    log_folder.append("app.log", "two\n");
    assert_eq!(log_folder.read(&mut tail), ("two".to_owned(), vec![]));
}
