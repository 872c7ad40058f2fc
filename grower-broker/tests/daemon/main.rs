//! The process `grower-broker`: its output, its ready line, and its exit.

#[path = "../support/daemon.rs"]
mod daemon;
mod settings;

use daemon::{Daemon, Ended, bare_command, command, run};
use grower_broker::offline::{FileSystem, Trust};
use grower_client::{Client, SettingSource};
use rustix::process::Signal;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// The one line of a refused start, which exits with 1.
fn refusal(command: &mut Command) -> String {
    let Ended { status, stderr } = run(command);
    assert_eq!(status.code(), Some(1), "{stderr:#?}");
    let [line] = stderr.as_slice() else { panic!("more or less than one line: {stderr:#?}") };
    line.strip_prefix("grower-broker: ").unwrap_or_else(|| panic!("{line}")).to_owned()
}

fn ask(daemon: &Daemon, path: &str) -> String {
    let mut stream = TcpStream::connect(daemon.http.unwrap()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_daemon_serves_after_its_ready_line_and_stops_cleanly_on_sigterm() {
    let dir = dir();
    for signal in [Signal::TERM, Signal::INT] {
        let daemon = Daemon::start(dir.path(), &[]);
        assert!(ask(&daemon, "/healthz").starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(ask(&daemon, "/readyz").starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(ask(&daemon, "/metrics").contains("\ngrower_uptime_seconds "));
        TcpStream::connect(daemon.listen).unwrap();
        daemon.signal(signal);
        let ended = daemon.wait();
        assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    }
}

#[test]
fn a_signal_that_a_wrapper_repeats_does_not_force_the_stop() {
    let dir = dir();
    let pairs = [
        (Signal::TERM, Signal::INT),
        (Signal::TERM, Signal::TERM),
        (Signal::INT, Signal::TERM),
        (Signal::QUIT, Signal::TERM),
    ];
    for (first, second) in pairs {
        let daemon = Daemon::start(dir.path(), &[]);
        daemon.signal(first);
        daemon.signal(second);
        let ended = daemon.wait();
        assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    }
}

#[test]
fn signals_without_a_meaning_are_logged_and_ignored() {
    let dir = dir();
    let mut daemon = Daemon::start(dir.path(), &[]);
    for (signal, told) in [
        (Signal::HUP, "SIGHUP ignored"),
        (Signal::USR1, "SIGUSR1 ignored"),
        (Signal::USR2, "SIGUSR2 ignored"),
        (Signal::ALARM, "SIGALRM ignored"),
    ] {
        daemon.signal(signal);
        daemon.wait_for(told);
    }
    assert!(ask(&daemon, "/healthz").starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(daemon.terminate().status.code(), Some(0));
}

#[test]
fn an_invalid_rust_log_is_ignored_with_a_warning() {
    let dir = dir();
    let ended = Daemon::start_command(command(dir.path()).env("RUST_LOG", "a=b=c")).terminate();
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.stderr.iter().any(|line| line.contains("WARN") && line.contains("RUST_LOG")), "{ended:#?}");
}

#[test]
fn the_ready_line_names_the_served_addresses() {
    let dir = dir();
    let daemon = Daemon::start_command(command(dir.path()).args(["--http", "off"]));
    assert_eq!(daemon.http, None);
    let Ended { stderr, .. } = daemon.terminate();
    let ready: Vec<_> = stderr.iter().filter(|line| line.starts_with("grower-broker ready")).collect();
    let [line] = ready.as_slice() else { panic!("{stderr:#?}") };
    let address = line.strip_prefix("grower-broker ready listen=").unwrap();
    assert_ne!(address.parse::<SocketAddr>().unwrap().port(), 0);
}

#[test]
fn a_killed_daemon_starts_again_on_the_same_directory() {
    let dir = dir();
    for _ in 0..3 {
        let daemon = Daemon::start(dir.path(), &[]);
        assert_eq!(daemon.kill9().status.code(), None);
    }
}

#[test]
fn a_directory_in_use_is_refused_and_its_owner_undisturbed() {
    let dir = dir();
    let daemon = Daemon::start(dir.path(), &[]);
    let refused = refusal(&mut command(dir.path()));
    assert!(refused.contains(&dir.path().display().to_string()), "{refused}");
    assert!(refused.contains("another broker"), "{refused}");
    assert!(ask(&daemon, "/readyz").contains("200 OK"));
    assert_eq!(daemon.terminate().status.code(), Some(0));
}

#[test]
fn a_directory_of_another_node_or_of_a_later_version_is_refused() {
    let dir = dir();
    stop_when_ready(&mut command(dir.path()));
    let refused = refusal(command(dir.path()).args(["--node-id", "2"]));
    assert!(refused.contains("belongs to node 1, not 2: start with --node-id 1"), "{refused}");

    let identity = dir.path().join("meta");
    let text = std::fs::read_to_string(&identity).unwrap();
    let later = text.split_inclusive('\n').filter(|line| !line.starts_with("crc32")).collect::<String>();
    let later = later.replace("format = 1", "format = 2");
    let crc = crc32fast::hash(later.as_bytes());
    std::fs::write(&identity, format!("{later}crc32 = \"{crc:08x}\"\n")).unwrap();
    let refused = refusal(&mut command(dir.path()));
    assert!(refused.contains("use a newer Grower"), "{refused}");
}

#[test]
fn a_directory_with_an_unfinished_restore_is_refused_and_left_as_it_is() {
    let dir = dir();
    std::fs::write(dir.path().join("restoring"), "").unwrap();
    let told = refusal(&mut command(dir.path()));
    assert!(told.contains("a restore into") && told.contains("repeat it"), "{told}");
    assert!(!dir.path().join("meta").exists());
}

#[test]
fn a_port_in_use_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--http"] {
        let refused = refusal(command(dir().path()).args([flag, &address]));
        assert!(refused.starts_with(&format!("cannot listen on {address}: ")), "{refused}");
    }
}

#[test]
fn an_impossible_data_directory_is_refused() {
    let dir = dir();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    for place in [file.clone(), file.join("below"), Path::new("/proc/nowhere").to_owned()] {
        let refused = refusal(&mut command(&place));
        let named = if place.starts_with(&file) { &file } else { &place };
        assert!(refused.contains(&named.display().to_string()), "{refused}");
    }
}

#[test]
fn a_reachable_address_is_warned_of_once() {
    let dir = dir();
    let mut open = bare_command();
    open.arg("--data-dir").arg(dir.path()).args(["--listen", "0.0.0.0:0", "--http", "0.0.0.0:0"]);
    open.args(["--advertise", "localhost:9092"]);
    let Ended { stderr, .. } = stop_when_ready(&mut open);
    assert_eq!(stderr.iter().filter(|line| line.contains("from other machines")).count(), 1, "{stderr:#?}");
    let Ended { stderr, .. } = stop_when_ready(&mut command(dir.path()));
    assert!(!stderr.iter().any(|line| line.contains("from other machines")), "{stderr:#?}");
}

#[test] // Hostile input 55.
fn a_temporary_file_system_is_warned_of() {
    let warning = |dir: &Path| {
        let Ended { stderr, .. } = stop_when_ready(&mut command(dir));
        stderr.into_iter().find(|line| line.contains("file_system="))
    };
    let dir = dir();
    let trusted = FileSystem::of(dir.path()).unwrap().trust() == Trust::Full;
    assert_eq!(warning(dir.path()).is_none(), trusted);
    let memory = Path::new("/dev/shm");
    if FileSystem::of(memory).is_ok_and(|found| found == FileSystem::named("tmpfs")) {
        let dir = tempfile::tempdir_in(memory).unwrap();
        let warned = warning(dir.path()).expect("it is told");
        assert!(warned.contains("tmpfs") && warned.contains("records do not survive a restart"), "{warned}");
    }
}

#[test]
fn log_lines_can_be_json() {
    let dir = dir();
    let Ended { stderr, .. } = stop_when_ready(command(dir.path()).args(["--log-format", "json"]));
    let (json, others): (Vec<_>, Vec<_>) = stderr.iter().partition(|line| line.starts_with('{') && line.ends_with('}'));
    assert!(!json.is_empty());
    assert!(others.iter().all(|line| line.starts_with("grower-broker ready ")), "{others:#?}");
}

#[test]
fn a_closed_log_pipe_does_not_end_the_daemon() {
    let dir = dir();
    let daemon = Daemon::start_unheard(command(dir.path()).env("GROWER_LOG", "trace"));
    for _ in 0..3 {
        let mut stranger = TcpStream::connect(daemon.listen).unwrap();
        stranger.write_all(b"what is this?").unwrap();
        let _ = stranger.read_to_end(&mut Vec::new()); // It says so in its log and closes.
        assert!(ask(&daemon, "/readyz").starts_with("HTTP/1.1 200 OK\r\n"));
    }
    let ended = daemon.terminate();
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
}

#[test]
fn an_unread_log_delays_no_request_and_counts_its_missing_lines() {
    let dir = dir();
    let (daemon, mut lines) = Daemon::start_unread(command(dir.path()).env("GROWER_LOG", "trace"));
    for _ in 0..6000 {
        let mut stranger = TcpStream::connect(daemon.listen).unwrap();
        stranger.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stranger.write_all(b"what is this?").unwrap();
        let end = stranger.read_to_end(&mut Vec::new()); // Closed after a line in the log.
        assert!(!end.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "no answer came");
    }
    assert!(ask(&daemon, "/readyz").starts_with("HTTP/1.1 200 OK\r\n"));
    let reader = std::thread::spawn(move || {
        let missing = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("log lines are missing here")));
        lines.for_each(drop);
        missing
    });
    TcpStream::connect(daemon.listen).unwrap().write_all(b"what is this?").unwrap();
    let ended = daemon.terminate();
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    assert!(reader.join().unwrap().is_some(), "the gap is told");
}

#[test]
fn an_unread_log_does_not_delay_the_stop() {
    let dir = dir();
    let (daemon, _lines) = Daemon::start_unread(command(dir.path()).env("GROWER_LOG", "trace"));
    for _ in 0..1000 {
        TcpStream::connect(daemon.listen).unwrap().write_all(b"what is this?").unwrap();
    }
    assert_eq!(daemon.terminate().status.code(), Some(0));
}

#[tokio::test]
async fn a_changed_log_level_applies_at_once_and_survives_a_restart() {
    let dir = dir();
    let mut daemon = Daemon::start_command(command(dir.path()).env("GROWER_LOG", "warn"));
    let client = Client::connect(daemon.listen.to_string()).await.unwrap();
    let set = |level: Option<&str>| [("logging.level", level.map(str::to_owned))];
    client.admin().alter_settings(set(Some("debug"))).await.unwrap();
    Client::connect(daemon.listen.to_string()).await.unwrap().admin().metadata().await.unwrap();
    daemon.wait_for("a client introduced itself");
    daemon.kill9();

    let mut daemon = Daemon::start_command(command(dir.path()).env("GROWER_LOG", "warn"));
    let client = Client::connect(daemon.listen.to_string()).await.unwrap();
    client.admin().metadata().await.unwrap();
    daemon.wait_for("a client introduced itself");
    client.admin().alter_settings(set(None)).await.unwrap();
    let settings = client.admin().describe_settings().await.unwrap();
    let level = settings.iter().find(|setting| setting.key == "logging.level").unwrap();
    assert_eq!(level.value.as_deref(), Some("warn"));
    assert_eq!(level.source, SettingSource::Start("GROWER_LOG".to_owned()));
}

/// Lets it start, then asks it to stop.
fn stop_when_ready(command: &mut Command) -> Ended {
    let ended = Daemon::start_command(command).terminate();
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    ended
}
