//! Directories that are read-only, forbidden, or out of inodes. The broker names the directory and does not start, or
//! serves what it can. Once the reason is gone, everything is served.

mod support {
    pub(crate) mod daemon;
    pub(crate) mod raw;
}
#[path = "../../grower-storage/tests/support/power_cut.rs"]
mod rig;

use grower_client::{Acks, Client, ErrorCode, Record, StartFrom, TopicSpec};
use rig::PowerRig;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use support::daemon::{Daemon, Ended, command, run};
use support::raw::{Raw, batch};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than anything takes here; only a failing test waits so long.
const LONG: Duration = Duration::from_secs(30);
/// An unprivileged user id. It owns only the files that a test gives it.
const NOBODY: u32 = 65_534;

async fn client(daemon: &Daemon) -> Client {
    Client::connect(daemon.listen.to_string()).await.unwrap()
}

async fn produce(client: &Client, topic: &str, partition: u32, value: &str) {
    let producer = client.producer().build().await.unwrap();
    producer.send(Record::new(topic).partition(partition).value(value.to_owned())).await.unwrap();
}

async fn first_of(client: &Client, topic: &str, partition: u32) -> String {
    let builder = client.consumer().assign([(topic, partition)]).from(StartFrom::Beginning).max_poll_records(1);
    let records = builder.build().await.unwrap().poll(LONG).await.unwrap();
    String::from_utf8(records[0].value.as_deref().unwrap().to_vec()).unwrap()
}

/// It ends with status 1 and one line that says what cannot be done where.
fn assert_refused(ended: &Ended, why: &str) {
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let said = ended.stderr.last().unwrap();
    assert!(said.starts_with("grower-broker: ") && said.contains(why), "{ended:?}");
}

fn remount(dir: &Path, how: &str) {
    let status = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(dir).status().unwrap();
    assert!(status.success(), "remounting {how} must go well");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)] // Hostile input 55.
async fn a_read_only_file_system_is_named_and_left_as_it_is() {
    let Some(rig) = PowerRig::with_mib(64).unwrap() else { return };
    let data = rig.path().join("data");
    let daemon = Daemon::start(&data, &[]);
    let at = client(&daemon).await;
    at.admin().create_topic("events", TopicSpec::partitions(1)).await.unwrap();
    produce(&at, "events", 0, "kept").await;
    daemon.terminate();

    remount(rig.path(), "ro");
    assert_refused(&run(&mut command(&data)), "Read-only file system");
    remount(rig.path(), "rw");
    let daemon = Daemon::start(&data, &[]);
    assert_eq!(first_of(&client(&daemon).await, "events", 0).await, "kept");
    daemon.terminate();
}

/// A data directory of a user without rights, whom no permission is ignored for.
struct Theirs {
    dir: tempfile::TempDir,
}

impl Theirs {
    /// None unless this is root, since only root can change the user.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("nobody's permissions are not tested: it needs root");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        Some(Self { dir })
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn command(&self) -> Command {
        let mut command = command(&self.data());
        command.uid(NOBODY).gid(NOBODY).current_dir(self.dir.path());
        command
    }

    fn close(&self, path: &str, mode: u32) {
        fs::set_permissions(self.data().join(path), Permissions::from_mode(mode)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)] // Hostile input 63.
async fn an_unreadable_directory_costs_only_its_own_partition() {
    let Some(theirs) = Theirs::new() else { return };
    let daemon = Daemon::start_command(&mut theirs.command());
    let at = client(&daemon).await;
    at.admin().create_topic("events", TopicSpec::partitions(2)).await.unwrap();
    for partition in 0..2 {
        produce(&at, "events", partition, &format!("kept {partition}")).await;
    }
    daemon.terminate();

    for path in ["", "topics", "metadata"] {
        theirs.close(path, 0);
        assert_refused(&run(&mut theirs.command()), "Permission denied");
        theirs.close(path, 0o700);
    }

    theirs.close("topics/events/0", 0);
    let daemon = Daemon::start_command(&mut theirs.command());
    let mut raw = Raw::open(TcpStream::connect(daemon.listen).await.unwrap()).await;
    let at = client(&daemon).await;
    assert_eq!(first_of(&at, "events", 1).await, "kept 1");
    produce(&at, "events", 1, "and more").await;
    let topic = at.admin().describe_topic("events", false).await.unwrap();
    assert!(topic.partitions[0].leader.is_none() && topic.partitions[1].leader.is_some(), "{topic:?}");
    let refused = raw.produce(topic.id, Acks::All, &batch(&["refused"])).await.unwrap_err();
    assert_ne!(refused.code, ErrorCode::DiskFull, "{refused:?}");
    daemon.terminate();

    theirs.close("topics/events/0", 0o700);
    let daemon = Daemon::start_command(&mut theirs.command());
    assert_eq!(first_of(&client(&daemon).await, "events", 0).await, "kept 0");
    daemon.terminate();
}

/// The answer of `/readyz` before the broker is ready.
async fn not_ready(daemon: &Daemon) -> String {
    let mut stream = TcpStream::connect(daemon.http.unwrap()).await.unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    answer
}

/// Names without content, as many as the file system has room for.
fn use_up_inodes(dir: &Path) {
    fs::create_dir(dir).unwrap();
    for number in 0.. {
        match fs::File::create(dir.join(number.to_string())) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)] // Hostile input 63.
async fn without_a_free_inode_writes_wait_and_everything_else_works() {
    let Some(rig) = PowerRig::with_mib(16).unwrap() else { return };
    let (data, hog) = (rig.path().join("data"), rig.path().join("hog"));
    let mut daemon = Daemon::start(&data, &[]);
    let mut raw = Raw::open(TcpStream::connect(daemon.listen).await.unwrap()).await;
    let at = client(&daemon).await;
    let spec = TopicSpec::partitions(1).config("segment.messages", "3");
    let events = at.admin().create_topic("events", spec).await.unwrap();
    raw.produce(events, Acks::All, &batch(&["first"])).await.unwrap();

    use_up_inodes(&hog);
    let new = at.admin().create_topic("new", TopicSpec::partitions(1)).await.unwrap();
    let refused = raw.produce(new, Acks::All, &batch(&["refused"])).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::DiskFull, "a partition without a directory: {refused:?}");
    for value in ["second", "third"] {
        raw.produce(events, Acks::All, &batch(&[value])).await.unwrap(); // They need no new file.
    }
    for _ in 0..3 {
        let refused = raw.produce(events, Acks::All, &batch(&["refused"])).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::DiskFull, "a roll: {refused:?}");
        assert!(refused.code.is_retriable());
    }
    assert_eq!(raw.values(events, 0).await, ["first", "second", "third"]);
    assert!(refused.detail.contains("no inode left"), "{refused:?}");
    daemon.wait_for("inodes left (see df -i)");
    assert!(not_ready(&daemon).await.contains("inodes left"));
    daemon.kill9();
    let daemon = Daemon::start(&data, &[]); // By the inode of its reserve.
    let mut raw = Raw::open(TcpStream::connect(daemon.listen).await.unwrap()).await;
    assert_eq!(raw.values(events, 0).await, ["first", "second", "third"]);

    fs::remove_dir_all(&hog).unwrap();
    for topic in [events, new] {
        raw.produce(topic, Acks::All, &batch(&["after"])).await.unwrap();
    }
    assert_eq!(raw.values(events, 0).await, ["first", "second", "third", "after"]);
    daemon.kill9();
    let daemon = Daemon::start(&data, &[]);
    let mut raw = Raw::open(TcpStream::connect(daemon.listen).await.unwrap()).await;
    assert_eq!(raw.values(events, 0).await, ["first", "second", "third", "after"]);
    assert_eq!(raw.values(new, 0).await, ["after"]);
    daemon.terminate();
}
