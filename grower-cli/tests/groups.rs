//! Consumer groups through the CLI: exactly the printed records are committed.

mod kit;

use kit::{Served, json, text, until};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read as _};
use std::process::{Child, Stdio};

#[test]
fn a_group_continues_after_the_printed_records() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    broker.ok("produce events", b"0\n1\n2\n3\n4\n");
    assert_eq!(text(&broker.ok("consume events --group g --limit 2", b"")), "0\n1\n");
    assert_eq!(text(&broker.ok("consume events --group g --until-end", b"")), "2\n3\n4\n");
    assert_eq!(text(&broker.ok("consume events --group g --until-end", b"")), "");
    assert_eq!(text(&broker.ok("consume events --group other --until-end", b"")), "0\n1\n2\n3\n4\n");
    broker.ok("group reset g --topic events --to offset:3", b"");
    assert_eq!(text(&broker.ok("consume events --group g --until-end", b"")), "3\n4\n");
}

#[test]
fn a_broker_with_little_memory_describes_a_group_of_thousands_of_partitions() {
    let broker = Served::with_memory(16 << 20);
    broker.ok("topic create events:4000", b"");
    broker.ok("produce events --partition 3999", b"0\n1\n");
    for group in ["g", "h"] {
        broker.ok(&format!("group reset {group} --topic events --to beginning"), b"");
    }
    let listed = &json(&broker.ok("group list --output json", b""))[0];
    assert_eq!((&listed[0]["lag"], &listed[1]["lag"], &listed[2]["lag"]), (&2.into(), &2.into(), &Value::Null));
    let stdout = text(&broker.ok("why g", b""));
    assert!(stdout.contains("2 records"), "{stdout}");
    assert_eq!(
        json(&broker.ok("group describe g --output json", b""))[0]["partitions"].as_array().unwrap().len(),
        4000
    );
}

#[test]
fn why_and_doctor_report_a_member_that_waits_for_memory() {
    let broker = Served::with_memory(16 << 20);
    broker.ok("topic create events:4000", b"");
    let mut waits = broker.cli("consume events --group g").spawn().unwrap();
    let why = || text(&broker.run("why g", b"").stdout);
    until("why says so", || why().contains("group g: memory for a new member or a commit was refused "));
    assert!(why().contains("raise broker.memory"), "{}", why());
    let doctor = json(&broker.run("doctor --output json", b"").stdout);
    let check = doctor[0]
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["about"] == "group memory")
        .unwrap_or_else(|| panic!("{doctor:?}"));
    assert!(check["level"] == "bad" && check.to_string().contains("memory refused to 1 group recently"), "{check}");
    waits.kill().unwrap();
    let stderr = text(&waits.wait_with_output().unwrap().stderr);
    assert_eq!(stderr.matches("cannot join the group yet; trying again").count(), 1, "{stderr}");
}

#[test]
fn a_member_that_ends_gives_its_partitions_to_the_other() {
    let broker = Served::start();
    broker.ok("topic create events:2", b"");
    let join = || broker.cli("consume events --group g --output json").spawn().unwrap();
    let (mut first, mut second) = (join(), join());
    until("two members with a partition each", || owners(&broker).len() == 2);
    first.kill().unwrap(); // It does not leave the group.
    first.wait().unwrap();
    until("one member with both", || owners(&broker).len() == 1);
    broker.ok("produce events --partition 0", b"zero\n");
    broker.ok("produce events --partition 1", b"one\n");
    let mut lines = BufReader::new(second.stdout.take().unwrap()).lines();
    let read = [lines.next().unwrap().unwrap(), lines.next().unwrap().unwrap()].concat();
    assert!(read.contains("zero") && read.contains("one"), "{read}");
    let error = broker.fails("group reset g --topic events --to beginning", b"");
    assert!(error.contains("members"), "{error}");
    let error = broker.fails("group delete g", b"");
    assert!(error.contains("members"), "{error}");
    interrupt(&second);
    assert!(second.wait().unwrap().success());
    assert_eq!(text(&broker.ok("consume events --group g --until-end", b"")), "");
}

#[test]
fn a_hand_over_prints_each_line_once() {
    const LINES: usize = 40_000;
    let broker = Served::start();
    broker.ok("topic create events:2", b"");
    let numbers: String = (0..LINES).map(|number| format!("{number}\n")).collect();
    broker.ok("produce events --partitioner round-robin", numbers.as_bytes());
    let mut first = broker.cli("consume events --group g").spawn().unwrap();
    let mut printed = BufReader::new(first.stdout.take().unwrap());
    let mut all: Vec<String> = printed.by_ref().lines().take(1_000).map(Result::unwrap).collect();
    // Its output is no longer read, so it blocks while printing.
    let mut second = broker.cli("consume events --group g").spawn().unwrap();
    let others = BufReader::new(second.stdout.take().unwrap());
    until("one partition is to move", || moves(&broker) || owners(&broker).len() == 2);
    let lines =
        |reader: BufReader<_>| std::thread::spawn(move || reader.lines().map(Result::unwrap).collect::<Vec<_>>());
    let (rest, others) = (lines(printed), lines(others));
    until("everything is committed", || lag(&broker) == Some(0));
    for mut member in [first, second] {
        interrupt(&member);
        assert!(member.wait().unwrap().success());
    }
    all.extend(rest.join().unwrap().into_iter().chain(others.join().unwrap()));
    let mut numbers: Vec<usize> = all.iter().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers.len(), LINES, "{} lines were printed twice", numbers.len().saturating_sub(LINES));
    assert!(numbers.into_iter().eq(0..LINES));
}

/// Whether a revocation is pending.
fn moves(broker: &Served) -> bool {
    let output = broker.run("group describe g --output json", b"");
    text(&output.stdout).contains("\"giving_up\":true")
}

fn lag(broker: &Served) -> Option<u64> {
    json(&broker.ok("group list --output json", b""))[0][0]["lag"].as_u64()
}

#[test]
fn why_reports_stuck_and_silent_members() {
    let broker = Served::start();
    broker.ok("topic create events:2", b"");
    let join = || broker.cli("consume events --group g");
    let mut stuck = join().spawn().unwrap(); // Its output is not read.
    let mut other = join().stdout(Stdio::null()).spawn().unwrap();
    until("two members with a partition each", || owners(&broker).len() == 2);
    let lines = format!("{}\n", "x".repeat(1_000)).repeat(300);
    (0..2).for_each(|number| drop(broker.ok(&format!("produce events --partition {number}"), lines.as_bytes())));
    let why = || text(&broker.ok("why g", b""));
    until("one partition is read to its end", || why().contains("nothing to read: committed up to the end, 300, last"));
    let stdout = why();
    let behind = stdout.lines().find(|line| line.starts_with(".. events/")).unwrap_or_else(|| panic!("{stdout}"));
    assert!(behind.contains("(127.0.0.1:") && behind.contains("client grower-cli) for "), "{behind}");
    assert!(behind.contains(" records (") && behind.contains("its owner is alive and "), "{behind}");
    let listed = &json(&broker.ok("group list --output json", b""))[0][0];
    assert!(0 < listed["lag"].as_u64().unwrap() && listed["lag_ms"].is_u64(), "{listed}");
    assert!(
        stdout.starts_with(&format!(".. group g: 2 members and 2 partitions: {} records", listed["lag"])),
        "{stdout}"
    );
    stuck.kill().unwrap(); // It does not leave the group.
    stuck.wait().unwrap();
    until("one is reported silent", || why().contains("has been silent for "));
    until("the other has read everything", || why().starts_with("ok group g: 1 member and 2 partitions: nothing left"));
    interrupt(&other);
    assert!(other.wait().unwrap().success());
    assert!(why().contains("group g: no members and 2 partitions"), "{}", why());
}

/// The owners of both partitions, each once.
fn owners(broker: &Served) -> std::collections::BTreeSet<String> {
    let output = broker.run("group describe g --output json", b"");
    let group = json(&output.stdout);
    let Some(partitions) = group.first().and_then(|group| group["partitions"].as_array()) else {
        return Default::default();
    };
    let owned = partitions.iter().filter_map(|partition| partition["owner"].as_str().map(str::to_owned));
    let owners: Vec<String> = owned.collect();
    if owners.len() == 2 { owners.into_iter().collect() } else { Default::default() }
}

fn interrupt(child: &Child) {
    let done = std::process::Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap();
    assert!(done.success());
}

#[test]
fn a_group_is_described_reset_and_deleted() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    broker.ok("produce events", b"0\n1\n2\n3\n");
    broker.ok("consume events --group g --limit 3", b"");
    insta::assert_snapshot!(ageless(&broker.ok("group list", b"")), @"
    GROUP STATE MEMBERS LAG BEHIND
    g empty 0 1 AGE s
    ");
    insta::assert_snapshot!(ageless(&broker.ok("group describe g", b"")), @"
    group g empty epoch 1 assignor range 0 members

    PARTITION COMMITTED END LAG BEHIND OWNER SINCE
    events/0 3 4 1 AGE s none none
    ");
    insta::assert_snapshot!(ageless(&broker.ok("group describe g --output json", b"")), @r#"{"group":"g","state":"empty","epoch":1,"assignor":"range","members":[],"partitions":[{"topic":"events","partition":0,"committed":3,"lost_from":null,"end":4,"lag":1,"lag_ms":AGE,"owner":null,"since":null}]}"#);
    insta::assert_snapshot!(text(&broker.ok("group reset g --topic events --to beginning", b"")), @"g: events/0 reset to offset 0");
    insta::assert_snapshot!(text(&broker.ok("group reset g --topic events --to offset:99 --output json", b"")), @r#"[{"topic":"events","partition":0,"offset":4}]"#);
    insta::assert_snapshot!(text(&broker.ok("group delete g", b"")), @"deleted group g");
    insta::assert_snapshot!(text(&broker.ok("group list --output json", b"")), @"[]");
    insta::assert_snapshot!(broker.fails("group describe g", b""), @"error: there is no group g");
}

#[test]
fn the_lag_of_a_group_counts_from_the_first_lost_record() {
    let (mut broker, _) = Served::with_faults();
    broker.ok("broker alter --config disk.flush_delay=1m", b"");
    broker.ok("topic create events --config flush=os", b"");
    broker.ok("produce events", b"0\n1\n");
    broker.ok("topic alter events --config flush=fsync", b"");
    broker.ok("topic alter events --config flush=os", b"");
    broker.ok("produce events", b"2\n3\n");
    assert_eq!(text(&broker.ok("consume events --group g --until-end", b"")), "0\n1\n2\n3\n");
    broker.power_cut();
    let described_lag = |broker: &Served| {
        let row = json(&broker.ok("group describe g --output json", b""))[0]["partitions"][0].clone();
        assert_eq!((&row["committed"], &row["lost_from"]), (&4.into(), &2.into()));
        assert!(row["lag"] == 0 || 0 < row["lag_ms"].as_u64().unwrap(), "{row}");
        assert_eq!(lag(broker), row["lag"].as_u64());
        lag(broker).unwrap()
    };
    assert_eq!(described_lag(&broker), 0, "nothing is there to be read");
    broker.ok("produce events", b"new 2\n");
    until("it is a millisecond old", || json(&broker.ok("group list --output json", b""))[0][0]["lag_ms"] != 0);
    assert_eq!(described_lag(&broker), 1, "the log ends before the commit");
    broker.ok("produce events", b"new 3\nnew 4\n");
    assert_eq!(described_lag(&broker), 3, "and again after the commit");
    assert!(text(&broker.ok("why events", b"")).contains("3 records"), "{}", text(&broker.ok("why events", b"")));
    assert_eq!(text(&broker.ok("consume events --group g --until-end", b"")), "new 2\nnew 3\nnew 4\n");
    assert_eq!(lag(&broker), Some(0));
}

/// Replaces ages, and normalizes spaces.
fn ageless(output: &[u8]) -> String {
    let word =
        |word: &str| if word.parse::<f64>().is_ok() && word.contains('.') { "AGE".to_owned() } else { word.to_owned() };
    let line = |line: &str| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
    let lines = text(output).lines().map(line).collect::<Vec<_>>().join("\n");
    match lines.split_once("\"lag_ms\":") {
        Some((before, after)) => {
            format!("{before}\"lag_ms\":AGE{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        None => lines,
    }
}
