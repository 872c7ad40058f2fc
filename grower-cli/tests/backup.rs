//! `backup` and `restore`: committed records come back byte for byte, and groups continue at their offsets.

mod kit;

use kit::{Served, feed, json, text};
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

fn cli(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_grower-cli")).args(arguments).output().unwrap()
}

fn ok(arguments: &[&str]) -> Vec<u8> {
    let output = cli(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    output.stdout
}

fn embedded(dir: &Path, arguments: &str, input: &[u8]) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grower-cli"));
    command.arg("--embedded").arg(dir).args(arguments.split_whitespace());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = feed(command.spawn().unwrap(), input);
    assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
    output.stdout
}

/// A stopped broker with records, a config and a group that has read four of them.
fn stopped() -> Served {
    let mut broker = Served::start();
    broker.ok("topic create events --config segment.messages=3", b"");
    broker.ok("produce events --batch-records 1", b"0\n1\n2\n3\n4\n5\n6\n");
    broker.ok("consume events --group g --limit 4", b"");
    broker.stop();
    broker
}

#[test]
fn a_restored_directory_serves_the_backup_and_groups_continue() {
    let mut broker = stopped();
    let (data, backups) = (broker.data_dir(), broker.path("backups"));
    let (data_text, backups_text) = (data.to_str().unwrap(), backups.to_str().unwrap());
    let first = ok(&["backup", backups_text, "--data-dir", data_text]);
    assert!(text(&first).contains("backup-000001: "), "{}", text(&first));
    broker.restart();
    broker.ok("produce events", b"7\n8\n");
    broker.stop();
    let second = &json(&ok(&["backup", backups_text, "--data-dir", data_text, "--output", "json"]))[0];
    assert!(second["new_bytes"].as_u64() < second["bytes"].as_u64(), "{second}");
    let listed = &json(&ok(&["backup", "list", backups_text, "--output", "json"]))[0];
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert!(text(&ok(&["backup", "verify", backups_text])).contains("backup-000002: "));

    for (backup, expected) in
        [("backup-000001", "0\n1\n2\n3\n4\n5\n6\n"), ("backup-000002", "0\n1\n2\n3\n4\n5\n6\n7\n8\n")]
    {
        let restored = broker.path(&format!("restored-from-{backup}"));
        ok(&["restore", backups.join(backup).to_str().unwrap(), restored.to_str().unwrap()]);
        assert_eq!(text(&ok(&["log", "verify", restored.to_str().unwrap()])).lines().count(), 1);
        assert_eq!(text(&embedded(&restored, "consume events --until-end", b"")), expected);
        assert_eq!(text(&embedded(&restored, "consume events --group g --until-end", b"")), &expected[8..]);
        let described = text(&embedded(&restored, "topic describe events", b""));
        assert!(described.contains("segment.messages"), "{described}");
        let ack = json(&embedded(&restored, "produce events --output json", b"new\n"));
        assert_eq!(ack[0]["offset"].as_u64(), Some(expected.lines().count() as u64));
    }
    broker.restart();
    assert_eq!(text(&broker.read("events")), "0\n1\n2\n3\n4\n5\n6\n7\n8\n", "the original still serves");
}

#[test]
fn damaged_backups_and_wrong_paths_are_refused() {
    let mut broker = stopped();
    let (data, backups) = (broker.data_dir(), broker.path("backups"));
    let (data_text, backups_text) = (data.to_str().unwrap(), backups.to_str().unwrap());
    ok(&["backup", backups_text, "--data-dir", data_text]);
    let fails = |arguments: &[&str]| {
        let output = cli(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        text(&output.stderr)
    };
    assert!(fails(&["restore", backups_text, data_text]).contains("not empty"));
    assert!(fails(&["restore", data_text, broker.path("new").to_str().unwrap()]).contains("is not a backup"));
    assert!(fails(&["backup", "verify", data_text]).contains("is not a backup"));
    let backup = backups.join("backup-000001");
    for directory in ["", "new", "topics/../new/deeper"] {
        let error = fails(&["restore", backup.to_str().unwrap(), backup.join(directory).to_str().unwrap()]);
        assert!(error.contains("lies in the backup"), "{directory}: {error}");
    }
    assert!(!backup.join("new").exists());
    let inside = data.join("backups");
    assert!(
        fails(&["backup", inside.to_str().unwrap(), "--data-dir", data_text])
            .contains("choose a separate directory for backups")
    );
    // The file is replaced by name, because the data directory shares its bytes.
    let log = backups.join("backup-000001/topics/events/0/00000000000000000003.growerlog");
    let mut bytes = fs::read(&log).unwrap();
    bytes[70] ^= 1;
    fs::remove_file(&log).unwrap();
    fs::write(&log, bytes).unwrap();
    assert!(fails(&["backup", "verify", backups_text]).contains("is damaged"));
    assert!(
        fails(&["restore", backups_text, broker.path("new").to_str().unwrap()]).contains("restore an earlier backup")
    );
    broker.restart();
    assert!(fails(&["backup", backups_text, "--data-dir", data_text]).contains("a broker works in"));
    assert_eq!(cli(&["backup"]).status.code(), Some(2), "it says how it is used");
}

#[test]
fn a_running_broker_makes_backups_of_itself_and_each_can_be_restored() {
    let broker = Served::with_backups();
    broker.ok("topic create events --config segment.messages=3", b"");
    broker.ok("produce events --batch-records 1", b"0\n1\n2\n3\n4\n5\n6\n");
    broker.ok("consume events --group g --limit 4", b"");
    let first = text(&broker.ok("backup a/nightly", b""));
    assert!(first.contains("/backups/a/nightly/backup-000001: "), "{first}");
    broker.ok("produce events", b"7\n8\n");
    let second = &json(&broker.ok("backup a/nightly --output json", b""))[0];
    assert!(second["new_bytes"].as_u64() < second["bytes"].as_u64(), "{second}");
    // The list of begun partitions grows in place, so it is copied; all other files are shared.
    assert!(second["copied_bytes"].as_u64().is_some_and(|bytes| bytes < 1024), "{second}");
    let full = &json(&broker.ok("backup a/nightly --full --output json", b""))[0];
    assert_eq!(full["new_bytes"], full["bytes"], "{full}");
    let backups = broker.path("backups/a/nightly");
    for (number, lines) in [(1, 7), (2, 9), (3, 9)] {
        let (backup, restored) =
            (backups.join(format!("backup-{number:06}")), broker.path(&format!("restored-{number}")));
        ok(&["backup", "verify", backup.to_str().unwrap()]);
        ok(&["restore", backup.to_str().unwrap(), restored.to_str().unwrap()]);
        let expected: String = (0..lines).map(|line| format!("{line}\n")).collect();
        assert_eq!(text(&embedded(&restored, "consume events --until-end", b"")), expected);
        assert_eq!(text(&embedded(&restored, "consume events --group g --until-end", b"")), &expected[8..]);
    }
    assert_eq!(text(&broker.read("events")).lines().count(), 9);
}

#[test]
fn a_running_broker_writes_backups_only_below_its_backup_dir() {
    let broker = Served::start();
    let refused = broker.fails("backup nightly", b"");
    assert!(refused.contains("backup.dir is not set"), "{refused}");
    let refused = broker.fails("broker alter --config backup.dir=/tmp", b"");
    assert!(refused.contains("changes only with a restart"), "{refused}");
    let broker = Served::with_backups();
    let outside = broker.path("outside");
    for directory in [outside.to_str().unwrap(), "../outside", "a/../../outside", ".", "backup-000001"] {
        let refused = broker.fails(&format!("backup {directory}"), b"");
        assert!(refused.contains("below the broker's backup.dir"), "{directory}: {refused}");
    }
    assert!(!outside.exists());
    std::os::unix::fs::symlink(broker.data_dir(), broker.path("backups-link")).unwrap();
    fs::create_dir(broker.path("backups")).unwrap();
    fs::rename(broker.path("backups-link"), broker.path("backups/in-data")).unwrap();
    let refused = broker.fails("backup in-data/x", b"");
    assert!(refused.contains("choose a separate directory for backups"), "{refused}");
}

#[test]
fn a_hanging_backup_is_cancelled_by_another_command() {
    let (broker, faults) = Served::with_faults();
    assert!(broker.fails("backup cancel", b"").contains("no backup"));
    let (asked, is_asked) = mpsc::channel();
    let (hold, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    faults.rule(move |_, paths| {
        if paths.iter().any(|path| path.starts_with("/backups")) {
            let _ = asked.send(());
            let _ = held.lock().unwrap().recv(); // Fails once the test is over.
        }
        None
    });
    let backup = broker.cli("backup nightly").spawn().unwrap();
    is_asked.recv_timeout(Duration::from_secs(30)).unwrap();
    assert!(text(&broker.ok("backup cancel", b"")).contains("does not answer"));
    let ended = backup.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(text(&ended.stderr).contains("does not answer"), "{}", text(&ended.stderr));
    drop(hold);
}
