//! A data directory on a read-only mount is verified, backed up, and never changed.

mod kit;

use kit::{Served, text};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A directory seen through a mount that refuses writes.
struct ReadOnly {
    path: PathBuf,
}

impl ReadOnly {
    /// None, with a message, if this process may not mount.
    fn view_of(dir: &Path, path: PathBuf) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("no read-only mount is tested: it needs root");
            return None;
        }
        fs::create_dir(&path).unwrap();
        if !mount(&["--bind".as_ref(), dir.as_ref(), path.as_ref()]) {
            eprintln!("no read-only mount is tested: mount refuses a bind mount");
            return None;
        }
        let view = Self { path };
        assert!(mount(&["-o".as_ref(), "remount,bind,ro".as_ref(), view.path.as_ref()]));
        Some(view)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
    }
}

fn mount(arguments: &[&std::ffi::OsStr]) -> bool {
    Command::new("mount").args(arguments).status().is_ok_and(|status| status.success())
}

fn cli(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_grower-cli")).args(arguments).output().unwrap()
}

fn ok(arguments: &[&str]) -> String {
    let output = cli(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn fails(arguments: &[&str]) -> String {
    let output = cli(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output.stdout));
    text(&output.stderr)
}

/// A broker with a few records.
fn served() -> Served {
    let broker = Served::start();
    broker.ok("topic create events --config segment.messages=3", b"");
    broker.ok("produce events --batch-records 1", b"0\n1\n2\n3\n4\n");
    broker
}

#[test]
fn a_data_directory_on_a_read_only_mount_is_checked_and_backed_up() {
    let mut broker = served();
    let Some(view) = ReadOnly::view_of(&broker.data_dir(), broker.path("view")) else { return };
    let (data, backups, restored) = (view.path.to_str().unwrap(), broker.path("backups"), broker.path("restored"));
    let (backups, restored) = (backups.to_str().unwrap(), restored.to_str().unwrap());
    assert!(fails(&["backup", backups, "--data-dir", data]).contains("stop it first"), "a broker serves it elsewhere");
    broker.stop();

    ok(&["log", "verify", data]);
    ok(&["log", "repair", data]);
    let error = fails(&["log", "repair", data, "--accept-loss", "events/0:0..1", "--dry-run"]);
    assert!(error.contains("nothing in 0..1 is damaged"), "{error}");
    ok(&["backup", backups, "--data-dir", data]);
    ok(&["backup", "verify", backups]);
    ok(&["restore", backups, restored]);
    assert_eq!(ok(&["--embedded", restored, "consume", "events", "--until-end"]), "0\n1\n2\n3\n4\n");
    fs::remove_file(broker.data_dir().join("LOCK")).unwrap();
    ok(&["backup", backups, "--data-dir", data]);
    assert!(!broker.data_dir().join("LOCK").exists(), "a directory without a lock gets none");
}

#[test]
fn a_broker_on_a_read_only_mount_says_how_to_read_the_directory() {
    let mut broker = served();
    let Some(view) = ReadOnly::view_of(&broker.data_dir(), broker.path("view")) else { return };
    broker.stop();
    let data = view.path.to_str().unwrap();
    let error = fails(&["--embedded", data, "consume", "events", "--until-end"]);
    assert!(error.contains("grower-cli backup") && error.contains("Read-only file system"), "{error}");
}
