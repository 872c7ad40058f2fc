//! Interrupted commands, and damaged records.

mod kit;

use kit::{Served, json, text, until};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};

fn interrupt(child: &Child) {
    signal(child, "INT");
}

fn signal(child: &Child, name: &str) {
    let kill = format!("kill -{name} {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

#[test]
fn an_interrupted_produce_waits_for_acks_of_the_lines_read_and_fails() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    let mut child = broker.cli("produce events --output json").stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"one\ntwo\nthree\nand half of fo").unwrap();
    let mut acks = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!((1..=3).all(|line| acks.next().unwrap().unwrap().contains(&format!(r#""line":{line},"#))));
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("interrupted"), "{}", text(&output.stderr));
    assert_eq!(text(&broker.read("events")), "one\ntwo\nthree\n");
}

#[test]
fn an_interrupted_follower_succeeds() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    std::fs::write(broker.path("app.log"), "one\ntwo\n").unwrap();
    let command = format!("produce events {} --follow", broker.path("app.log").display());
    let child = broker.cli(&command).spawn().unwrap();
    until("two lines", || text(&broker.read("events")) == "one\ntwo\n");
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}

#[test]
fn damage_ends_consume_with_its_offsets_and_can_be_skipped() {
    let mut broker = Served::start();
    broker.ok("topic create events --config segment.messages=2", b"");
    broker.ok("produce events --batch-records 1", b"0\n1\n2\n3\n4\n5\n");
    broker.stop();
    let segment = broker.data_dir().join("topics/events/0/00000000000000000002.growerlog");
    let file = std::fs::File::options().write(true).open(segment).unwrap();
    file.write_all_at(&[0xee], 64).unwrap(); // Inside the only record of the batch at offset 2.
    broker.restart();
    let output = broker.run("consume events --until-end", b"");
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("--skip-damaged") && stderr.contains("events/0") && stderr.contains("2..3"), "{stderr}");
    let output = broker.run("consume events --until-end --skip-damaged", b"");
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "0\n1\n3\n4\n5\n"));
    assert!(text(&output.stderr).contains("damaged"), "what was passed over is named: {}", text(&output.stderr));
    assert!(!output.stderr.contains(&0x1b), "colours are for terminals: {}", text(&output.stderr));
    let topic = &json(&broker.ok("topic describe events --output json", b""))[0];
    assert_eq!(topic["partitions"][0]["damaged"], serde_json::json!([[2, 3]]));
}

#[test]
fn a_closed_terminal_ends_commands_like_ctrl_c() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    let mut producer = broker.cli("produce events --output json").stdin(Stdio::piped()).spawn().unwrap();
    producer.stdin.as_mut().unwrap().write_all(b"one\ntwo\n").unwrap();
    let mut acks = BufReader::new(producer.stdout.as_mut().unwrap()).lines();
    assert!((1..=2).all(|_| acks.next().unwrap().is_ok()));
    let mut reader = broker.cli("consume events --group g").spawn().unwrap();
    let mut lines = BufReader::new(reader.stdout.as_mut().unwrap()).lines();
    assert!((1..=2).all(|_| lines.next().unwrap().is_ok()));
    std::fs::write(broker.path("app.log"), "three\n").unwrap();
    let command = format!("produce events {} --follow", broker.path("app.log").display());
    let follower = broker.cli(&command).spawn().unwrap();
    until("a third line", || text(&broker.read("events")).lines().count() == 3);
    let _input = producer.stdin.take(); // The end of the input would end the producer, too.
    for (child, code) in [(producer, 1), (follower, 0), (reader, 0)] {
        signal(&child, "HUP");
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
    }
    let group = &json(&broker.ok("group describe g --output json", b""))[0];
    assert_ne!(group["partitions"][0]["committed"], 0, "the reader committed as it ended: {group}");
    assert!(broker.path("app.log.events.grower-place").exists());
}

#[test]
fn under_nohup_a_closed_terminal_ends_no_command() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    let script = r#"trap '' HUP; exec "$0" consume events"#;
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_grower-cli")]).env("GROWER_BROKER", broker.address());
    let mut reader = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(reader.stdout.take().unwrap()).lines();
    broker.ok("produce events", b"one\n");
    assert_eq!(lines.next().unwrap().unwrap(), "one");
    signal(&reader, "HUP");
    broker.ok("produce events", b"two\n");
    assert_eq!(lines.next().unwrap().unwrap(), "two");
    signal(&reader, "TERM");
    assert!(reader.wait().unwrap().success());
}
