//! The README's five minutes: its commands, run in one shell, print what it shows.

use std::path::Path;
use std::process::{Command, Stdio};

/// One command of the README and what it shows as printed.
struct Shown {
    command: String,
    output: Vec<String>,
}

/// Both binaries as shell functions on free ports. `ready` waits for a started daemon's own word, on a pipe that
/// stays open.
const PRELUDE: &str = r#"
set -m
exec 2>&1
mkfifo words
exec {words}<>words
grower-broker() { exec "$BROKER_BINARY" "$@" --listen 127.0.0.1:0 --http 127.0.0.1:0 2>words; }
grower-cli() { command "$CLI_BINARY" "$@"; }
ready() {
    local word=
    until [[ $word == *" ready listen="* ]]; do read -r -t 60 -u $words word || exit 3; done
    GROWER_BROKER=${word##*listen=}
    export GROWER_BROKER=${GROWER_BROKER%% *}
    echo "$word"
}
trap 'jobs -p | xargs -r kill -9' EXIT
"#;

/// The commands of the blocks marked `console`, with their outputs.
fn commands(page: &str) -> Vec<Shown> {
    let blocks = page.split("\n```console\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let mut shown: Vec<Shown> = Vec::new();
    for line in blocks.flat_map(str::lines) {
        match line.strip_prefix("$ ") {
            Some(command) => shown.push(Shown { command: command.to_owned(), output: Vec::new() }),
            None => shown.last_mut().expect("a block begins with a command").output.push(line.to_owned()),
        }
    }
    shown
}

/// A line without what differs from run to run: ports, times, rates.
fn steady(line: &str) -> String {
    let cut = |line: &str, from: &str, to: &str| match line.split_once(from) {
        Some((head, rest)) => match rest.find(to) {
            Some(end) => format!("{head}{from}..{}", &rest[end..]),
            None => format!("{head}{from}.."),
        },
        None => line.to_owned(),
    };
    let line = cut(line, "listen=127.0.0.1:", " ");
    let line = cut(&line, "http=127.0.0.1:", " ");
    let line = cut(&line, "\"timestamp\":", ",");
    if line.contains("records/s") {
        cut(&line, " in ", ")")
    } else if line.ends_with(" copied") {
        let (path, sizes) = line.split_once(": ").expect("a path comes before the sizes of a backup");
        format!("{path}: {}", sizes.replace(|letter: char| letter.is_ascii_digit(), "")) // Units stay.
    } else {
        line
    }
}

/// Runs the commands in one shell and returns what each printed.
fn run(shown: &[Shown], folder: &Path) -> Vec<Vec<String>> {
    let mut script = PRELUDE.to_owned();
    for Shown { command, .. } in shown {
        let starts_a_broker = command.contains("grower-broker --data-dir") && command.ends_with('&');
        let ready = if starts_a_broker { "\nready" } else { "" };
        script.push_str(&format!("echo '@@@'\n{command}{ready}\n"));
    }
    let cli = Path::new(env!("CARGO_BIN_EXE_grower-cli"));
    let broker = cli.with_file_name("grower-broker");
    assert!(broker.is_file(), "cargo build -p grower-broker builds {}, which this test runs", broker.display());
    let mut shell = Command::new("bash");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GROWER")) {
        shell.env_remove(name);
    }
    let ended = shell
        .arg("-c")
        .arg(script)
        .current_dir(folder)
        .env("CLI_BINARY", cli)
        .env("BROKER_BINARY", broker)
        .env("GROWER__DISK__RESERVE_BYTES", "1MiB") // Tests run on nearly full disks as well.
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let printed = String::from_utf8(ended.stdout).unwrap();
    let is_not_about_a_job = |line: &&str| !line.contains("Killed") && !line.starts_with('[');
    let parts = printed.split("@@@\n").skip(1);
    parts.map(|part| part.lines().filter(is_not_about_a_job).map(steady).collect()).collect()
}

#[test]
fn the_commands_of_the_readme_print_what_it_shows() {
    let shown = commands(include_str!("../../README.md"));
    assert!(10 < shown.len());
    let folder = tempfile::tempdir().unwrap();
    let printed = run(&shown, folder.path());
    for (Shown { command, output }, printed) in shown.iter().zip(&printed) {
        let expected: Vec<String> = output.iter().map(|line| steady(line)).collect();
        assert_eq!(*printed, expected, "{command}");
    }
    assert_eq!(printed.len(), shown.len());
}
