//! Flags, variables and arguments, and the errors for wrong ones.

mod kit;

use kit::{Served, feed, text};
use std::process::{Command, Output, Stdio};

/// Runs the CLI with these arguments and this `GROWER_BROKER`.
fn cli(arguments: &str, variable: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grower-cli"));
    command.env("GROWER_BROKER", variable).args(arguments.split_whitespace()).output().unwrap()
}

#[test]
fn a_flag_overrides_a_wrong_variable() {
    let broker = Served::start();
    let address = broker.address();
    for arguments in [format!("--broker {address} topic list"), format!("topic list --broker {address}")] {
        let output = cli(&arguments, "garbage");
        assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
    }
}

#[test]
fn a_wrong_variable_fails_only_commands_that_need_it() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = format!("--embedded {} topic create t", dir.path().join("data").display());
    for arguments in ["completions bash", "--help", &embedded] {
        let output = cli(arguments, "garbage");
        assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
    }
    let output = cli("topic list", "garbage");
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!(text(&output.stderr), @r#"error: GROWER_BROKER: "garbage" is not an address: write HOST:PORT, such as localhost:9092; or name a broker with --broker"#);
    for wrong in ["--broker garbage topic list", "topic list --broker garbage", "--broker , topic list"] {
        assert_eq!(cli(wrong, "").status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn an_empty_variable_counts_as_unset() {
    for variable in ["", " "] {
        let output = cli("--timeout 1s topic describe nothing-of-that-name", variable);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}"); // A broker at the default address has no such topic.
        assert!(!stderr.contains("GROWER_BROKER holds") && !stderr.contains("no broker address"), "{stderr}");
    }
}

/// The completions of these words in bash.
fn completed(script: &std::path::Path, words: &[&str]) -> String {
    const ASK: &str = r#"source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
        function=$(complete -p grower-cli | sed 's/.*-F \([^ ]*\).*/\1/')
        $function grower-cli "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"; echo "${COMPREPLY[*]}""#;
    let mut bash = Command::new("bash");
    let output = bash.args(["-c", ASK]).arg(script).arg("grower-cli").args(words).output().expect("bash runs");
    text(&output.stdout).trim().to_owned()
}

#[test]
fn bash_completes_words_at_every_depth() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script");
    std::fs::write(&script, cli("completions bash", "").stdout).unwrap();
    for (words, expected) in [
        (&["con"][..], "consume"),
        (&["group", "des"], "describe"),
        (&["bench", "end"], "end-to-end"),
        (&["produce", "t", "--comp"], "--compression"),
        (&["produce", "t", "--compression", "zs"], "zstd"),
        (&["bench", "end-to-end", "--acks", "lea"], "leader"),
        (&["topic", "create", "t", "--if"], "--if-not-exists"),
    ] {
        assert_eq!(completed(&script, words), expected, "{words:?}");
    }
}

#[test]
fn an_escape_in_a_key_separator_is_the_byte_it_stands_for() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    for (separator, line) in [(r"\t", &b"k\tv\n"[..]), (r"=\x1f", b"k=\x1fv\n"), (r"\\", b"k\\v\n")] {
        broker.ok(&format!("produce events --key-separator {separator}"), line);
    }
    let read = broker.ok("consume events --until-end --format %k=%v\\n", b"");
    assert_eq!(text(&read), "k=v\n".repeat(3));
    let refused = broker.run(r"produce events --key-separator \q", b"");
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains(r"\q is not an escape"), "{}", text(&refused.stderr));
}

#[test]
fn the_limit_of_lines_in_flight_ends_the_linger() {
    let broker = Served::start();
    broker.ok("topic create events:4", b"");
    let lines: String = (0..150_000).map(|number| format!("{number}:x\n")).collect();
    broker.ok("produce events --key-separator : --linger 3600000", lines.as_bytes());
}

#[test]
fn lines_with_extreme_compression_are_split_and_written() {
    let broker = Served::start();
    broker.ok("topic create events --config max.message.bytes=2KiB", b"");
    let lines: String = (0..2_000).map(|number| format!("{number:0500}\n")).collect();
    broker.ok("produce events --compression zstd --batch-bytes 67108864", lines.as_bytes());
    assert_eq!(text(&broker.read("events")), lines);
}

#[test]
fn a_broker_without_free_connections_is_reported() {
    let broker = Served::with_connections(1);
    let mut first = broker.cli("consume events").spawn().unwrap();
    let mut output = broker.cli("topic list").output().unwrap();
    while output.status.success() {
        if first.try_wait().unwrap().is_some() {
            first = broker.cli("consume events").spawn().unwrap(); // The other command held the only connection.
        }
        output = broker.cli("topic list").output().unwrap();
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let stderr = text(&output.stderr);
    assert!(stderr.contains("the broker takes no more connections than 1 "), "{stderr}");
    assert!(!stderr.contains("start one"), "{stderr}");
}

#[test]
fn counts_of_one_are_singular() {
    let broker = Served::start();
    broker.ok("topic create events --config max.message.bytes=1KiB", b"");
    let error = broker.fails("produce events", &[&b"a\n"[..], &[b'x'; 5_000]].concat());
    insta::assert_snapshot!(error, @r"
    line 2 has 5000 bytes, and the limit is 1024; raise the topic's max.message.bytes or shorten the line
    error: line 2 was refused; acknowledged: 1 line
    ");
    let child = broker.cli("produce events").stdin(Stdio::piped()).spawn().unwrap();
    assert!(text(&feed(child, b"one\n").stdout).starts_with("events: 1 record, "));
    assert!(broker.fails("consume events --partition 7", b"").contains("it has 1 partition, counted from 0"));
}

#[test]
fn contradictory_arguments_are_wrong_usage() {
    let broker = Served::start();
    broker.ok("topic create t", b"");
    for arguments in [
        "consume t --limit 0",
        "consume t --batch 0",
        "consume t --from committed",
        "produce t - --follow",
        "produce t --key-separator \\n",
        "produce t --key-separator :\\n:",
        "produce t --key-separator=",
        "group reset g --topic t --to committed",
        "--timeout 0s topic list",
    ] {
        let output = broker.run(arguments, b"a\n");
        assert_eq!(output.status.code(), Some(2), "{arguments}: {}", text(&output.stderr));
    }
    let output = broker.cli("why").arg("").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert_eq!(text(&broker.read("t")), "");
}

#[test]
fn an_error_names_its_subject_once() {
    let broker = Served::start();
    broker.ok("topic create t", b"");
    for (arguments, input, expected) in [
        ("topic create t", &b""[..], "error: topic t exists already"),
        ("topic create t\u{f6}", b"", "error: \"t\u{f6}\" has the character"),
        ("topic grow t --partitions 1", b"", "error: topic t has 1 partition; it can grow, and 1 is not more"),
        ("produce t --partition 5", b"a\n", "topic t has 1 partition, counted from 0, and no partition 5"),
    ] {
        let error = broker.fails(arguments, input);
        assert!(error.contains(expected), "{arguments}: {error}");
    }
    let error = broker.fails("produce t", &[&vec![b'x'; (1 << 20) - 36][..], b"\n"].concat());
    assert!(error.contains("line 1 was refused: t/0: ") && !error.contains("t/0: t/0"), "{error}");
}

#[test]
fn a_lack_of_file_descriptors_is_reported_with_advice() {
    let broker = Served::start();
    let mut command = Command::new("sh");
    let script = r#"ulimit -n 8; exec "$0" topic list"#;
    command.args(["-c", script, env!("CARGO_BIN_EXE_grower-cli")]).env("GROWER_BROKER", broker.address());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("ulimit -n"), "{}", text(&output.stderr));
}
