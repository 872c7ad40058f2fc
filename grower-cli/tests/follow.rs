//! `produce --follow` against a real port: a growing file arrives whole, once, whatever happens to file and follower.

mod kit;

use kit::{Served, text, until};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Child;

fn append(path: &Path, text: &str) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn follow(broker: &Served) -> Child {
    broker.cli(&format!("produce events {} --follow", broker.path("app.log").display())).spawn().unwrap()
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
        // Somewhere between a line's arrival and the note of it.
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
    assert!(text(&second.stderr).contains("another grower-cli follows"), "{}", text(&second.stderr));
    first.kill().unwrap();
    first.wait().unwrap();
}
