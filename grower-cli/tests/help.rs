//! Snapshots of every command's `--help`.

use assert_cmd::Command;

/// Every command as typed.
const COMMANDS: [&str; 45] = [
    "",
    "demo",
    "topic",
    "topic create",
    "topic list",
    "topic describe",
    "topic alter",
    "topic grow",
    "topic trim",
    "topic delete",
    "produce",
    "consume",
    "group",
    "group list",
    "group describe",
    "group reset",
    "group delete",
    "producer",
    "producer list",
    "producer describe",
    "producer delete",
    "why",
    "top",
    "doctor",
    "broker",
    "broker describe",
    "broker settings",
    "broker alter",
    "log",
    "log dump",
    "log verify",
    "log repair",
    "backup",
    "backup cancel",
    "backup list",
    "backup verify",
    "restore",
    "bench",
    "bench produce",
    "bench consume",
    "bench end-to-end",
    "completions",
    "help",
    "help topic",
    "help produce",
];

fn help_of(command: &str) -> String {
    let mut run = Command::cargo_bin("grower-cli").unwrap();
    run.args(command.split_whitespace());
    if !command.starts_with("help") {
        run.arg("--help");
    }
    let output = run.env_remove("GROWER_BROKER").env("COLUMNS", "110").output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_command_says_what_it_does() {
    for command in COMMANDS {
        let name = if command.is_empty() { "grower-cli".to_owned() } else { command.replace(' ', "-") };
        insta::assert_snapshot!(name, help_of(command));
    }
}

#[test]
fn wrong_usage_exits_2_and_shows_the_right_form() {
    for (arguments, says) in [
        (&["produce"][..], "<TOPIC>"),
        (&["consume", "t", "--from", "yesterday"], "time:-5m"),
        (&["consume", "t", "--format", "%z"], "%t %p %o"),
        (&["topic", "create", "events:0"], "at least 1"),
        (&["produce", "t", "--header", "novalue"], "KEY=VALUE"),
        (&["produce", "t", "--follow"], "FILE"),
        (&["--timeout", "soon", "topic", "list"], "30s"),
    ] {
        let output = Command::cargo_bin("grower-cli").unwrap().args(arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(says), "{arguments:?}: {stderr}");
    }
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::cargo_bin("grower-cli").unwrap().args(["completions", shell]).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("end-to-end"), "{shell}");
    }
}
