//! `produce --follow` over a real port: every line of a growing file arrives once, whatever happens to file and
//! follower.

mod kit;

use grower_storage::disk::Call;
use kit::{Served, json, text, until};
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write, pipe};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn append(path: &Path, text: &str) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn follow(broker: &Served) -> Child {
    broker.cli(&format!("produce events {} --follow", broker.path("app.log").display())).spawn().unwrap()
}

fn kill(mut follower: Child) {
    follower.kill().unwrap();
    follower.wait().unwrap();
}

fn lines(range: std::ops::Range<u32>) -> String {
    range.map(|number| format!("line {number}\n")).collect()
}

fn arrived(broker: &Served) -> usize {
    text(&broker.read("events")).lines().count()
}

#[test]
fn a_growing_file_arrives_whole_through_rotation_and_a_killed_follower() {
    let broker = Served::start();
    let log = broker.path("app.log");
    broker.ok("topic create events", b"");
    append(&log, &lines(0..10));
    let mut first = follow(&broker);
    until("the first lines", || arrived(&broker) == 10);
    fs::rename(&log, broker.path("app.log.1")).unwrap();
    append(&broker.path("app.log.1"), &lines(10..12));
    append(&log, &lines(12..20));
    until("the rotation", || arrived(&broker) == 20);

    first.kill().unwrap();
    first.wait().unwrap();
    append(&log, &lines(20..25));
    fs::rename(broker.path("app.log.1"), broker.path("app.log.2")).unwrap();
    fs::rename(&log, broker.path("app.log.1")).unwrap();
    append(&log, &lines(25..30));
    let mut second = follow(&broker);
    until("the rest", || 30 <= arrived(&broker));
    second.kill().unwrap();
    second.wait().unwrap();
    assert_eq!(text(&broker.read("events")), lines(0..30));
}

#[test]
fn a_follower_killed_at_any_moment_sends_nothing_twice_and_skips_nothing() {
    let broker = Served::start();
    let log = broker.path("app.log");
    broker.ok("topic create events", b"");
    append(&log, "");
    let mut written = 0;
    for round in 0..8 {
        let before = arrived(&broker);
        let mut follower = follow(&broker);
        for _ in 0..20 {
            append(&log, &lines(written..written + 25));
            written += 25;
        }
        until("something new", || before < arrived(&broker));
        // Between the arrival of a line and its note.
        (0..round * 1000).for_each(|_| std::hint::spin_loop());
        follower.kill().unwrap();
        follower.wait().unwrap();
    }
    let mut last = follow(&broker);
    until("everything", || written as usize <= arrived(&broker));
    last.kill().unwrap();
    last.wait().unwrap();
    assert_eq!(text(&broker.read("events")), lines(0..written));
}

#[test]
fn a_second_follower_of_the_same_file_is_refused() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    append(&broker.path("app.log"), &lines(0..1));
    let mut first = follow(&broker);
    until("the first line", || arrived(&broker) == 1);
    let second = follow(&broker).wait_with_output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("another grower-cli already follows"), "{}", text(&second.stderr));
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn one_of_several_concurrent_followers_follows_and_the_others_fail() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    append(&broker.path("app.log"), &lines(0..3));
    let mut followers: Vec<Child> = (0..4).map(|_| follow(&broker)).collect();
    until("three refusals", || followers.iter_mut().filter_map(|follower| follower.try_wait().unwrap()).count() == 3);
    until("all lines", || arrived(&broker) == 3);
    for mut follower in followers {
        if follower.try_wait().unwrap().is_none() {
            kill(follower);
            continue;
        }
        let output = follower.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("another grower-cli already follows"), "{}", text(&output.stderr));
    }
    assert_eq!(text(&broker.read("events")), lines(0..3));
}

/// Stalls every sync until it is dropped.
struct StalledSyncs(Arc<AtomicBool>);

impl StalledSyncs {
    fn begin(faults: &grower_storage::disk::Faults) -> Self {
        let stalled = Arc::new(AtomicBool::new(true));
        let next = faults.calls(Call::Sync);
        for nth in next..next + 100 {
            let stalled = stalled.clone();
            faults.before(Call::Sync, nth, move || {
                while stalled.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
            });
        }
        Self(stalled)
    }
}

impl Drop for StalledSyncs {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[test]
fn uncommitted_lines_of_a_killed_follower_are_not_sent_again() {
    let (broker, faults) = Served::with_faults();
    let log = broker.path("app.log");
    broker.ok("topic create events", b"");
    append(&log, &lines(0..1));
    let first = follow(&broker);
    until("the first line", || arrived(&broker) == 1);
    // An idle partition writes its checkpoint, and an append would wait for that.
    let mut newest = (0, Instant::now());
    until("the idle partition to rest", || {
        let syncs = faults.calls(Call::Sync);
        if syncs != newest.0 {
            newest = (syncs, Instant::now());
        }
        Duration::from_millis(500) <= newest.1.elapsed()
    });
    let stall = StalledSyncs::begin(&faults);
    append(&log, &lines(1..2));
    until("an append that waits for its sync", || appended(&broker) == 2);
    kill(first);
    let second = follow(&broker);
    append(&log, &lines(2..3));
    until("its successor", || is_locked(&note(&broker)));
    for _ in 0..20 {
        assert_eq!(appended(&broker), 2, "the successor waits for what is not committed");
    }
    drop(stall);
    until("all lines", || 3 <= arrived(&broker));
    kill(second);
    assert_eq!(text(&broker.read("events")), lines(0..3));
}

fn appended(broker: &Served) -> u64 {
    let topic = &json(&broker.ok("topic describe events --output json", b""))[0];
    topic["partitions"][0]["log_end"].as_u64().unwrap()
}

fn note(broker: &Served) -> std::path::PathBuf {
    broker.path("app.log.events.grower-place")
}

/// Asks the system, because a lock of the test could make the follower fail.
fn is_locked(path: &Path) -> bool {
    let inode = format!(":{} ", fs::metadata(path).unwrap().ino());
    fs::read_to_string("/proc/locks").unwrap().lines().any(|lock| lock.contains(&inode))
}

#[test]
fn a_follower_waits_for_its_file_and_for_its_folder() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    let log = broker.path("later/app.log");
    let mut follower = broker.cli(&format!("produce events {} --follow", log.display())).spawn().unwrap();
    let mut stderr = BufReader::new(follower.stderr.take().unwrap()).lines();
    assert!(stderr.next().unwrap().unwrap().contains("no such folder"));
    fs::create_dir(broker.path("later")).unwrap();
    assert!(stderr.next().unwrap().unwrap().contains("app.log: not there yet"));
    append(&log, &lines(0..2));
    until("the lines", || arrived(&broker) == 2);
    kill(follower);
}

#[test]
fn a_follower_continues_without_a_reader_of_its_warnings() {
    let broker = Served::start();
    let log = broker.path("app.log");
    broker.ok("topic create events", b"");
    append(&log, "one\n");
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let command = format!("produce events {} --follow", log.display());
    let follower = broker.cli(&command).stderr(writer).spawn().unwrap();
    until("the first line", || arrived(&broker) == 1);
    fs::write(&log, "quite another text\n").unwrap(); // This prints a warning.
    until("the second line", || arrived(&broker) == 2);
    append(&log, "three\n");
    until("the third line", || arrived(&broker) == 3);
    kill(follower);
    assert_eq!(text(&broker.read("events")), "one\nquite another text\nthree\n");
}

#[test]
fn a_state_dir_keeps_notes_of_files_with_one_name_apart() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    let follow = |folder: &str| {
        let (log, state) = (broker.path(folder).join("app.log"), broker.path("state/of/followers"));
        broker
            .cli(&format!("produce events {} --follow --state-dir {}", log.display(), state.display()))
            .spawn()
            .unwrap()
    };
    for folder in ["a", "b"] {
        fs::create_dir(broker.path(folder)).unwrap();
        append(&broker.path(folder).join("app.log"), &format!("one of {folder}\n"));
    }
    let followers = [follow("a"), follow("b")];
    until("a line of each", || arrived(&broker) == 2);
    followers.into_iter().for_each(kill);
    append(&broker.path("a/app.log"), "two of a\n");
    let again = follow("a");
    until("the next line", || arrived(&broker) == 3);
    kill(again);
    assert_eq!(text(&broker.read("events")).lines().filter(|line| line.ends_with("of a")).count(), 2);
    assert_eq!(fs::read_dir(broker.path("a")).unwrap().count(), 1, "no note is next to the file");
}

#[test]
fn a_file_with_a_long_name_is_followed_into_a_topic_with_a_long_name() {
    let broker = Served::start();
    let (topic, name) = ("t".repeat(200), "x".repeat(250));
    broker.ok(&format!("topic create {topic}"), b"");
    append(&broker.path(&name), "one\n");
    let command = format!("produce {topic} {} --follow", broker.path(&name).display());
    let follower = broker.cli(&command).spawn().unwrap();
    until("the line", || text(&broker.read(&topic)) == "one\n");
    kill(follower);
}
