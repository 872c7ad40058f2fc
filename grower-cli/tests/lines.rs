//! `produce` and `consume` over a real port return the same lines.

mod kit;

use kit::{Served, json, text};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

/// A log with unusual lines: empty and long ones, carriage returns, NUL, bytes that are not UTF-8.
fn odd_log(lines: u32) -> Vec<u8> {
    let mut log = Vec::new();
    for number in 0..lines {
        match number % 7 {
            0 => log.extend_from_slice(format!("{number} an ordinary line").as_bytes()),
            1 => {}
            2 => log.extend_from_slice(b"ends like Windows\r"),
            3 => log.extend_from_slice(b"\0\x01\xff\xfe\xc3"),
            4 => log.extend_from_slice(&vec![b'x'; (number as usize * 37) % 5000]),
            5 => log.extend_from_slice("gr\u{fc}ner \u{1f331}\u{2028}".as_bytes()),
            _ => log.extend_from_slice(format!("  {number}\t\u{b}\u{c}\x1b[31m").as_bytes()),
        }
        log.push(b'\n');
    }
    log
}

#[test]
fn a_log_of_100_000_lines_comes_back_byte_for_byte_also_after_a_restart() {
    let mut broker = Served::start();
    let log = odd_log(100_000);
    std::fs::write(broker.path("big.log"), &log).unwrap();
    broker.ok("topic create events", b"");
    let stdout = broker.ok(&format!("produce events {}", broker.path("big.log").display()), b"");
    assert!(text(&stdout).starts_with("events: 100000 records, "), "{}", text(&stdout));
    assert!(broker.read("events") == log);
    broker.restart();
    assert!(broker.read("events") == log);
}

#[test]
fn every_codec_returns_the_same_bytes() {
    let broker = Served::start();
    let log = odd_log(5_000);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        broker.ok(&format!("topic create {codec}"), b"");
        broker.ok(&format!("produce {codec} --compression {codec}"), &log);
        assert!(broker.read(codec) == log, "{codec}");
    }
}

#[test]
fn a_last_line_without_newline_counts_and_no_input_is_no_record() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    broker.ok("produce events", b"");
    assert_eq!(broker.read("events"), b"");
    broker.ok("produce events", b"one\n\nlast");
    assert_eq!(broker.read("events"), b"one\n\nlast\n");
}

#[test]
fn a_line_over_the_limit_is_reported_by_number_and_the_others_are_sent() {
    let broker = Served::start();
    broker.ok("topic create events --config max.message.bytes=10KiB", b"");
    let long = vec![b'x'; 3 << 20];
    let nearly = vec![b'y'; 10 << 10]; // Fits as a line, but not with the overhead of a batch.
    let input = [b"one\n", &long[..], b"\nthree\n", &nearly, b"\nfive\n"].concat();
    let error = broker.fails("produce events", &input);
    assert!(error.contains("line 2 has 3145728 bytes") && error.contains("line 4 "), "{error}");
    assert!(!error.contains("line 1 ") && !error.contains("line 3 ") && !error.contains("line 5 "), "{error}");
    assert_eq!(broker.read("events"), b"one\nthree\nfive\n");
}

#[test]
fn acks_are_in_line_order_and_locate_each_line() {
    let broker = Served::start();
    broker.ok("topic create events:3", b"");
    let input: String = (1..=300).map(|line| format!("line {line}\n")).collect();
    let acks = json(&broker.ok("produce events --partitioner round-robin --output json", input.as_bytes()));
    let lines: Vec<u64> = acks.iter().map(|ack| ack["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, (1..=300).collect::<Vec<_>>());
    assert!(acks.iter().all(|ack| ack["durability"] == "fsynced" && ack["topic"] == "events"));
    let records = json(&broker.ok("consume events --until-end --output json", b""));
    for ack in &acks {
        let same_place = |r: &&serde_json::Value| r["partition"] == ack["partition"] && r["offset"] == ack["offset"];
        let record = records.iter().find(same_place).unwrap();
        assert_eq!(record["value"], format!("line {}", ack["line"]));
        assert_eq!(record["timestamp"], ack["timestamp"]);
    }
}

#[test]
fn an_ack_reaches_a_program_that_waits_for_it_before_it_writes_on() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    let mut child = broker.cli("produce events --output json").stdin(Stdio::piped()).spawn().unwrap();
    let (mut input, mut acks) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    for number in 0..20 {
        writeln!(input, "question {number}").unwrap();
        let mut ack = String::new();
        acks.read_line(&mut ack).unwrap();
        assert!(ack.contains(&format!(r#""offset":{number},"#)), "{ack}");
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn each_ack_level_reports_its_durability() {
    let broker = Served::start();
    broker.ok("topic create careful", b"");
    broker.ok("topic create careless --config flush=os", b"");
    for (arguments, offset, durability) in [
        ("careful --acks all", 0.into(), "fsynced"),
        ("careful --acks leader", 1.into(), "written"),
        ("careful --acks none", serde_json::Value::Null, "none"),
        ("careless --acks all", 0.into(), "written"),
    ] {
        let acks = json(&broker.ok(&format!("produce {arguments} --output json"), b"x\n"));
        assert_eq!((&acks[0]["offset"], &acks[0]["durability"]), (&offset, &durability.into()), "{arguments}");
    }
}

#[test]
fn keys_headers_and_partitions_arrive() {
    let broker = Served::start();
    broker.ok("topic create events:4", b"");
    broker.ok(
        "produce events --key-separator :: --header host=web1 --header a=b=c --partition 2",
        b"k::v::w\nno key\n::empty\n",
    );
    let printed = broker.ok(r"consume events --until-end --format %p|%o|%k|%v|%h\n", b"");
    assert_eq!(text(&printed), "2|0|k|v::w|host=web1,a=b=c\n2|1||no key|host=web1,a=b=c\n2|2||empty|host=web1,a=b=c\n");
    broker.ok("produce events --key k", b"1\n2\n3\n");
    let keyed = broker.ok(r"consume events --until-end --format %k:%p\n", b"");
    let partitions: std::collections::BTreeSet<&str> = std::str::from_utf8(&keyed)
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("k:"))
        .filter(|p| *p != "2")
        .collect();
    assert!(partitions.len() <= 1, "one key, one partition: {partitions:?}");
    let folder = broker.path("");
    let error = broker.fails(&format!("produce events {}", folder.display()), b"");
    assert_eq!(error, format!("error: cannot read {}: Is a directory (os error 21)\n", folder.display()));
    let error = broker.fails("produce events --partition 4", b"x\n");
    assert!(error.contains("4 partitions"), "{error}");
}

#[test]
fn consume_starts_at_the_given_position() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    broker.ok("produce events", b"0\n1\n2\n3\n");
    let from = |place: &str| text(&broker.ok(&format!("consume events --until-end --from {place}"), b""));
    assert_eq!(from("beginning"), "0\n1\n2\n3\n");
    assert_eq!(from("offset:2"), "2\n3\n");
    assert_eq!(from("time:-1h"), "0\n1\n2\n3\n");
    assert_eq!(from("time:2000-01-01T00:00:00Z"), "0\n1\n2\n3\n");
    assert_eq!(from("end"), "");
    assert_eq!(text(&broker.ok("consume events --limit 3", b"")), "0\n1\n2\n");
    assert!(text(&broker.run("consume events --from committed", b"").stderr).contains("--group"));
    assert!(broker.fails("consume events --partition 7", b"").contains("1 partition,"));
    assert!(broker.fails("consume nosuch", b"").contains("no topic nosuch"));
}

#[test]
fn an_offset_after_the_end_is_refused_with_every_flag() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    broker.ok("produce events", b"0\n1\n");
    for flags in ["", "--until-end", "--group g", "--group g --until-end", "--partition 0", "--limit 1"] {
        let error = broker.fails(&format!("consume events --from offset:3 {flags}"), b"");
        assert_eq!(error, "error: events/0: offset 3 is after the end, 2; --from end waits for new records\n");
    }
    assert_eq!(text(&broker.ok("consume events --from offset:2 --until-end", b"")), "");
    broker.ok("consume events --group g --until-end", b"");
    let resumed = "consume events --group g --from offset:3 --until-end";
    assert_eq!(text(&broker.ok(resumed, b"")), "", "the group has committed, so that --from does not count");
}

#[test]
fn a_deleted_topic_does_not_end_the_others() {
    let broker = Served::start();
    broker.ok("topic create kept doomed", b"");
    broker.ok("produce kept", b"0\n");
    let mut reader = broker.cli("consume kept doomed").spawn().unwrap();
    let mut lines = BufReader::new(reader.stdout.take().unwrap()).lines();
    let mut stderr = BufReader::new(reader.stderr.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "0");
    broker.ok("topic delete doomed", b"");
    assert_eq!(stderr.next().unwrap().unwrap(), "topic doomed was deleted: still reading the others");
    broker.ok("produce kept", b"1\n");
    assert_eq!(lines.next().unwrap().unwrap(), "1");
    broker.ok("topic delete kept", b"");
    assert_eq!(reader.wait().unwrap().code(), Some(1), "nothing is left to read");
    assert!(stderr.any(|line| line.unwrap().contains("no topic kept")));
}

#[test]
fn a_closed_pipe_ends_consume_without_failure() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    broker.ok("produce events", &odd_log(20_000));
    let mut child = broker.cli("consume events").spawn().unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap(); // This closes the pipe.
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}

#[test]
fn produce_fails_if_its_acks_have_no_reader() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    let mut child = broker.cli("produce events --output json").stdin(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = kit::feed(child, &odd_log(1_000));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("the reader of the acks is gone"), "{}", text(&output.stderr));
}

#[test]
fn a_closed_standard_input_counts_as_empty() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    let address = broker
        .cli("")
        .get_envs()
        .find_map(|(name, value)| (name == "GROWER_BROKER").then(|| value.unwrap().to_owned()));
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "exec \"$0\" produce events <&-", env!("CARGO_BIN_EXE_grower-cli")]);
    let output = shell.env("GROWER_BROKER", address.unwrap()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("events: 0 records"), "{}", text(&output.stdout));
}

#[test]
fn a_missing_broker_is_reported_with_advice() {
    let mut broker = Served::start();
    let mut command = broker.cli("--timeout 2s topic list");
    broker.stop();
    let output = command.output().unwrap();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("grower-broker --data-dir") && stderr.contains("--broker"), "{stderr}");
}

#[test]
fn hostile_names_do_not_reach_the_terminal() {
    let broker = Served::start();
    let output = broker.cli("topic describe").arg("a\u{1b}[2Jb").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(!output.stderr.contains(&0x1b), "{}", text(&output.stderr));
    // Other users choose group ids freely.
    broker.ok("topic create events", b"");
    let (hostile, escaped) = ("bill\u{202e}gni", "bill\\u{202e}gni");
    let group = |command: &str, rest: &str| {
        let output = broker.cli(command).arg(hostile).args(rest.split_whitespace()).output().unwrap();
        assert!(output.status.success(), "{command}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let outputs = [
        group("group reset", "--topic events --to beginning"),
        text(&broker.ok("group list", b"")),
        group("group describe", ""),
        group("why", ""),
        group("group delete", ""),
    ];
    for output in outputs {
        assert!(output.contains(escaped) && !output.contains('\u{202e}'), "{output}");
    }
}
