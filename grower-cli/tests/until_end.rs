//! `consume --until-end` ends even if the records it waits for are lost, dropped or recreated.

mod kit;

use kit::{Served, json, text, until};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Read as _;
use std::process::{Child, Output};

/// More lines of 100 KB than a reader polls and prefetches, at most 32 MiB.
const LINES: usize = 400;

/// More lines than the first poll returns.
const SYNCED: usize = 200;

fn lines(count: usize) -> Vec<u8> {
    format!("{}\n", "x".repeat(100_000)).repeat(count).into_bytes()
}

/// Starts a reader that blocks after the first line, because its output is not read.
fn stuck(broker: &Served, arguments: &str) -> (Child, u8) {
    let mut child = broker.cli(arguments).spawn().unwrap();
    let mut first = [0];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    (child, first[0])
}

/// Waits for the end of a reader and returns its output.
fn ends(child: Child) -> Output {
    let (sender, receiver) = std::sync::mpsc::channel();
    let id = child.id();
    std::thread::spawn(move || sender.send(child.wait_with_output().unwrap()));
    receiver.recv_timeout(std::time::Duration::from_secs(60)).unwrap_or_else(|_| {
        std::process::Command::new("sh").args(["-c", &format!("kill -9 {id}")]).status().unwrap();
        panic!("it reads on: {}", text(&receiver.recv().unwrap().stderr));
    })
}

/// Recreates the topic while the readers are stopped, so that none of them sees a missing topic.
fn create_again(broker: &Served, readers: &[&Child]) {
    signal(readers, Signal::STOP);
    broker.ok("topic delete events --yes", b"");
    broker.ok("topic create events", b"");
    broker.ok("produce events", b"new\n");
    signal(readers, Signal::CONT);
}

fn signal(readers: &[&Child], signal: Signal) {
    for reader in readers {
        kill_process(Pid::from_child(reader), signal).unwrap();
    }
}

#[test]
fn until_end_stops_at_a_recreated_topic_and_prints_none_of_its_records() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    broker.ok("produce events", &lines(LINES));
    let (reader, _) = stuck(&broker, "consume events --until-end");
    create_again(&broker, &[&reader]);
    let output = ends(reader);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!text(&output.stdout).contains("new"));
    assert!(text(&output.stderr).contains("created again"), "{}", text(&output.stderr));
}

#[test]
fn until_end_stops_if_the_topic_of_another_member_is_recreated() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    broker.ok("produce events", &lines(10));
    let (mut other, waits) = two_members(&broker);
    create_again(&broker, &[&waits, &other]);
    let output = ends(waits);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("topic events was created again"), "{}", text(&output.stderr));
    other.kill().unwrap();
    other.wait().unwrap();
}

fn members(broker: &Served) -> usize {
    json(&broker.ok("group describe g --output json", b""))[0]["members"].as_array().unwrap().len()
}

/// A topic of which only the first `durable` lines survive a power cut.
fn partly_synced(durable: usize) -> Served {
    let (broker, _) = Served::with_faults();
    broker.ok("broker alter --config disk.flush_delay=1m", b"");
    broker.ok("topic create events --config flush=os", b"");
    broker.ok("produce events", &lines(durable));
    broker.ok("topic alter events --config flush=fsync", b"");
    broker.ok("topic alter events --config flush=os", b"");
    broker.ok("produce events", &lines(LINES - durable));
    broker
}

#[test]
fn until_end_stops_at_the_first_lost_offset() {
    let mut broker = partly_synced(SYNCED);
    let (reader, _) = stuck(&broker, "consume events --until-end");
    broker.power_cut();
    let output = ends(reader);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("events/0: the log lost offsets 200..400: reading up to offset 200"), "{stderr}");
    let printed = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    assert_eq!(printed, SYNCED);
}

#[test]
fn until_end_skips_new_records_at_the_offsets_of_lost_ones() {
    for durable in [20, SYNCED] {
        let mut broker = partly_synced(durable); // In the first case it has polled lost records already.
        let (reader, _) = stuck(&broker, "consume events --until-end");
        broker.power_cut();
        broker.ok("produce events", "new\n".repeat(LINES).as_bytes());
        let output = ends(reader);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(!text(&output.stdout).contains("new"), "{durable}");
    }
}

/// A stuck member of group `g`, and another one that reads until the end.
fn two_members(broker: &Served) -> (Child, Child) {
    let (other, _) = stuck(broker, "consume events --group g");
    let waits = broker.cli("consume events --group g --until-end").spawn().unwrap();
    until("it is a member as well", || members(broker) == 2);
    (other, waits)
}

/// Asserts that a member ends well while the other one is stuck.
fn succeeds_without(waits: Child, mut other: Child) {
    let output = ends(waits);
    assert!(output.status.success(), "{}", text(&output.stderr));
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn until_end_stops_if_the_records_of_another_member_were_dropped() {
    let (mut broker, _) = Served::with_faults();
    broker.ok("topic create events", b"");
    broker.ok("produce events", &lines(10));
    let (other, waits) = two_members(&broker);
    broker.ok("produce events", b"new\n");
    broker.ok("topic trim events --before end --yes", b"");
    broker.power_cut();
    succeeds_without(waits, other);
}

#[test]
fn until_end_stops_if_a_log_lost_the_records_of_another_member() {
    let mut broker = partly_synced(0);
    let (other, waits) = two_members(&broker);
    broker.power_cut();
    succeeds_without(waits, other);
}

#[test]
fn the_first_run_of_a_group_fixes_its_start_even_without_records() {
    let broker = Served::start();
    for (topic, from) in [("ends", "end"), ("times", "time:2099-01-01T00:00:00Z")] {
        broker.ok(&format!("topic create {topic}:2"), b"");
        let run = format!("consume {topic} --group {topic} --from {from} --until-end");
        assert_eq!(text(&broker.ok(&run, b"")), "");
        broker.ok(&format!("produce {topic}"), b"new\n");
        assert_eq!(text(&broker.ok(&run, b"")), "new\n", "a run that decides again begins after the record: {from}");
    }
}
