//! Copies that rotation makes while the file is followed: step by step, and by a writer that rotates all the time.

use super::super::*;
use super::log_folder::{LONG, LogFolder, empty, followed, long, one};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;

const ROTATIONS: u32 = 25;

/// Writes lines and rotates after every few of them.
struct Writer {
    log: PathBuf,
    /// The first line of every file.
    header: Option<&'static str>,
    random: u32,
    written: Vec<String>,
}

impl Writer {
    /// Writes and rotates; returns the lines in order.
    fn run(mut self) -> Vec<String> {
        for rotation in 1..=ROTATIONS {
            for line in 0..self.pause() % 4 {
                let header = self.header.filter(|_| line == 0);
                let line = format!("{rotation}-{line}");
                header.map(str::to_owned).into_iter().chain([line]).for_each(|line| self.write(line));
            }
            self.rotate(rotation);
        }
        self.written
    }

    fn write(&mut self, line: String) {
        let file = File::options().append(true).open(&self.log);
        file.unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
        self.written.push(line);
        self.pause();
    }

    fn rotate(&mut self, rotation: u32) {
        let log = self.log.clone();
        let numbered = |number: u32| log.with_file_name(format!("app.log.{number}"));
        for number in (1..rotation).rev() {
            fs::rename(numbered(number), numbered(number + 1)).unwrap();
        }
        self.pause();
        let content = fs::read(&log).unwrap();
        let mut copy = File::create(numbered(1)).unwrap();
        for half in content.chunks(content.len().div_ceil(2).max(1)) {
            self.pause();
            copy.write_all(half).unwrap();
        }
        self.pause();
        File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
    }

    /// Waits for a short time, and returns a random number.
    fn pause(&mut self) -> u32 {
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (0..self.random >> 18).for_each(|_| std::hint::spin_loop());
        self.random >> 8
    }
}

/// Collects the lines sent by a follower and its successors, which leave out lines whose marks they find.
#[derive(Default)]
struct Sent {
    lines: Vec<String>,
    marks: BTreeSet<(u32, u64, String)>,
}

impl Sent {
    fn add(&mut self, file: &FollowedFile, lines: Vec<Line>, is_successor: bool) {
        for line in lines {
            let content = String::from_utf8(line.content.unwrap().to_vec()).unwrap();
            let is_new = self.marks.insert((file.incarnation, line.start, content.clone()));
            if is_new || !is_successor {
                self.lines.push(content);
            }
        }
    }
}

/// Kills the follower after every `crash_every` chunks, once its progress is noted.
fn check(seed: u32, header: Option<&'static str>, crash_every: Option<usize>) {
    let log_folder = LogFolder::new();
    log_folder.append("app.log", "");
    let mut tail = log_folder.follow();
    assert!(matches!(tail.step(Instant::now()), TailEvent::Begun(..)));
    log_folder.save(&tail);
    let writer = Writer { log: log_folder.path("app.log"), header, random: seed, written: Vec::new() };
    let writer = std::thread::spawn(move || writer.run());
    let (mut sent, mut chunks, mut warned) = (Sent::default(), 0, Vec::new());
    // In real time, because the duration of a rotation counts. After the last rotation time may pass faster.
    let (mut idle, mut later) = (0, Duration::ZERO);
    while idle < 4 {
        match tail.step(Instant::now() + later) {
            TailEvent::Lines(file, lines) => {
                sent.add(&file, lines, crash_every.is_some());
                (chunks, idle) = (chunks + 1, 0);
                if crash_every.is_some_and(|every| chunks % every == 0) {
                    log_folder.save(&tail);
                    tail = log_folder.resume();
                }
            }
            TailEvent::Begun(..) if crash_every.is_some() => log_folder.save(&tail),
            TailEvent::Warning(warning) => warned.push(warning.to_string()),
            TailEvent::Idle if writer.is_finished() => (idle, later) = (idle + 1, later + SILENCE_MIN),
            _ => {}
        }
    }
    let written = writer.join().unwrap();
    assert!(sent.lines == written, "seed {seed}: {:?} in place of {written:?}, {warned:#?}", sent.lines);
}

#[test]
fn each_line_is_sent_once() {
    (0..6).for_each(|seed| check(seed, None, None));
}

#[test]
fn each_line_is_sent_once_if_all_files_begin_with_the_same_line() {
    (0..6).for_each(|seed| check(seed, Some("time,level,message"), None));
}

#[test]
fn each_line_is_sent_once_by_followers_that_are_killed() {
    (0..6).for_each(|seed| check(seed, None, Some(1 + seed as usize % 5)));
}

#[test]
fn each_line_is_sent_once_by_killed_followers_if_all_files_begin_with_the_same_line() {
    (0..6).for_each(|seed| check(seed, Some("time,level,message"), Some(1 + seed as usize % 5)));
}

#[test]
fn a_file_that_is_copied_and_truncated_again_before_its_turn_loses_nothing() {
    for begins in ["", "one\n"] {
        let (mut log_folder, mut tail) = followed(one);
        let truncate = |line: &str| {
            log_folder.append("app.log", line);
            if log_folder.path("app.log.1").exists() {
                log_folder.rename("app.log.1", "app.log.2");
            }
            log_folder.copy("app.log", "app.log.1");
            log_folder.write("app.log", begins);
        };
        truncate("two\n");
        let mut steps = (0..10).map(|_| tail.step(log_folder.now));
        assert!(steps.any(|step| matches!(step, TailEvent::Lines(_, lines) if !lines.is_empty())), "two");
        truncate("three\n");
        log_folder.append("app.log", "four\n");
        let expected = if begins.is_empty() { "three four" } else { "one three one four" };
        assert_eq!(log_folder.read(&mut tail).0, expected);
    }
}

/// Renames each rotation to the next number, then copies the file to `.1`.
fn copy_away(log_folder: &LogFolder) {
    log_folder.shift_rotations();
    log_folder.copy("app.log", "app.log.1");
}

/// Reads without letting time pass.
fn read_now(log_folder: &LogFolder, tail: &mut FileTail) -> String {
    let mut lines = Vec::new();
    for _ in 0..20 {
        if let TailEvent::Lines(_, read) = tail.step(log_folder.now) {
            lines.extend(read.into_iter().map(|line| String::from_utf8(line.content.unwrap().to_vec()).unwrap()));
        }
    }
    lines.join(" ")
}

#[test]
fn a_copy_made_after_the_survey_is_not_older_than_the_file_that_the_survey_found() {
    let (mut log_folder, mut tail) = followed(one);
    log_folder.rotate("two\n");
    let trace = tail.current.as_ref().unwrap().trace();
    let around = Surroundings::survey(&log_folder.log(), &trace, &tail.taken()).unwrap();
    copy_away(&log_folder);
    log_folder.write("app.log", "three\n");
    tail.queue_successors(&around, around.rotated_as(trace.id).as_ref(), false).unwrap();
    tail.queue_path(&around).unwrap();
    assert_eq!(log_folder.read(&mut tail).0, "two three");
}

#[test]
fn a_copy_that_was_seen_before_the_file_was_truncated_is_read_afterwards() {
    let (mut log_folder, mut tail) = followed(empty);
    one(&log_folder);
    copy_away(&log_folder);
    assert!(tail.check_for_rotation(log_folder.now));
    assert!(matches!(tail.continue_in_copy(log_folder.now), Ok(None)), "the file has it as well");
    log_folder.write("app.log", "two\n"); // No name changes.
    assert_eq!(log_folder.read(&mut tail).0, "one two");
}

#[test]
fn an_unfinished_copy_is_not_read_until_the_file_is_truncated() {
    for crashes in [false, true] {
        let (mut log_folder, mut tail) = followed(long);
        log_folder.append("app.log", "two\n");
        copy_away(&log_folder);
        log_folder.write("app.log", "three\n");
        log_folder.shift_rotations();
        log_folder.write("app.log.1", "thr");
        assert_eq!(read_now(&log_folder, &mut tail), "two three", "crashes: {crashes}");
        if crashes {
            log_folder.save(&tail);
            tail = log_folder.resume();
        }
        log_folder.append("app.log", "four\n");
        log_folder.write("app.log.1", "three\nfour\n");
        log_folder.write("app.log", "five\n");
        let (sent, warned) = log_folder.read(&mut tail);
        assert_eq!(sent, "four five", "crashes: {crashes}");
        assert!(warned.iter().all(|warning| warning.contains("treating it as a copy")), "{warned:?}");
    }
}

#[test]
fn a_copy_that_is_being_renamed_is_waited_for() {
    for crashes in [false, true] {
        let (mut log_folder, mut tail) = followed(one);
        log_folder.append("app.log", "two\n");
        copy_away(&log_folder);
        if crashes {
            log_folder.save(&tail);
            tail = log_folder.resume();
        }
        log_folder.write("app.log", "three\n");
        log_folder.shift_rotations(); // Now there is no `.1`.
        assert_eq!(read_now(&log_folder, &mut tail), "", "crashes: {crashes}");
        log_folder.copy("app.log", "app.log.1");
        log_folder.write("app.log", "four\n");
        assert_eq!(log_folder.read(&mut tail).0, "two three four", "crashes: {crashes}");
    }
}

#[test]
fn a_copy_written_over_an_older_one_is_read() {
    let mut log_folder = LogFolder::new();
    log_folder.append("app.log.1", "long ago\n");
    log_folder.append("app.log", LONG);
    let mut tail = log_folder.follow();
    log_folder.read(&mut tail);
    log_folder.append("app.log", "two\n");
    log_folder.copy("app.log", "app.log.1"); // The inode stays the same.
    log_folder.write("app.log", "three\n");
    assert_eq!(log_folder.read(&mut tail), ("two three".to_owned(), vec![]));
}

#[test]
fn a_copy_is_left_although_the_file_is_empty_also_after_a_crash() {
    let (log_folder, mut tail) = followed(long);
    log_folder.append("app.log", "two\n");
    copy_away(&log_folder);
    log_folder.write("app.log", "");
    assert!(matches!(tail.step(log_folder.now), TailEvent::Begun(..)));
    assert!(matches!(tail.step(log_folder.now), TailEvent::Lines(_, lines) if lines.len() == 1));
    assert!(tail.current.as_ref().unwrap().open.is_copy);
    log_folder.save(&tail);
    let mut tail = log_folder.resume();
    assert_eq!(read_now(&log_folder, &mut tail), "");
    assert_eq!(tail.current.as_ref().unwrap().open.name(), Some(log_folder.log()));
}

#[test]
fn a_crash_while_the_second_of_two_copies_is_read_changes_nothing() {
    let (mut log_folder, mut tail) = followed(long);
    log_folder.append("app.log", "two\n");
    copy_away(&log_folder);
    log_folder.write("app.log", "three\n");
    copy_away(&log_folder);
    log_folder.write("app.log", "");
    let mut read = Vec::new();
    while !read.iter().any(|line: &Line| line.content.as_ref().unwrap() == "three") {
        if let TailEvent::Lines(_, lines) = tail.step(log_folder.now) {
            read.extend(lines);
        }
    }
    assert!(tail.current.as_ref().unwrap().open.is_copy);
    log_folder.save(&tail);
    log_folder.append("app.log", "four\n");
    log_folder.shift_rotations();
    log_folder.write("app.log.1", "fo"); // Reuses the name of the copy that was read.
    let mut tail = log_folder.resume();
    assert_eq!(read_now(&log_folder, &mut tail), "four");
    log_folder.append("app.log.1", "ur\n");
    log_folder.write("app.log", "five\n");
    assert_eq!(log_folder.read(&mut tail).0, "five");
}

#[test]
fn a_rotated_file_is_left_once_the_next_one_was_copied_although_that_is_empty() {
    let (mut log_folder, mut tail) = followed(one);
    log_folder.rotate("");
    assert_eq!(log_folder.read(&mut tail).0, "");
    for line in ["two\n", "three\n"] {
        log_folder.append("app.log", line);
        copy_away(&log_folder);
        log_folder.write("app.log", "");
    }
    assert_eq!(log_folder.read(&mut tail).0, "two three");
}

#[test]
fn a_large_file_that_is_copied_and_truncated_is_not_reported_as_written_to() {
    let mut log_folder = LogFolder::new();
    log_folder.append("app.log", &LONG.repeat((3 << 20) / LONG.len()));
    File::options().append(true).open(log_folder.log()).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let mut tail = log_folder.follow();
    log_folder.read(&mut tail);
    copy_away(&log_folder);
    log_folder.write("app.log", "two\n");
    assert_eq!(log_folder.read(&mut tail), ("two".to_owned(), vec![]));
}
