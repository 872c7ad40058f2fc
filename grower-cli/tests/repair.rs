//! `log repair`: damage is listed with the command that accepts its loss, and only that of damaged records is accepted.

mod kit;

use kit::{Served, json, text};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn log(dir: &Path, command: &str, more: &str) -> Output {
    let mut run = Command::new(env!("CARGO_BIN_EXE_grower-cli"));
    run.env("USER", "ada").env_remove("SUDO_USER");
    run.args(["log", command]).arg(dir).args(more.split_whitespace()).output().unwrap()
}

/// Flips a bit in the middle of a file.
fn rot(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 4;
    fs::write(file, bytes).unwrap();
}

#[test]
fn damage_is_listed_with_its_repair_command_and_consumers_skip_the_repaired_gap() {
    let mut broker = Served::stopped_with_segments();
    let dir = broker.data_dir();
    assert_eq!(text(&log(&dir, "repair", "").stdout), "");
    let file = dir.join("topics/events/0/00000000000000000003.growerlog");
    rot(&file);
    let listed = log(&dir, "repair", "");
    assert_eq!(listed.status.code(), Some(1));
    let stdout = text(&listed.stdout);
    let command = format!("  grower-cli log repair {} --accept-loss events/0:4..5\n", dir.display());
    assert!(stdout.contains(&command), "{stdout}");
    let rotten = fs::read(&file).unwrap();

    let dry = log(&dir, "repair", "--accept-loss events/0:4..5 --dry-run");
    assert!(text(&dry.stdout).contains("nothing was changed"), "{}", text(&dry.stdout));
    assert_eq!(fs::read(&file).unwrap(), rotten);
    let done = json(&log(&dir, "repair", "--accept-loss events/0:4..5 --output json").stdout);
    let loss = &done[0]["given_up"][0];
    assert_eq!((&loss["offsets"], &loss["topic"]), (&serde_json::json!([4, 5]), &serde_json::json!("events")));
    assert!(loss["by"].as_str().unwrap().starts_with("ada (uid "), "{loss}");
    let kept = fs::read(dir.join("cut").join(loss["kept"].as_str().unwrap())).unwrap();
    assert!(rotten.windows(kept.len()).any(|window| window == kept), "the damaged bytes are kept");

    let again = log(&dir, "repair", "--accept-loss events/0:4..5");
    assert_eq!((again.status.code(), text(&again.stdout).as_str()), (Some(0), "nothing left to do\n"));
    let sound = log(&dir, "verify", "");
    assert_eq!(sound.status.code(), Some(0), "{}", text(&sound.stdout));
    assert!(text(&sound.stdout).contains("events/0: offsets 4..5 were given up at "), "{}", text(&sound.stdout));
    broker.restart();
    let described = text(&broker.ok("topic describe events", b""));
    let line = described.lines().find(|line| line.contains("4..5")).unwrap_or_else(|| panic!("{described}"));
    assert!(line.contains("ada (uid ") && line.contains("cut/"), "{line}");
    let described = &json(&broker.ok("topic describe events --output json", b""))[0];
    let kept = &described["partitions"][0]["given_up"][0];
    assert_eq!((&kept["offsets"], &kept["kept"]), (&loss["offsets"], &loss["kept"]), "{described}");
    let why = text(&broker.ok("why events", b""));
    assert!(why.contains("ok events/0: offsets 4..5 were given up as lost by ada (uid "), "{why}");
    assert_eq!(text(&broker.read("events")), "0\n1\n2\n3\n5\n6\n");
    assert_eq!(text(&broker.ok("consume events --group g --until-end", b"")), "3\n5\n6\n", "a group continues");
    assert_eq!(text(&broker.ok("consume events --from offset:4 --until-end", b"")), "5\n6\n");
    let ack = json(&broker.ok("produce events --output json", b"7\n"));
    assert_eq!(ack[0]["offset"], 7, "offsets keep their meaning");
}

#[test]
fn undamaged_unknown_and_used_partitions_are_refused() {
    let mut broker = Served::stopped_with_segments();
    let dir = broker.data_dir();
    let refusal = |more: &str| {
        let output = log(&dir, "repair", more);
        assert_eq!(output.status.code(), Some(1), "{more}");
        text(&output.stderr)
    };
    assert!(refusal("--accept-loss events/0:1..2").contains("sound records are never given up"));
    assert!(refusal("--accept-loss nothing/0:1..2").contains("has no files"));
    assert!(refusal("--accept-loss ../0:1..2").contains("has no files"));
    let usage = log(&dir, "repair", "--accept-loss events:1..2");
    assert_eq!(usage.status.code(), Some(2));
    assert!(text(&usage.stderr).contains("TOPIC/PARTITION:START..END"), "{}", text(&usage.stderr));
    broker.restart();
    assert!(refusal("--accept-loss events/0:1..2").contains("stop it first"));
}

#[test]
fn files_that_a_start_rebuilds_cost_no_record() {
    let mut broker = Served::stopped_with_segments();
    let dir = broker.data_dir();
    for file in ["begun", "metadata/00000000000000000000.growerindex"] {
        rot(&dir.join(file));
    }
    let verified = log(&dir, "verify", "");
    assert_eq!(verified.status.code(), Some(1));
    assert!(text(&verified.stdout).contains("begun: bytes ") && text(&verified.stdout).contains("growerindex"));
    let listed = log(&dir, "repair", "");
    assert_eq!(text(&listed.stdout).matches(": no record is lost").count(), 2, "{}", text(&listed.stdout));
    assert!(!text(&listed.stderr).contains("restore a backup"), "{}", text(&listed.stderr));
    broker.restart();
    broker.stop();
    assert_eq!(log(&dir, "verify", "").status.code(), Some(0));
}

#[test]
fn an_index_is_rebuilt_and_damaged_metadata_needs_a_backup() {
    let broker = Served::stopped_with_segments();
    let dir = broker.data_dir();
    rot(&dir.join("topics/events/0/00000000000000000003.growerindex"));
    let listed = log(&dir, "repair", "");
    assert!(text(&listed.stdout).contains("no record is lost") && text(&listed.stdout).contains("--rebuild-indexes"));
    let rebuilt = log(&dir, "repair", "--rebuild-indexes");
    assert!(text(&rebuilt.stdout).contains("00000000000000000003.growerindex: rebuilt"), "{}", text(&rebuilt.stdout));
    assert_eq!(log(&dir, "verify", "").status.code(), Some(0));
    rot(&dir.join("metadata/00000000000000000000.growerlog"));
    let listed = log(&dir, "repair", "");
    assert!(text(&listed.stderr).contains("restore a backup"), "{}", text(&listed.stderr));
    assert!(!text(&listed.stdout).contains("--accept-loss"), "{}", text(&listed.stdout));
}
