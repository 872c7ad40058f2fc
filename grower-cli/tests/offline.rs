//! One partition of a topic is offline: the others are read and written, and the offline one is named.

mod kit;

use kit::{Served, text};
use std::io::{BufRead, BufReader};
use std::process::Command;

/// A topic `t` of three partitions with ten records each. The files of partition 1 are moved to `away`.
fn with_an_offline_partition() -> Served {
    let mut broker = Served::start();
    broker.ok("topic create t:3", b"");
    for partition in 0..3 {
        let lines: String = (0..10).map(|number| format!("{partition}:{number}\n")).collect();
        broker.ok(&format!("produce t --partition {partition}"), lines.as_bytes());
    }
    broker.ok("consume t --group old --partition 0 --limit 3", b"");
    broker.stop();
    std::fs::rename(broker.data_dir().join("topics/t/1"), broker.path("away")).unwrap();
    broker.restart();
    broker
}

#[test]
fn until_end_reads_the_served_partitions_and_fails_for_an_offline_one() {
    let broker = with_an_offline_partition();
    for (arguments, lines) in [
        ("consume t --until-end", 20),
        ("consume t --until-end --skip-damaged --from offset:0", 20),
        ("consume t --until-end --group old", 20 - 3),
        ("consume t --until-end --group new", 20),
        ("consume t --until-end --group alone --partition 0 --partition 1", 10),
    ] {
        let output = broker.run(arguments, b"");
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments}: {stderr}");
        let printed = text(&output.stdout);
        assert_eq!(printed.lines().count(), lines, "{arguments}: {printed}");
        assert_eq!(stderr.matches("warning: t/1 is offline").count(), 1, "{arguments}: {stderr}");
        assert!(stderr.contains("error: t/1 was not read"), "{arguments}: {stderr}");
    }
}

#[test]
fn a_partition_is_read_once_it_is_served_again() {
    let broker = with_an_offline_partition();
    let arguments = ["consume t", "consume t --group new"];
    let mut readers = arguments.map(|arguments| broker.cli(arguments).spawn().unwrap());
    let mut printed = [0, 1].map(|which: usize| BufReader::new(readers[which].stdout.take().unwrap()).lines());
    let mut next = |which: usize, count| printed[which].by_ref().take(count).map(Result::unwrap).collect::<Vec<_>>();
    for (which, arguments) in arguments.iter().enumerate() {
        assert!(next(which, 20).iter().all(|line| !line.starts_with("1:")), "{arguments}");
    }
    std::fs::rename(broker.path("away"), broker.data_dir().join("topics/t/1")).unwrap();
    broker.ok("broker alter --config disk.retention_check=50ms", b"");
    for (which, arguments) in arguments.iter().enumerate() {
        let again = next(which, 10);
        assert!(again.len() == 10 && again.iter().all(|line| line.starts_with("1:")), "{arguments}: {again:?}");
    }
    for (reader, arguments) in readers.into_iter().zip(arguments) {
        let end = format!("kill -TERM {}", reader.id());
        assert!(Command::new("sh").args(["-c", &end]).status().unwrap().success());
        let output = reader.wait_with_output().unwrap();
        let stderr = text(&output.stderr);
        let warnings = stderr.matches("warning: t/1 is offline").count();
        assert_eq!((output.status.code(), warnings), (Some(0), 1), "{arguments}: {stderr}");
    }
}

#[test]
fn exactly_the_lines_for_an_offline_partition_are_named() {
    let broker = with_an_offline_partition();
    let lines: String = (1..=9).map(|number| format!("new {number}\n")).collect();
    let error = broker.fails("produce t --partitioner round-robin", lines.as_bytes());
    assert!(error.contains("acknowledged: 6 lines") && error.contains("(3 lines)"), "{error}");
    let named = error.split("not acknowledged: lines ").nth(1).unwrap().split(" (").next().unwrap();
    let named: Vec<u64> = named.split(", ").map(|number| number.parse().unwrap()).collect();
    let mut stored: Vec<String> = Vec::new();
    for partition in [0, 2] {
        let read = broker.ok(&format!("consume t --partition {partition} --until-end"), b"");
        stored.extend(text(&read).lines().filter(|line| line.starts_with("new")).map(str::to_owned));
    }
    stored.extend(named.iter().map(|number| format!("new {number}")));
    stored.sort();
    assert_eq!(stored, lines.lines().collect::<Vec<_>>(), "stored and named are all: {error}");
}

#[test]
fn a_reset_of_a_group_says_that_a_partition_is_offline() {
    let broker = with_an_offline_partition();
    for to in ["end", "beginning", "offset:3"] {
        let error = broker.fails(&format!("group reset old --topic t --to {to}"), b"");
        assert!(error.contains("t/1 cannot be read") && error.contains("its files are gone"), "{error}");
    }
}
