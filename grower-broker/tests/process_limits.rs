//! A broker that meets a limit of its process, file descriptors or the size of a file, refuses for a while what it cannot
//! do, and loses nothing by it.

mod support {
    pub(crate) mod daemon;
    pub(crate) mod raw;
}

use grower_protocol::message::{Acks, ErrorCode, Failure};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use support::daemon::Daemon;
use support::raw::{Raw, batch};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_append_without_descriptors_is_refused_for_now_and_done_later() {
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
async fn a_limit_on_the_size_of_files_cuts_segments_earlier_and_kills_nobody() {
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

/// Whether it went well, or was refused for now.
fn is_done_or_delayed<T>(produced: Result<T, Failure>) -> bool {
    produced.err().is_none_or(|failure| failure.code == ErrorCode::NotReady)
}

async fn connect(daemon: &Daemon) -> Raw<TcpStream> {
    Raw::open(TcpStream::connect(daemon.listen).await.unwrap()).await
}

/// Lets the broker open so many more files.
fn leave(daemon: &Daemon, free: u64) {
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.child.id())).unwrap().count() as u64;
    set_limit(daemon, Resource::Nofile, Some(open + free));
}

/// Lets it open as many as the system allows.
fn leave_all(daemon: &Daemon) {
    set_limit(daemon, Resource::Nofile, getrlimit(Resource::Nofile).maximum);
}

fn set_limit(daemon: &Daemon, resource: Resource, current: Option<u64>) {
    let maximum = getrlimit(resource).maximum;
    prlimit(Some(Pid::from_child(&daemon.child)), resource, Rlimit { current, maximum }).unwrap();
}
