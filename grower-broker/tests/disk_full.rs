//! A full disk only refuses writes: reads and changes of metadata work, and writes resume without a restart once there
//! is space. Writers, a reader and a group run through several full disks, and nothing acknowledged is lost.
#![expect(clippy::disallowed_methods, reason = "a test may wait for a daemon on any thread")]

mod support {
    pub(crate) mod daemon;
    pub(crate) mod ledger;
    pub(crate) mod raw;
    pub(crate) mod workload;
}
#[path = "../../grower-storage/tests/support/power_cut.rs"]
mod rig;

use grower_client::ids::TopicId;
use grower_client::{Acks, ErrorCode, Outcome, TopicSpec};
use rig::PowerRig;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use support::daemon::{Daemon, command};
use support::ledger::{Audit, Ledger};
use support::raw::{Raw, batch};
use support::workload::{BrokerAddress, Workload};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;

const DISK_MIB: u64 = 64;
const RESERVE: u64 = 8 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_until_there_is_room_again() {
    let Some(rig) = PowerRig::with_mib(DISK_MIB).unwrap() else { return };
    let mut test = Test::start(rig.path().join("data"), RESERVE).await;
    for room in [Room::ByDeleting, Room::ByRetention, Room::FromOthers] {
        let bulk = test.create_bulk(room).await;
        let hog = (room == Room::FromOthers).then(|| Hog::take(rig.path(), RESERVE + (1 << 20)));
        test.write_until_refused(bulk, 512 << 10).await;
        test.check_full(room).await;
        test.make_room(room, hog).await;
        test.check_has_room().await;
    }
    test.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_even_a_disk_without_a_free_byte_ends_the_broker() {
    let Some(rig) = PowerRig::with_mib(DISK_MIB).unwrap() else { return };
    let mut test = Test::start(rig.path().join("data"), RESERVE).await;
    for _ in 0..3 {
        let hog = Hog::take(rig.path(), 0); // Under the writers' hands, the reserve as well.
        test.wait_until(|readiness| readiness.contains("disk full")).await;
        test.check_reads().await;
        drop(hog);
        test.check_has_room().await;
    }
    test.finish().await;
}

/// Without a reserve it is the file system that refuses, anywhere in the middle of a write, a roll or a checkpoint.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_meets_the_end_of_the_disk_is_refused_like_any_other() {
    let Some(rig) = PowerRig::with_mib(DISK_MIB).unwrap() else { return };
    let mut test = Test::start(rig.path().join("data"), 0).await;
    let bulk = test.create_bulk(Room::FromOthers).await;
    for _ in 0..3 {
        let hog = Hog::take(rig.path(), 64 << 10);
        test.write_until_refused(bulk, 4 << 10).await;
        test.check_reads().await;
        drop(hog);
        test.check_has_room().await;
    }
    test.finish().await;
}

/// How room is made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Room {
    /// A topic is deleted.
    ByDeleting,
    /// A topic may keep less.
    ByRetention,
    /// A file of another program is removed.
    FromOthers,
}

impl Room {
    /// The topic that fills the disk.
    fn topic(self) -> String {
        format!("bulk-{self:?}")
    }
}

/// A daemon on a small disk, and clients who want nothing to be lost.
struct Test {
    data: PathBuf,
    daemon: Daemon,
    door: BrokerAddress,
    ledger: Arc<Ledger>,
    workload: Workload,
}

impl Test {
    async fn start(data: PathBuf, reserve: u64) -> Self {
        let mut command = command(&data);
        command.env("GROWER__DISK__RESERVE_BYTES", reserve.to_string()).env("GROWER__DISK__RETENTION_CHECK", "100ms");
        let daemon = Daemon::start_command(&mut command);
        let (door, ledger) = (BrokerAddress::default(), Ledger::new("events", 4));
        door.open(daemon.listen);
        let workload = Workload::start(&door, ledger.clone(), &[("segment.messages", "500")]).await;
        ledger.wait_for(300).await;
        Self { data, daemon, door, ledger, workload }
    }

    async fn create_bulk(&self, room: Room) -> TopicId {
        let spec = TopicSpec::partitions(1).config("segment.bytes", "1MiB");
        self.workload.client.admin().create_topic(room.topic(), spec).await.unwrap()
    }

    /// Writes until that is refused, then checks how. A client would try again; here every refusal counts.
    async fn write_until_refused(&self, topic: TopicId, value_bytes: usize) {
        let mut raw = Raw::open(TcpStream::connect(self.daemon.listen).await.unwrap()).await;
        let batch = batch(&["x".repeat(value_bytes).as_str()]);
        let refused = loop {
            if let Err(refused) = raw.produce(topic, Acks::All, &batch).await {
                break refused;
            }
        };
        assert_eq!(refused.code, ErrorCode::DiskFull, "{refused:?}");
        assert_eq!((refused.code.is_retriable(), refused.code.outcome()), (true, Outcome::Refused));
    }

    /// Everything but writing works.
    async fn check_full(&self, room: Room) {
        assert!(0 < free(&self.data), "the reserve is there for deletes and metadata");
        self.wait_until(|readiness| readiness.contains("disk full")).await;
        assert!(self.ask("/healthz").starts_with("HTTP/1.1 200 "));
        self.check_reads().await;
        let admin = self.workload.client.admin();
        let name = format!("made-while-full-{room:?}");
        admin.create_topic(&name, TopicSpec::partitions(2)).await.unwrap();
        admin.alter_topic(&name, [("retention.ms", Some("1h".to_owned()))]).await.unwrap();
        admin.grow_topic(&name, 3).await.unwrap();
        admin.delete_topic(&name).await.unwrap();
    }

    async fn check_reads(&self) {
        Audit::default().run(&self.workload.client, &self.ledger).await;
    }

    async fn make_room(&self, room: Room, hog: Option<Hog>) {
        let admin = self.workload.client.admin();
        match room {
            Room::FromOthers => drop(hog),
            Room::ByDeleting => admin.delete_topic(room.topic()).await.unwrap(),
            Room::ByRetention => {
                let little = [("retention.bytes", Some("1MiB".to_owned()))];
                admin.alter_topic(room.topic(), little).await.unwrap();
            }
        }
    }

    /// Writers that met the full disk resume by themselves.
    async fn check_has_room(&mut self) {
        self.wait_until(|readiness| readiness.starts_with("HTTP/1.1 200 ")).await;
        self.ledger.wait_for(self.ledger.acks() + 300).await;
        self.workload.check();
    }

    /// Asks for the readiness again and again: files of deleted topics go in their own time.
    async fn wait_until(&self, is_right: impl Fn(&str) -> bool) {
        let asking = async {
            while !is_right(&self.ask("/readyz")) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), asking).await.expect("it does not come to that");
    }

    fn ask(&self, path: &str) -> String {
        let mut stream = std::net::TcpStream::connect(self.daemon.http.unwrap()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// All is there, also after a crash.
    async fn finish(self) {
        let client = self.workload.finish().await;
        let mut before = Audit::default();
        before.run(&client, &self.ledger).await;
        before.is_complete(&self.ledger);
        spawn_blocking(|| self.daemon.kill9()).await.unwrap();
        let _daemon = {
            let daemon = Daemon::start(&self.data, &[]);
            self.door.open(daemon.listen);
            daemon
        };
        let mut after = Audit::default();
        after.run(&client, &self.ledger).await;
        after.is_complete(&self.ledger);
    }
}

/// Another program's file, as large as the disk allows.
struct Hog(PathBuf);

impl Hog {
    /// Takes all of the disk but `leave` bytes.
    fn take(dir: &Path, leave: u64) -> Self {
        let path = dir.join("hog");
        let file = File::create(&path).unwrap();
        let mut size = free(dir).saturating_sub(leave);
        while 4096 <= size && fallocate(&file, FallocateFlags::empty(), 0, size).is_err() {
            size -= size / 64 + 1; // The file system needs some for itself.
        }
        Self(path)
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn free(dir: &Path) -> u64 {
    let volume = statvfs(dir).unwrap();
    volume.f_bavail * volume.f_frsize
}
