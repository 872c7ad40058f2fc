//! `demo`, as the README runs it.

mod kit;

use kit::text;
use std::process::{Command, Output};

fn demo(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_grower-cli")).arg("demo").args(arguments).output().unwrap()
}

#[test]
fn the_demo_succeeds_and_keeps_its_data_in_the_given_directory() {
    let directory = tempfile::tempdir().unwrap();
    let story = directory.path().join("story");
    let output = demo(&["--dir", story.to_str().unwrap()]);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains("The demo is complete: "), "{}", text(&output.stdout));
    assert!(story.join("topics/rainbow/0").is_dir());

    let verify = Command::new(env!("CARGO_BIN_EXE_grower-cli")).args(["log", "verify"]).arg(&story).output().unwrap();
    assert!(verify.status.success(), "{}", text(&verify.stdout));

    let again = demo(&["--dir", story.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("without these topics"), "{}", text(&again.stderr));
}

#[test]
fn the_demo_without_a_directory_leaves_no_files() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_grower-cli"));
    let output = command.arg("demo").env("TMPDIR", temporary.path()).output().unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}
