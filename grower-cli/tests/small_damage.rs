//! Damage that costs no record: files in a wrong place, and state files that a start rewrites.

mod kit;

use kit::{Served, json, text};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn cli(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_grower-cli")).args(arguments).output().unwrap()
}

fn log(command: &str, dir: &Path, more: &str) -> Output {
    let more: Vec<&str> = more.split_whitespace().collect();
    cli(&[&["log", command, dir.to_str().unwrap()], &more[..]].concat())
}

/// A stopped broker whose topic `t` has two partitions with records.
fn stopped() -> Served {
    let mut broker = Served::start();
    broker.ok("topic create t:2", b"");
    for partition in ["0", "1"] {
        broker.ok(&format!("produce t --partition {partition}"), b"1\n2\n3\n");
    }
    broker.stop();
    broker
}

#[test]
fn a_file_in_place_of_a_partition_is_found_and_the_others_are_served() {
    let mut broker = stopped();
    let path = broker.data_dir().join("topics/t/1");
    fs::remove_dir_all(&path).unwrap();
    fs::write(&path, "x\n").unwrap();
    let verified = log("verify", &broker.data_dir(), "");
    assert_eq!(verified.status.code(), Some(1));
    let expected = format!("{}: a file in the place of a partition's directory", path.display());
    assert!(text(&verified.stdout).contains(&expected), "{}", text(&verified.stdout));
    let repair = log("repair", &broker.data_dir(), "");
    assert!(!text(&repair.stdout).contains("no record is lost"), "{}", text(&repair.stdout));
    broker.restart();
    let why = broker.run("why t", b"");
    assert!(text(&why.stdout).contains("t/1"), "{} {}", text(&why.stdout), text(&why.stderr));
    let described = text(&broker.ok("topic describe t", b""));
    assert!(described.contains("PARTITION"), "{described}");
    assert_eq!(text(&broker.ok("consume t --partition 0 --until-end", b"")), "1\n2\n3\n");
}

#[test]
fn a_start_rewrites_state_files_that_recovery_does_not_need() {
    let mut broker = stopped();
    let partition = broker.data_dir().join("topics/t/0");
    for name in ["leader-epochs", "partition.meta"] {
        let whole = fs::read(partition.join(name)).unwrap();
        for is_empty in [false, true] {
            fs::remove_file(partition.join(name)).unwrap();
            if is_empty {
                fs::write(partition.join(name), "").unwrap();
            }
            assert_eq!(log("verify", &broker.data_dir(), "").status.code(), Some(1), "{name}");
            broker.restart();
            broker.stop();
            let verified = log("verify", &broker.data_dir(), "");
            assert!(verified.status.success(), "{name}: {}", text(&verified.stdout));
            assert_eq!(fs::read(partition.join(name)).unwrap(), whole, "{name}");
        }
    }
}

#[test]
fn a_lost_partition_has_a_dry_run_and_its_repair_is_reported() {
    let broker = stopped();
    let dir = broker.data_dir();
    fs::remove_dir_all(dir.join("topics/t/1")).unwrap();
    let verified = text(&log("verify", &dir, "").stdout);
    assert!(verified.contains("topics/t/1: all records"), "{verified}");
    let before = fs::read(dir.join("begun")).unwrap();
    let dry = log("repair", &dir, "--accept-lost-partition t/1 --dry-run");
    let stdout = text(&dry.stdout);
    assert!(dry.status.success() && stdout.contains("t/1: ") && stdout.contains("nothing was changed"), "{stdout}");
    let dry = &json(&log("repair", &dir, "--accept-lost-partition t/1 --dry-run --output json").stdout)[0];
    assert_eq!(dry["lost_partitions"][0]["partition"], 1, "{dry}");
    assert_eq!(log("repair", &dir, "--accept-lost-partition t/0 --dry-run").status.code(), Some(1), "it is not lost");
    assert_eq!(fs::read(dir.join("begun")).unwrap(), before);
    let done = log("repair", &dir, "--accept-lost-partition t/1");
    let stdout = text(&done.stdout);
    assert!(stdout.contains("t/1: given up") && !stdout.contains("nothing left to do"), "{stdout}");
}

#[test]
fn a_directory_without_backups_is_an_error() {
    let broker = stopped();
    let listed = cli(&["backup", "list", broker.data_dir().to_str().unwrap()]);
    assert_eq!(listed.status.code(), Some(1));
    assert!(text(&listed.stderr).contains("holds no backup"), "{}", text(&listed.stderr));
}
