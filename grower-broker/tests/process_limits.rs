//! Limits of the process, on descriptors or file sizes: the broker refuses what it cannot do for a while, and loses
//! nothing.

mod support {
    pub(crate) mod daemon;
    pub(crate) mod raw;
}

use grower_client::Client;
use grower_protocol::ids::TopicId;
use grower_protocol::message::{Acks, BackupState, ErrorCode, Failure};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use support::daemon::{Daemon, command, run};
use support::raw::{Raw, batch};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_append_without_descriptors_is_refused_and_succeeds_later() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[]);
    let mut client = connect(&daemon).await;
    for free in 0..6 {
        let topic = client.create_topic(&format!("free-{free}"), 1, &[]).await;
        leave(&daemon, free);
        let refused = client.produce(topic, Acks::All, &batch(&["first"])).await;
        assert!(is_done_or_delayed(refused), "{free} were free");
        leave_all(&daemon);
        client.produce(topic, Acks::All, &batch(&["later"])).await.unwrap();
        assert_eq!(client.values(topic, 0).await.last().unwrap(), "later");
    }
    assert!(daemon.terminate().status.success(), "the stop is clean");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_roll_without_descriptors_waits_and_other_partitions_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[]);
    let mut client = connect(&daemon).await;
    let rolling = client.create_topic("rolling", 1, &[("segment.messages", "1")]).await;
    let other = client.create_topic("other", 1, &[]).await;
    for topic in [rolling, other] {
        client.produce(topic, Acks::All, &batch(&["before"])).await.unwrap();
    }
    for free in 0..4 {
        leave(&daemon, free);
        let refused = client.produce(rolling, Acks::All, &batch(&["meanwhile"])).await;
        assert!(is_done_or_delayed(refused), "{free} were free");
        client.produce(other, Acks::All, &batch(&["meanwhile"])).await.unwrap();
        assert_eq!(client.values(rolling, 0).await[0], "before");
        leave_all(&daemon);
        client.produce(rolling, Acks::All, &batch(&["after"])).await.unwrap();
    }
    assert!(daemon.terminate().status.success(), "the stop is clean");
    let again = Daemon::start(dir.path(), &[]);
    let mut client = connect(&again).await;
    assert_eq!(client.values(rolling, 0).await.iter().filter(|value| *value == "after").count(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_may_have_more_segments_than_the_process_may_have_files() {
    const SEGMENTS: usize = 250;
    let dir = tempfile::tempdir().unwrap();
    let started = || {
        Daemon::start_command(
            command_with(&dir.path().join("data"), 128).env("GROWER__BACKUP__DIR", dir.path().join("backups")),
        )
    };
    let daemon = started();
    let mut client = connect(&daemon).await;
    let topic = client.create_topic("events", 1, &[("segment.messages", "1")]).await;
    let written: Vec<String> = (0..SEGMENTS).map(|number| number.to_string()).collect();
    for value in &written {
        client.produce(topic, Acks::All, &batch(&[value.as_str()])).await.unwrap();
    }
    assert_eq!(all_values(&mut client, topic).await, written);
    back_up(daemon.listen.to_string()).await;
    assert!(daemon.terminate().status.success(), "the stop is clean");

    let daemon = started();
    let mut client = connect(&daemon).await;
    assert_eq!(all_values(&mut client, topic).await, written);
    let open = open_files(&daemon);
    assert_eq!(all_values(&mut client, topic).await, written, "again, with as many open as may be");
    assert!(open_files(&daemon) <= open + 2 && open < 100, "{open} files are open");
    client.produce(topic, Acks::All, &batch(&["after"])).await.unwrap();
    assert!(daemon.terminate().status.success(), "the stop is clean");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_do_not_take_the_descriptors_that_a_roll_needs() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start_command(&mut command_with(dir.path(), 128));
    let mut client = connect(&daemon).await;
    let rolling = client.create_topic("rolling", 1, &[("segment.messages", "1")]).await;
    let idle = client.create_topic("idle", 1, &[]).await;
    client.produce(rolling, Acks::All, &batch(&["before"])).await.unwrap();
    let started = Instant::now();
    let mut connections = Vec::new();
    for _ in 0..160 {
        connections.push(TcpStream::connect(daemon.listen).await.unwrap());
    }
    daemon.wait_for("cannot accept a connection");
    assert!(128 <= open_files(&daemon), "connections take all that is not kept back");
    for _ in 0..20 {
        client.produce(rolling, Acks::All, &batch(&["meanwhile"])).await.unwrap();
    }
    assert!(is_done_or_delayed(client.produce(idle, Acks::All, &batch(&["first"])).await));
    drop(connections);
    assert_eq!(all_values(&mut connect(&daemon).await, rolling).await.len(), 21);
    let said = daemon.terminate().stderr;
    let lines = said.iter().filter(|line| line.contains("cannot accept a connection")).count() as u64;
    assert!(lines <= 1 + started.elapsed().as_secs() / 10, "{said:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_served_while_silent_connections_hold_all_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command_with(dir.path(), 128);
    command.env("GROWER__NETWORK__HANDSHAKE_TIMEOUT", "1h"); // They stay.
    let mut daemon = Daemon::start_command(&mut command);
    let mut connections = Vec::new();
    for _ in 0..160 {
        connections.push(TcpStream::connect(daemon.listen).await.unwrap());
    }
    daemon.wait_for("cannot accept a connection");
    for _ in 0..20 {
        let probe = status(daemon.http.unwrap(), "/healthz");
        let status = tokio::time::timeout(PATIENCE, probe).await.expect("health waits for no connection");
        assert!(status.starts_with("HTTP/1.1 200"), "{status}");
    }
    drop(connections);
    assert!(daemon.terminate().status.success(), "the stop is clean");
}

async fn status(http: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(http).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_on_file_sizes_rolls_segments_earlier_and_kills_no_process() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[]);
    let mut client = connect(&daemon).await;
    let topic = client.create_topic("events", 1, &[]).await;
    set_limit(&daemon, Resource::Fsize, Some(256 << 10));
    for _ in 0..6 {
        client.produce(topic, Acks::All, &batch(&["x".repeat(100 << 10).as_str()])).await.unwrap();
    }
    let refused = client.produce(topic, Acks::All, &batch(&["x".repeat(300 << 10).as_str()])).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::DiskFull, "{refused:?}");
    client.produce(topic, Acks::All, &batch(&["small"])).await.unwrap();
    assert!(daemon.terminate().status.success(), "the stop is clean");
    let again = Daemon::start(dir.path(), &[]);
    let values = connect(&again).await.values(topic, 0).await;
    assert!((1..=7).contains(&values.len()) && values.iter().all(|value| value.len() <= 100 << 10));
}

#[test]
fn a_broker_with_too_few_descriptors_names_the_reason_and_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let ended = run(&mut command_with(dir.path(), 24));
    assert_eq!(ended.status.code(), Some(1));
    let told =
        |line: &String| line.contains("24 open files") && line.contains("needs 32") && line.contains("ulimit -n");
    assert!(ended.stderr.iter().any(told), "{ended:#?}");
}

/// Whether it went well, or was refused for now.
fn is_done_or_delayed<T>(produced: Result<T, Failure>) -> bool {
    produced.err().is_none_or(|failure| failure.code == ErrorCode::NotReady)
}

/// The daemon with this limit of open files, which it cannot raise.
fn command_with(dir: &Path, open_files: u64) -> Command {
    let daemon = command(dir);
    let mut limited = Command::new("sh");
    limited.arg("-c").arg(format!("ulimit -n {open_files} && exec \"$0\" \"$@\""));
    limited.arg(daemon.get_program()).args(daemon.get_args()).stdin(std::process::Stdio::null());
    for (name, value) in daemon.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited
}

async fn back_up(address: String) {
    let admin = Client::connect(address).await.unwrap().admin();
    admin.begin_backup("all", false).await.unwrap();
    loop {
        match admin.describe_backup().await.unwrap().unwrap().state {
            BackupState::Made(_) => return,
            BackupState::Failed(failure) => panic!("{failure:?}"),
            BackupState::Running => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

async fn all_values(client: &mut Raw<TcpStream>, topic: TopicId) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let more = client.values(topic, all.len() as u64).await;
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

fn open_files(daemon: &Daemon) -> u64 {
    std::fs::read_dir(format!("/proc/{}/fd", daemon.child.id())).unwrap().count() as u64
}

async fn connect(daemon: &Daemon) -> Raw<TcpStream> {
    Raw::open(TcpStream::connect(daemon.listen).await.unwrap()).await
}

/// Raises the broker's limit of open files.
fn leave(daemon: &Daemon, free: u64) {
    set_limit(daemon, Resource::Nofile, Some(open_files(daemon) + free));
}

/// Lets it open as many as the system allows.
fn leave_all(daemon: &Daemon) {
    set_limit(daemon, Resource::Nofile, getrlimit(Resource::Nofile).maximum);
}

fn set_limit(daemon: &Daemon, resource: Resource, current: Option<u64>) {
    let maximum = getrlimit(resource).maximum;
    prlimit(Some(Pid::from_child(&daemon.child)), resource, Rlimit { current, maximum }).unwrap();
}
