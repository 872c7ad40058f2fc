//! Groups do not wait for each other, nor for the disks of topics that they do not read.

mod support {
    pub mod raw;
}

use grower_broker::{Broker, BrokerConfig};
use grower_protocol::ids::*;
use grower_protocol::message::*;
use grower_protocol::wire::{Correlation, encode, encode_frame};
use grower_storage::disk::{Call, FaultDisk, Faults, MemDisk};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::raw::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// A stall lasts until its test ends it.
const PATIENCE: Duration = Duration::from_secs(10);
/// The shortest there is.
const SESSION_MS: u32 = 1_000;

fn runtime(threads: usize) -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap()
}

/// A broker on a disk that can be stalled, and clients of it.
fn with_broker(talk: impl AsyncFnOnce(SocketAddr, &Faults)) {
    let (network, clients) = (runtime(4), runtime(2));
    let disk = Arc::new(FaultDisk::new(MemDisk::default()));
    let faults = disk.faults();
    let config = BrokerConfig { listen: "127.0.0.1:0".parse().ok(), ..BrokerConfig::at("/grower") };
    let broker = network.block_on(Broker::builder(config).disk(disk).start()).unwrap();
    let address = broker.listen_address().unwrap();
    clients.block_on(talk(address, &faults));
    network.block_on(broker.stop()).unwrap();
}

async fn connect(address: SocketAddr) -> Raw<TcpStream> {
    Raw::open(TcpStream::connect(address).await.unwrap()).await
}

/// From now on calls of this kind do not come back, until this is dropped.
struct Stall<'a> {
    faults: &'a Faults,
    call: Call,
    first: u64,
    on: Arc<AtomicBool>,
}

impl<'a> Stall<'a> {
    fn begin(faults: &'a Faults, call: Call) -> Self {
        let (on, first) = (Arc::new(AtomicBool::new(true)), faults.calls(call));
        for nth in first..first + 100 {
            let on = on.clone();
            faults.before(call, nth, move || {
                while on.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
        Self { faults, call, first, on }
    }

    /// A request waits for the disk.
    async fn is_felt(&self) {
        let felt = async {
            while self.faults.calls(self.call) == self.first {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, felt).await.expect("the disk is asked for something");
    }
}

impl Drop for Stall<'_> {
    fn drop(&mut self) {
        self.on.store(false, Ordering::Relaxed);
    }
}

/// Two groups of one shard, which have one log together.
fn neighbours() -> (GroupId, GroupId) {
    let shard = |group: &GroupId| grower_protocol::batch::crc32c(group.as_str().as_bytes()) % 16;
    let first = GroupId::new("first").unwrap();
    let mut names = (0..).map(|number| GroupId::new(&format!("second-{number}")).unwrap());
    let second = names.find(|group| shard(group) == shard(&first)).unwrap();
    (first, second)
}

fn heartbeat(group: &GroupId, epoch: MemberEpoch, topic: &str) -> Request {
    Request::Heartbeat(Heartbeat {
        group: group.clone(),
        member: MemberId::new("m").unwrap(),
        epoch,
        topics: vec![TopicName::new(topic).unwrap()],
        owned: Vec::new(),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: SESSION_MS,
        assignor: None,
        instance: None,
        max_wait_ms: 0,
    })
}

fn commit(group: &GroupId, topic: TopicId, offset: u64) -> Request {
    let (offset, metadata) = (Offset::new(offset), String::new());
    let offsets = vec![OffsetToCommit { topic, partition: PARTITION, offset, leader_epoch: None, metadata }];
    Request::CommitOffsets(OffsetCommit {
        group: group.clone(),
        committer: CommitterIdentity::Anonymous,
        sequence: 0,
        offsets,
    })
}

async fn joined(member: &mut Raw<TcpStream>, group: &GroupId, topic: &str) -> MemberEpoch {
    let answer = member.ask(&heartbeat(group, MemberEpoch::default(), topic)).await;
    let Response::Heartbeat(joined) = answer else { panic!("{answer:?}") };
    joined.epoch
}

/// A heartbeat that brings nothing new.
async fn lives(member: &mut Raw<TcpStream>, group: &GroupId, epoch: MemberEpoch, topic: &str) {
    let answer = tokio::time::timeout(PATIENCE, member.ask(&heartbeat(group, epoch, topic))).await;
    let Response::Heartbeat(answer) = answer.expect("it waits for no other group") else { panic!("it is a member") };
    assert_eq!(answer.epoch, epoch);
}

/// A topic with a record, and a group that has committed to it once, so that its shard's log has files.
async fn prepared(address: SocketAddr, group: &GroupId) -> (Raw<TcpStream>, TopicId) {
    let mut client = connect(address).await;
    let topic = client.create_topic("events", 1, &[("segment.messages", "1")]).await;
    client.produce(topic, Acks::All, &batch(&["before"])).await.unwrap();
    client.ask(&commit(group, topic, 0)).await;
    (client, topic)
}

#[test]
fn a_commit_does_not_wait_for_a_roll_of_its_partition() {
    with_broker(async |address, faults| {
        let (first, second) = neighbours();
        let (mut producer, topic) = prepared(address, &second).await;
        let mut member = connect(address).await;
        let epoch = joined(&mut member, &first, "other").await;
        // The roll syncs the directory that names the new segment.
        let stall = Stall::begin(faults, Call::SyncDir);
        let records = batch(&["rolls"]);
        let partition =
            ProducePartition { topic, partition: PARTITION, length: records.len() as u32, expected_end: None };
        let produce = Produce { acks: Acks::None, timeout_ms: 60_000, partitions: vec![partition] };
        producer.send(&Request::Produce(produce), &records).await;
        stall.is_felt().await;
        let mut commits = connect(address).await;
        let committed = tokio::time::timeout(PATIENCE, commits.ask(&commit(&second, topic, 1))).await;
        assert!(matches!(committed, Ok(Response::CommitOffsets(parts)) if parts == [Ok(())]));
        lives(&mut member, &first, epoch, "other").await;
        drop(stall);
    });
}

#[test]
fn an_idle_group_does_not_wait_for_a_sync_of_another() {
    another_is_held_up_by(Call::Sync);
}

#[test]
fn an_idle_group_does_not_wait_for_a_write_of_another() {
    another_is_held_up_by(Call::Write);
}

fn another_is_held_up_by(call: Call) {
    with_broker(async |address, faults| {
        let (first, second) = neighbours();
        let (mut commits, topic) = prepared(address, &second).await;
        let mut member = connect(address).await;
        let epoch = joined(&mut member, &first, "other").await;
        let stall = Stall::begin(faults, call);
        commits.send(&commit(&second, topic, 1), &[]).await;
        stall.is_felt().await;
        // For longer than its session, so that it would be taken for dead if it were not heard.
        let end = tokio::time::Instant::now() + 2 * Duration::from_millis(SESSION_MS.into());
        while tokio::time::Instant::now() < end {
            lives(&mut member, &first, epoch, "other").await;
            let seen = member.ask(&Request::FetchOffsets { group: first.clone(), partitions: None }).await;
            assert_eq!(seen, Response::FetchOffsets(Vec::new()));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        drop(stall);
        let (_, committed, _) = commits.receive().await.unwrap();
        assert_eq!(committed, Response::CommitOffsets(vec![Ok(())]));
    });
}

#[test]
fn a_member_does_not_expire_while_the_disk_delays_its_answer() {
    with_broker(async |address, faults| {
        let (group, _) = neighbours();
        let (mut client, _) = prepared(address, &group).await;
        let mut member = connect(address).await;
        let epoch = joined(&mut member, &group, "other").await;
        client.create_topic("more", 1, &[]).await;
        let stall = Stall::begin(faults, Call::Sync);
        // It subscribes to another topic, which has to be written down.
        member.send(&heartbeat(&group, epoch, "more"), &[]).await;
        stall.is_felt().await;
        tokio::time::sleep(2 * Duration::from_millis(SESSION_MS.into())).await;
        drop(stall);
        let (_, answer, _) = member.receive().await.unwrap();
        let Response::Heartbeat(answer) = answer else { panic!("{answer:?}") };
        lives(&mut member, &group, answer.epoch, "more").await;
    });
}

#[test]
fn the_later_of_two_commits_of_one_connection_wins() {
    with_broker(async |address, _| {
        let (group, _) = neighbours();
        let (mut client, topic) = prepared(address, &group).await;
        for _ in 0..9 {
            client.produce(topic, Acks::All, &batch(&["more"])).await.unwrap();
        }
        for round in 0..50 {
            let mut both = Vec::new();
            for (number, offset) in [(1, 5), (2, 9)] {
                let correlation = Correlation(1_000 + 2 * round + number);
                both.extend_from_slice(&encode_frame(correlation, &encode(&commit(&group, topic, offset)), 0));
            }
            client.stream.write_all(&both).await.unwrap();
            for _ in 0..2 {
                let (_, committed, _) = client.receive().await.unwrap();
                assert_eq!(committed, Response::CommitOffsets(vec![Ok(())]), "neither is refused");
            }
            let fetched = client.ask(&Request::FetchOffsets { group: group.clone(), partitions: None }).await;
            let Response::FetchOffsets(offsets) = fetched else { panic!("{fetched:?}") };
            assert_eq!(offsets[0].offset, Offset::new(9), "round {round}");
        }
    });
}

#[test]
fn a_member_is_listed_only_once_it_is_in_the_log() {
    for request in [
        |group: &GroupId| Request::DescribeGroup(group.clone()),
        |_: &GroupId| Request::ListGroups { after: None, most: 9 },
    ] {
        with_broker(async |address, faults| {
            let (group, _) = neighbours();
            let (mut client, _) = prepared(address, &group).await;
            let (mut member, mut watcher) = (connect(address).await, connect(address).await);
            let stall = Stall::begin(faults, Call::Write);
            member.send(&heartbeat(&group, MemberEpoch::default(), "other"), &[]).await;
            stall.is_felt().await;
            let look = request(&group);
            let told = tokio::spawn(async move { watcher.ask(&look).await });
            for _ in 0..100 {
                client.ask(&Request::FetchOffsets { group: group.clone(), partitions: None }).await; // It has its chance.
            }
            assert!(!told.is_finished(), "{:?} is not in the log", told.await);
            drop(stall);
            let told = tokio::time::timeout(PATIENCE, told).await.expect("now it is").unwrap();
            assert!(format!("{told:?}").contains("first"), "{told:?}");
        });
    }
}
