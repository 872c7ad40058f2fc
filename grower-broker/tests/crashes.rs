//! The daemon is asked to stop, again and again, and its disk breaks down, under producers that go on through all of it.
//!
//! Kills and power cuts have files of their own. Afterwards everything acknowledged is where it was acknowledged,
//! nothing is there twice, though producers sent again whatever was left in doubt, and the offsets are dense. Each test
//! prints the seed of its moments.

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/load.rs"]
mod load;
#[path = "../../grower-storage/tests/support/power_cut.rs"]
mod power_cut;

use async_trait::async_trait;
use daemon::{Daemon, Ended};
use grower_client::transport::{Connection, Tcp, Transport};
use grower_client::{Client, TopicSpec};
use load::{Load, check, read_all};
use power_cut::PowerRig;
use rustix::process::Signal;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

const TOPIC: &str = "events";
const PARTITIONS: u32 = 3;
const WRITERS: u32 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asked_to_stop_under_load_it_stops_cleanly() {
    let dir = tempfile::tempdir().unwrap();
    let mut story = Story::start(&dir.path().join("data")).await;
    for _ in 0..10 {
        story.write_a_while().await;
        let ended = story.end(Signal::TERM).await;
        assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
        story.start_again().await;
    }
    story.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_breaks_down_ends_the_broker_and_loses_nothing() {
    let Some(mut rig) = PowerRig::with_mib(128).unwrap() else { return };
    let mut story = Story::start(&rig.path().join("data")).await;
    story.write_a_while().await;
    rig.cut().unwrap(); // Now every write fails.
    let daemon = story.daemon.take().unwrap();
    let ended = tokio::task::spawn_blocking(|| daemon.wait()).await.unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:#?}");
    assert!(ended.stderr.iter().any(|line| line.starts_with("grower-broker: stopped: ")), "{ended:#?}");

    rig.remount().unwrap();
    story.start_again().await;
    let acked = story.load.stop().await;
    check(&acked, &read_all(&story.client, TOPIC, PARTITIONS).await);
}

/// One data directory, one client whose producers never stop, and one daemon after the other.
struct Story {
    dir: PathBuf,
    daemon: Option<Daemon>,
    /// Where the daemon of the moment listens.
    address: Address,
    client: Client,
    load: Load,
    moments: Moments,
}

impl Story {
    async fn start(dir: &Path) -> Self {
        let daemon = Daemon::start(dir, &[]);
        let address = Address::default();
        address.set(&daemon);
        let client = Client::builder().transport(address.clone()).bootstrap(["the broker:0"]).connect().await.unwrap();
        let rolling = TopicSpec::partitions(PARTITIONS).config("segment.bytes", "64KiB");
        client.admin().create_topic(TOPIC, rolling).await.unwrap();
        let load = Load::start(&client, TOPIC, PARTITIONS, WRITERS, 1);
        Self { dir: dir.to_owned(), daemon: Some(daemon), address, client, load, moments: Moments::from_clock() }
    }

    /// Until a moment that nobody chose.
    async fn write_a_while(&mut self) {
        let acks = self.moments.next(400);
        self.load.wait_for_more(acks as usize).await;
    }

    async fn end(&mut self, signal: Signal) -> Ended {
        let daemon = self.daemon.take().unwrap();
        daemon.signal(signal);
        tokio::task::spawn_blocking(|| daemon.wait()).await.unwrap()
    }

    async fn start_again(&mut self) {
        let dir = self.dir.clone();
        let daemon = tokio::task::spawn_blocking(move || Daemon::start(&dir, &[])).await.unwrap();
        self.address.set(&daemon);
        self.daemon = Some(daemon);
    }

    async fn finish(mut self) {
        self.load.wait_for_more(100).await;
        let acked = self.load.stop().await;
        check(&acked, &read_all(&self.client, TOPIC, PARTITIONS).await);
        let daemon = self.daemon.take().unwrap();
        let ended = tokio::task::spawn_blocking(|| daemon.terminate()).await.unwrap();
        assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    }
}

/// A way to whichever daemon runs at the moment: each has a port of its own.
#[derive(Clone, Default)]
struct Address(Arc<Mutex<String>>);

impl Address {
    fn set(&self, daemon: &Daemon) {
        *self.0.lock().unwrap() = daemon.listen.to_string();
    }
}

#[async_trait]
impl Transport for Address {
    async fn connect(&self, _advertised: &str) -> io::Result<Box<dyn Connection>> {
        let address = self.0.lock().unwrap().clone();
        Tcp.connect(&address).await
    }
}

/// Numbers that look random and come again with their seed.
struct Moments(u64);

impl Moments {
    fn from_clock() -> Self {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        eprintln!("seed of the moments: {seed}");
        Self(seed)
    }

    /// From 1 to `max`.
    fn next(&mut self, max: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        1 + (self.0 >> 33) % max
    }
}
