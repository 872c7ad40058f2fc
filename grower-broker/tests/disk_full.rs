//! A full disk refuses writes and does nothing worse: reads and changes of metadata go on, and once there is room again writes do
//! too, without a restart. Nothing acknowledged is lost over several such times.

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/load.rs"]
mod load;
#[path = "../../grower-storage/tests/support/power_cut.rs"]
mod power_cut;
#[path = "support/raw.rs"]
mod raw;

use daemon::{Daemon, command};
use grower_client::ids::TopicId;
use grower_client::{Acks, Client, ErrorCode, Outcome, TopicSpec};
use load::{Load, Place, check, read_all};
use power_cut::PowerRig;
use raw::{Raw, batch};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use tokio::net::TcpStream;

const DISK_MIB: u64 = 48;
const RESERVE: u64 = 8 << 20;
/// What is acknowledged here must stay.
const KEPT: &str = "kept";
/// Enough of them to fill the disk; deleted, or shortened by retention.
const BULK: &str = "bulk";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_until_there_is_room_again() {
    let Some(rig) = PowerRig::with_mib(DISK_MIB).unwrap() else { return };
    let data = rig.path().join("data");
    let mut test = Test::start(&data, RESERVE).await;

    for (cycle, room) in
        [Room::ByDeleting, Room::ByRetention, Room::FromOthers, Room::ByDeleting].into_iter().enumerate()
    {
        let cycle = u32::try_from(cycle).unwrap();
        let hog = test.fill(cycle, room).await;
        test.check_full(cycle).await;
        let waiting = Load::start(&test.client, KEPT, 1, 2, cycle);
        test.make_room(room, hog).await;
        waiting.wait_for_more(50).await; // Writers that met the full disk go on by themselves.
        test.acked.extend(waiting.stop().await);
        test.check_has_room().await;
    }

    test.restart().await;
    test.check_kept().await;
    test.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_even_a_disk_without_a_free_byte_ends_the_broker() {
    let Some(rig) = PowerRig::with_mib(DISK_MIB).unwrap() else { return };
    let data = rig.path().join("data");
    let mut test = Test::start(&data, RESERVE).await;

    for cycle in 0..3 {
        let load = Load::start(&test.client, KEPT, 1, 4, cycle);
        load.wait_for_more(100).await;
        let hog = Hog::take(rig.path(), 0); // Under the writers' hands, the reserve as well.
        test.wait_until_full().await;
        test.check_reads(&load).await;
        drop(hog);
        load.wait_for_more(100).await;
        test.acked.extend(load.stop().await);
        test.check_kept().await;
    }

    test.restart().await;
    test.check_kept().await;
    test.stop().await;
}

/// Without a reserve it is the file system that refuses, anywhere in the middle of a write, a roll or a checkpoint.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_meets_the_end_of_the_disk_is_refused_like_any_other() {
    let Some(rig) = PowerRig::with_mib(DISK_MIB).unwrap() else { return };
    let data = rig.path().join("data");
    let mut test = Test::start(&data, 0).await;

    for cycle in 0..5 {
        let load = Load::start(&test.client, KEPT, 1, 4, cycle);
        load.wait_for_more(100).await;
        let bulk = test.create_bulk(cycle).await;
        let hog = Hog::take(rig.path(), 64 << 10);
        test.write_until_refused(bulk, 100).await;
        test.check_reads(&load).await;
        drop(hog);
        load.wait_for_more(100).await;
        test.acked.extend(load.stop().await);
        test.check_kept().await;
    }

    test.restart().await;
    test.check_kept().await;
    test.stop().await;
}

/// How room is made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Room {
    /// A topic is deleted.
    ByDeleting,
    /// A topic may keep less.
    ByRetention,
    /// Somebody else's file goes.
    FromOthers,
}

struct Test {
    dir: PathBuf,
    reserve: u64,
    daemon: Daemon,
    client: Client,
    acked: BTreeMap<Place, String>,
}

impl Test {
    async fn start(data: &Path, reserve: u64) -> Self {
        let daemon = Self::daemon(data, reserve);
        let client = Client::connect(daemon.listen.to_string()).await.unwrap();
        let small = TopicSpec::partitions(1).config("segment.bytes", "256KiB");
        client.admin().create_topic(KEPT, small).await.unwrap();
        let mut test = Self { dir: data.to_owned(), reserve, daemon, client, acked: BTreeMap::new() };
        let load = Load::start(&test.client, KEPT, 1, 2, 1_000);
        load.wait_for_more(100).await;
        test.acked = load.stop().await;
        test
    }

    fn daemon(data: &Path, reserve: u64) -> Daemon {
        let mut command = command(data);
        command.env("GROWER__DISK__RESERVE_BYTES", reserve.to_string()).env("GROWER__DISK__RETENTION_CHECK", "100ms");
        Daemon::start_command(&mut command)
    }

    async fn restart(&mut self) {
        self.daemon.signal(rustix::process::Signal::KILL);
        self.daemon.child.wait().unwrap();
        self.daemon = Self::daemon(&self.dir, self.reserve);
        self.client = Client::connect(self.daemon.listen.to_string()).await.unwrap();
    }

    async fn stop(self) {
        let ended = tokio::task::spawn_blocking(|| self.daemon.terminate()).await.unwrap();
        assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    }

    /// Fills the disk up to the reserve, with records or otherwise.
    async fn fill(&self, cycle: u32, room: Room) -> Option<Hog> {
        let bulk = self.create_bulk(cycle).await;
        let hog = (room == Room::FromOthers).then(|| Hog::take(&self.dir, RESERVE + (1 << 20)));
        self.write_until_refused(bulk, 512 << 10).await;
        hog
    }

    async fn create_bulk(&self, cycle: u32) -> TopicId {
        let spec = TopicSpec::partitions(1).config("segment.bytes", "1MiB");
        self.client.admin().create_topic(format!("{BULK}-{cycle}"), spec).await.unwrap()
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
    async fn check_full(&self, cycle: u32) {
        assert!(0 < free(&self.dir), "the reserve is there for what must go on");
        assert!(self.ask("/readyz").contains("disk full"));
        assert!(self.ask("/healthz").starts_with("HTTP/1.1 200 "));
        self.check_kept().await;
        let admin = self.client.admin();
        let name = format!("made-while-full-{cycle}");
        admin.create_topic(&name, TopicSpec::partitions(2)).await.unwrap();
        admin.alter_topic(&name, [("retention.ms", Some("1h".to_owned()))]).await.unwrap();
        admin.grow_topic(&name, 3).await.unwrap();
        admin.delete_topic(&name).await.unwrap();
    }

    async fn make_room(&self, room: Room, hog: Option<Hog>) {
        let admin = self.client.admin();
        let topics = admin.metadata().await.unwrap().topics.into_iter().map(|topic| topic.unwrap().name);
        let bulk = topics.filter(|name| name.as_str().starts_with(BULK));
        match room {
            Room::FromOthers => drop(hog),
            Room::ByDeleting => {
                for topic in bulk {
                    admin.delete_topic(topic).await.unwrap();
                }
            }
            Room::ByRetention => {
                for topic in bulk {
                    admin.alter_topic(topic, [("retention.bytes", Some("1MiB".to_owned()))]).await.unwrap();
                }
            }
        }
    }

    async fn check_has_room(&self) {
        assert!(self.ask("/readyz").starts_with("HTTP/1.1 200 "));
        self.check_kept().await;
    }

    async fn wait_until_full(&self) {
        while !self.ask("/readyz").contains("disk full") {
            tokio::task::yield_now().await;
        }
    }

    async fn check_reads(&self, load: &Load) {
        let mut acked = self.acked.clone();
        acked.extend(load.acked());
        check(&acked, &read_all(&self.client, KEPT, 1).await);
    }

    async fn check_kept(&self) {
        check(&self.acked, &read_all(&self.client, KEPT, 1).await);
    }

    fn ask(&self, path: &str) -> String {
        let mut stream = std::net::TcpStream::connect(self.daemon.http.unwrap()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
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
