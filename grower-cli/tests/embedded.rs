//! `--embedded DIR`: the same commands without a daemon, on the same data.

mod kit;

use kit::{Served, json, text};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

fn embedded(dir: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grower-cli"));
    command.arg("--embedded").arg(dir).args(arguments.split_whitespace());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(dir: &Path, arguments: &str, input: &[u8]) -> Vec<u8> {
    let output = kit::feed(embedded(dir, arguments).spawn().unwrap(), input);
    assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
    output.stdout
}

#[test]
fn an_embedded_and_a_served_broker_share_a_directory_in_turn() {
    let mut broker = Served::start();
    let dir = broker.data_dir();
    broker.stop();
    run(&dir, "topic create events", b"");
    run(&dir, "produce events", b"without\n");
    broker.restart();
    broker.ok("produce events", b"served\n");
    let output = kit::feed(embedded(&dir, "topic list").spawn().unwrap(), b"");
    assert!(text(&output.stderr).contains("another broker works in"), "{}", text(&output.stderr));
    broker.stop();
    assert_eq!(text(&run(&dir, "consume events --until-end", b"")), "without\nserved\n");
}

#[test]
fn every_line_acknowledged_before_a_kill_is_there_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    run(&dir, "topic create events", b"");
    let mut acknowledged = 0;
    for _ in 0..5 {
        let mut child = embedded(&dir, "produce events --output json").spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || while input.write_all(b"a line\nanother line\n").is_ok() {});
        let mut acks = BufReader::new(child.stdout.take().unwrap()).lines();
        let last = (0..2_000).map(|_| acks.next().unwrap().unwrap()).last().unwrap();
        child.kill().unwrap(); // Kills broker and producer at once.
        child.wait().unwrap();
        writer.join().unwrap();
        let last = json(last.as_bytes())[0]["offset"].as_u64().unwrap();
        assert!(acknowledged <= last, "offsets continue after the last one");
        acknowledged = last + 1;
        let read = text(&run(&dir, "consume events --until-end", b""));
        assert!(acknowledged as usize <= read.lines().count());
        assert!(read.lines().all(|line| line == "a line" || line == "another line"));
    }
}
