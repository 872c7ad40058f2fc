//! Standard streams that are non-blocking, closed, full, or lose their reader.

mod kit;

use kit::{Served, text, until};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write, pipe};
use std::process::{Child, Command, Stdio};

fn non_blocking_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = pipe().unwrap();
    fcntl_setfl(&reader, OFlags::NONBLOCK).unwrap();
    fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    (reader, writer)
}

/// A pipe without a reader.
fn pipe_without_reader() -> PipeWriter {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    writer
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn a_non_blocking_standard_input_is_waited_for() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    let (reader, mut writer) = non_blocking_pipe();
    let child = broker.cli("produce events").stdin(reader).spawn().unwrap();
    writer.write_all(b"one\n").unwrap();
    until("the first line", || text(&broker.read("events")) == "one\n"); // Now it finds the pipe empty.
    writer.write_all(b"two\n").unwrap();
    drop(writer);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&broker.read("events")), "one\ntwo\n");
}

#[test]
fn a_full_non_blocking_output_is_waited_for() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    let input: String = (0..50_000).map(|number| format!("line {number}\n")).collect();
    for (command, expected) in [("produce events --output json", None), ("consume events --until-end", Some(&input))] {
        let (reader, writer) = pipe().unwrap();
        fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
        let child = broker.cli(command).stdin(Stdio::piped()).stdout(writer).spawn().unwrap();
        let printed = std::thread::spawn(move || {
            let mut printed = String::new();
            BufReader::with_capacity(100, reader).read_to_string(&mut printed).map(|_| printed)
        });
        let output = kit::feed(child, input.as_bytes());
        assert!(output.status.success(), "{command}: {}", text(&output.stderr));
        let printed = printed.join().unwrap().unwrap();
        assert_eq!(printed.lines().count(), 50_000, "{command}");
        assert!(expected.is_none_or(|expected| *expected == printed), "{command}");
    }
}

#[test]
fn consume_ends_when_its_reader_leaves_even_without_records() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    broker.ok("produce events", b"one\n");
    for command in ["consume events", "consume events --group billing", "consume events --output json"] {
        let mut child = broker.cli(command).spawn().unwrap();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        reader.read_line(&mut String::new()).unwrap();
        drop(reader);
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{command}");
    }
}

#[test]
fn produce_fails_when_the_reader_of_its_acks_leaves_even_without_lines() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    let mut child = broker.cli("produce events --output json").stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"one\n").unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    reader.read_line(&mut String::new()).unwrap();
    drop(reader);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("the reader of the acks is gone"), "{}", text(&output.stderr));
    drop(input);
}

#[test]
fn standard_error_without_a_reader_changes_no_result() {
    let broker = Served::start();
    broker.ok("topic create events --config max.message.bytes=10KiB", b"");
    let input = [b"one\n", &vec![b'x'; 11 << 10][..], b"\nthree\n"].concat();
    let child = broker.cli("produce events").stdin(Stdio::piped()).stderr(pipe_without_reader()).spawn().unwrap();
    assert_eq!(kit::feed(child, &input).status.code(), Some(1));
    assert_eq!(text(&broker.read("events")), "one\nthree\n");
    let status = broker.cli("consume nosuch").stderr(pipe_without_reader()).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn every_message_reaches_a_non_blocking_standard_error() {
    let broker = Served::start();
    broker.ok("topic create events --config max.message.bytes=1KiB", b"");
    let (mut reader, writer) = pipe().unwrap();
    fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    let child = broker.cli("produce events").stdin(Stdio::piped()).stderr(writer).spawn().unwrap();
    let messages = std::thread::spawn(move || {
        let mut printed = String::new();
        reader.read_to_string(&mut printed).map(|_| printed)
    });
    let input = [&vec![b'x'; 2 << 10][..], b"\n"].concat().repeat(2_000);
    assert_eq!(kit::feed(child, &input).status.code(), Some(1));
    let messages = messages.join().unwrap().unwrap();
    assert_eq!(messages.lines().filter(|line| line.starts_with("line ")).count(), 2_000);
}

#[test]
fn a_second_interrupt_ends_produce_at_once() {
    let mut broker = Served::start();
    broker.ok("topic create events", b"");
    for second in [Signal::INT, Signal::TERM] {
        let mut child = broker.cli("produce events --output json").stdin(Stdio::piped()).spawn().unwrap();
        let (mut input, mut acks) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        input.write_all(b"one\n").unwrap();
        acks.read_line(&mut String::new()).unwrap();
        broker.stop();
        for _ in 0..10 {
            // One by one, so that some lines reach the producer.
            input.write_all(b"two\n").unwrap();
            until("an empty pipe", || rustix::io::ioctl_fionread(&input).unwrap() == 0);
        }
        signal(&child, Signal::INT);
        // The first signal waits for the broker. Repeat the second, because signals close together count as one.
        let mut ended = None;
        until("its end", || {
            signal(&child, second);
            ended = child.try_wait().unwrap();
            ended.is_some()
        });
        assert_eq!(ended.unwrap().code(), Some(1));
        let mut printed = String::new();
        child.stderr.take().unwrap().read_to_string(&mut printed).unwrap();
        assert!(printed.contains("interrupted again"), "{printed}");
        broker.restart();
    }
}

/// Commands that print.
const PRINTING: [&str; 24] = [
    "--help",
    "--version",
    "help topic",
    "topic list --help",
    "completions bash",
    "topic list",
    "topic list --output json",
    "topic describe events",
    "topic create created",
    "topic alter doomed --config flush=os",
    "topic grow doomed --partitions 2",
    "topic trim events --before offset:1",
    "topic delete doomed",
    "produce events",
    "produce events --output json",
    "consume events --until-end",
    "consume events --until-end --group billing",
    "group list",
    "group describe known",
    "group reset known --topic events --to beginning",
    "why events",
    "broker describe",
    "broker settings",
    "doctor",
];

#[test]
fn no_command_succeeds_if_standard_output_is_full() {
    let broker = Served::start();
    broker.ok("topic create events doomed", b"");
    broker.ok("produce events", b"one\ntwo\n");
    broker.ok("consume events --until-end --group known", b"");
    for command in PRINTING {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let child = broker.cli(command).stdin(Stdio::piped()).stdout(full).spawn().unwrap();
        let output = kit::feed(child, b"three\n");
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command}: {stderr}");
        assert!(stderr.contains("cannot write to standard output: No space left"), "{command}: {stderr}");
    }
    assert_eq!(
        text(&broker.ok("consume events --group billing --limit 2", b"")),
        "one\ntwo\n",
        "nothing was committed"
    );
}

#[test]
fn no_command_does_anything_if_standard_output_is_closed() {
    let broker = Served::start();
    broker.ok("topic create events doomed", b"");
    broker.ok("produce events", b"one\ntwo\n");
    broker.ok("consume events --until-end --group known", b"");
    let before = text(&broker.ok("topic list", b""));
    for command in PRINTING {
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec \"$@\" >&-", "sh", env!("CARGO_BIN_EXE_grower-cli")]).args(command.split(' '));
        let child = shell.env("GROWER_BROKER", broker.address()).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let output = kit::feed(child.unwrap(), b"three\n");
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command}: {stderr}");
        assert!(stderr.contains("standard output is closed"), "{command}: {stderr}");
    }
    let names = |list: &str| list.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&text(&broker.ok("topic list", b""))), names(&before));
    assert_eq!(text(&broker.ok("consume events --group billing --until-end", b"")), "one\ntwo\n");
}
