//! Where commands write: backups are never changed, and a wrong name creates no data directory.

mod kit;

use kit::{feed, text};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn cli(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grower-cli"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    feed(command.spawn().unwrap(), input)
}

fn ok(arguments: &[&str], input: &[u8]) -> String {
    let output = cli(arguments, input);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn fails(arguments: &[&str]) -> String {
    let output = cli(arguments, b"a\n");
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output.stdout));
    text(&output.stderr)
}

/// All files below a directory with their contents.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let (dirs, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let below = dirs.iter().flat_map(|dir| self::files(dir));
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).chain(below).collect()
}

/// A data directory `data` with a topic `t` of three records, and two backups of it in `backups`.
fn backed_up() -> (tempfile::TempDir, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name| directory.path().join(name).to_str().unwrap().to_owned();
    let (data, backups) = (path("data"), path("backups"));
    ok(&["--embedded", &data, "topic", "create", "t"], b"");
    ok(&["--embedded", &data, "produce", "t"], b"1\n2\n3\n");
    ok(&["backup", &backups, "--data-dir", &data], b"");
    ok(&["backup", &backups, "--data-dir", &data], b"");
    (directory, data, backups)
}

#[test]
fn a_backup_is_never_written_to_and_the_error_gives_advice() {
    let (directory, _, backups) = backed_up();
    let backup = format!("{backups}/backup-000002");
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&backup, &link).unwrap();
    let unfinished = format!("{backups}/backup-000003.unfinished");
    fs::create_dir(&unfinished).unwrap();
    fs::copy(format!("{backup}/meta"), format!("{unfinished}/meta")).unwrap();
    let before = files(Path::new(&backups));
    for target in [backup.clone(), format!("{backup}/new"), link.display().to_string(), unfinished] {
        for command in [&["topic", "create", "u"][..], &["consume", "t", "--until-end"], &["produce", "t"]] {
            let error = fails(&[&["--embedded", &target], command].concat());
            let names_the_cause = error.contains("lies in the backup") || error.contains("there is no data directory");
            assert!(names_the_cause, "{target} {command:?}: {error}");
        }
        let error = fails(&["--embedded", &target, "topic", "create", "u"]);
        assert!(error.contains("`grower-cli restore /"), "{target}: {error}");
        assert!(fails(&["demo", "--dir", &target]).contains("lies in the backup"), "{target}");
        let error = fails(&["backup", &target, "--data-dir", &backup]);
        assert!(error.contains(" lies in ") || error.contains(" lie inside each other"), "{target}: {error}");
    }
    for repair in [&["--accept-loss", "t/0:0..1"][..], &["--accept-lost-partition", "t/0"], &["--rebuild-indexes"]] {
        let error = fails(&[&["log", "repair", &backup], repair].concat());
        assert!(error.contains("lies in the backup"), "{repair:?}: {error}");
    }
    ok(&["log", "verify", &backup], b"");
    ok(&["log", "repair", &backup], b"");
    assert_eq!(files(Path::new(&backups)), before);
}

#[test]
fn a_backup_inside_another_one_is_refused() {
    let (_directory, data, backups) = backed_up();
    let before = files(Path::new(&backups));
    for target in ["backup-000001", "backup-000001/deeper/still"] {
        let error = fails(&["backup", &format!("{backups}/{target}"), "--data-dir", &data]);
        assert!(error.contains("lies in the backup"), "{target}: {error}");
    }
    assert_eq!(files(Path::new(&backups)), before);
}

#[test]
fn no_directory_is_created_inside_another_data_directory() {
    let (directory, data, backups) = backed_up();
    let other = directory.path().join("other").to_str().unwrap().to_owned();
    ok(&["--embedded", &other, "topic", "create", "t"], b"");
    let before = files(Path::new(&data));
    let inside = format!("{data}/topics/new");
    for command in [
        &["--embedded", &inside, "topic", "create", "t"][..],
        &["restore", &backups, &inside],
        &["backup", &inside, "--data-dir", &other],
    ] {
        let error = fails(command);
        assert!(error.contains("lies in the data directory"), "{command:?}: {error}");
    }
    assert_eq!(files(Path::new(&data)), before);
}

#[test]
fn a_wrong_name_creates_no_data_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("typo");
    let typo = path.to_str().unwrap();
    for command in [
        "consume t",
        "produce t",
        "topic list",
        "topic describe t",
        "topic delete t --yes",
        "group list",
        "group describe g",
        "why t",
        "broker describe",
        "broker settings",
        "bench consume",
    ] {
        let arguments: Vec<&str> = command.split(' ').collect();
        let error = fails(&[&["--embedded", typo], &arguments[..]].concat());
        assert!(error.contains(&format!("there is no data directory at {typo}")), "{command}: {error}");
        assert!(!path.exists(), "{command}");
    }
    ok(&["--embedded", typo, "topic", "create", "t"], b"");
    assert_eq!(ok(&["--embedded", typo, "consume", "t", "--until-end"], b""), "");
}

#[test]
fn an_interrupted_restore_is_reported_before_any_damage() {
    let (directory, _, backups) = backed_up();
    let (out, log) = (directory.path().join("out"), "backup-000002/topics/t/0/00000000000000000000.growerlog");
    let out_text = out.to_str().unwrap();
    let log = Path::new(&backups).join(log);
    let bytes = fs::read(&log).unwrap();
    fs::remove_file(&log).unwrap(); // Replaced by name, because the data directory shares its bytes.
    fs::write(&log, &bytes[..bytes.len() / 2]).unwrap();
    assert!(fails(&["restore", &backups, out_text]).contains("restore an earlier backup"));
    for command in [
        &["log", "verify", out_text][..],
        &["log", "repair", out_text],
        &["log", "repair", out_text, "--accept-lost-partition", "t/0"],
        &["--embedded", out_text, "consume", "t"],
    ] {
        let error = fails(command);
        assert!(error.contains("was interrupted") && error.contains("repeat"), "{command:?}: {error}");
    }
    ok(&["restore", &format!("{backups}/backup-000001"), out_text], b"");
    ok(&["log", "verify", out_text], b"");
}
