//! Flags, environment and config file: what is accepted, what wins, and what the refusal says.

use super::daemon::{Daemon, bare_command, command, run};
use super::{dir, refusal};
use std::process::Command;

#[test]
fn without_a_data_directory_the_error_says_how_to_name_one() {
    let refused = refusal(&mut bare_command());
    insta::assert_snapshot!(refused, @"no data directory is set: name one with --data-dir DIR");
}

#[test]
fn a_bad_config_is_refused_with_file_line_and_key() {
    let dir = dir();
    let path = dir.path().join("grower.toml");
    std::fs::write(&path, "[network]\nhttp = 'off'\nmax_conections = 5\n").unwrap();
    let refused = refusal(bare_command().arg("--config").arg(&path));
    let expected = format!(
        "{}:3: there is no setting \"network.max_conections\" (did you mean network.max_connections?); known are network.listen, ",
        path.display()
    );
    assert!(refused.starts_with(&expected), "{refused}");
}

#[test]
fn an_invalid_setting_is_refused_from_every_source() {
    let dir = dir();
    let refused = |flags: &[&str], variables: &[(&str, &str)]| {
        refusal(bare_command().arg("--data-dir").arg(dir.path()).args(flags).envs(variables.iter().copied()))
    };
    insta::assert_snapshot!(refused(&["--memory", "lots"], &[]), @r#"--memory: broker.memory = "lots" is not allowed: it takes a size from 16MiB, such as 1GiB"#);
    insta::assert_snapshot!(refused(&[], &[("GROWER__BROKER__MEMORY", "lots")]), @r#"GROWER__BROKER__MEMORY: broker.memory = "lots" is not allowed: it takes a size from 16MiB, such as 1GiB"#);
    insta::assert_snapshot!(refused(&["--listen", "0.0.0.0:0"], &[]), @"0.0.0.0:0 means every address of this machine: name one for clients with --advertise HOST:PORT");
    insta::assert_snapshot!(refused(&["--peers", "1@localhost:9093"], &[]), @"--peers is for clusters, which this version does not support yet: leave it out");
    insta::assert_snapshot!(refused(&[], &[("GROWER_LOG", "grower=loud")]), @r#"GROWER_LOG: logging.level = "grower=loud" is not allowed: it takes off, error, warn, info, debug or trace, also by module as in info,grower_broker::group=debug"#);
    insta::assert_snapshot!(refused(&["--config", "/nowhere/grower.toml"], &[]), @"cannot read the config file /nowhere/grower.toml: No such file or directory (os error 2)");
}

#[test]
fn an_unknown_flag_is_an_error_of_usage() {
    let ended = run(bare_command().arg("--lissen"));
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.iter().any(|line| line.contains("'--listen'")), "{ended:#?}");
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let dir = dir();
    let path = dir.path().join("grower.toml");
    std::fs::write(&path, "[broker]\nnode_id = 2\nmemory = '64MiB'\n[network]\nmax_connections = 7\n").unwrap();
    let mut command = bare_command();
    command.arg("--config").arg(&path).args(["--node-id", "4", "--auto-create-topics", "--print-config"]);
    command.env("GROWER__BROKER__NODE_ID", "3").env("GROWER__BROKER__MEMORY", "128MiB");
    let printed = String::from_utf8(command.output().unwrap().stdout).unwrap();
    for line in ["node_id = 4", "memory = \"128MiB\"", "max_connections = 7", "auto_create_topics = true"] {
        assert!(printed.lines().any(|printed| printed == line), "no {line} in\n{printed}");
    }
}

#[test]
fn the_printed_config_can_be_started_from() {
    let dir = dir();
    let path = dir.path().join("grower.toml");
    let data = dir.path().join("data");
    let print = |command: &mut Command| command.arg("--print-config").output().unwrap().stdout;
    let printed = print(command(&data).args(["--memory", "64MiB"]));
    assert!(!data.exists());
    std::fs::write(&path, &printed).unwrap();
    assert_eq!(print(bare_command().arg("--config").arg(&path)), printed);
    let daemon = Daemon::start_command(bare_command().arg("--config").arg(&path));
    assert!(data.is_dir());
    assert_eq!(daemon.terminate().status.code(), Some(0));
}

#[test]
fn help_lists_all_flags() {
    let help = bare_command().arg("--help").env_remove("COLUMNS").output().unwrap();
    insta::assert_snapshot!(String::from_utf8(help.stdout).unwrap(), @"
    A durable, append-only log broker: an acknowledged record is on the disk.

    Flags win over environment variables (GROWER__SECTION__KEY, as in GROWER__BROKER__MEMORY=2GiB), and
    these over the config file. --print-config shows every setting. GROWER_LOG or RUST_LOG sets the log
    level, such as debug or grower_broker=trace; the default is info. Changes by `grower-cli broker
    alter` win over all of these, also after a restart, until they are removed.

    Usage: grower-broker [OPTIONS]

    Options:
          --data-dir <DIR>
              The directory of all data; created if missing

          --config <FILE>
              A TOML file with settings

          --print-config
              Print the settings as a config file, and exit

          --listen <ADDRESS:PORT>
              The address that clients connect to; port 0 takes any free port [default: 127.0.0.1:9092]

          --http <ADDRESS:PORT>
              The address that serves health and metrics, or off [default: 127.0.0.1:9094]

          --advertise <HOST:PORT>
              The address that clients are told to use, if it differs from --listen

          --node-id <N>
              The number of this broker in its cluster [default: 1]

          --memory <SIZE>
              Memory for requests, answers and state together [default: 1GiB]

          --auto-create-topics
              Create a topic when a client produces to it

          --log-format <FORMAT>
              The format of log lines: text or json [default: text]

      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version
    ");
}

#[test]
fn help_or_a_config_that_cannot_be_printed_is_a_failure() {
    for flag in ["--help", "--version", "--print-config"] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = bare_command().arg(flag).stdout(full).stderr(std::process::Stdio::piped()).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), told.contains("No space left")), (Some(1), true), "{flag}: {told}");
    }
}
