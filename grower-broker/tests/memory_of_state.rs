//! State of groups and producers far beyond the budget: it stays bounded, refusals give the reason, and all others are
//! served.

mod support {
    pub(crate) mod daemon;
    pub mod process;
    pub mod raw;
}

use grower_protocol::batch::{BatchBuilder, BatchReader, ProducerStamp, Record};
use grower_protocol::compression::Codec;
use grower_protocol::ids::*;
use grower_protocol::message::*;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream as BlockingStream;
use std::time::{Duration, Instant};
use support::daemon::{Daemon, command};
use support::process::resident_high;
use support::raw::*;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const MIB: usize = 1 << 20;
const BUDGET: usize = 16 * MIB;
/// Memory of the process outside its budget.
const OUTSIDE_BUDGET: usize = 64 * MIB;
/// The share of each kind of state.
const SHARE: usize = BUDGET / 16;
/// The most text that an offset may have.
const TEXT: usize = 4_096;
const PARTITIONS: u32 = 60;
/// As many offsets with such a text as one message may have.
const OFFSETS: u32 = 15;
const FLOODERS: u32 = 4;
/// Groups of each flooder: their texts alone would not fit.
const GROUPS: u32 = 360;
const _: () = assert!(BUDGET + OUTSIDE_BUDGET < FLOODERS as usize * GROUPS as usize * OFFSETS as usize * TEXT);

type Client = Raw<TcpStream>;

fn start(dir: &tempfile::TempDir) -> Daemon {
    Daemon::start(dir.path(), &["--memory", "16MiB"])
}

async fn connect(daemon: &Daemon) -> Client {
    Raw::open(TcpStream::connect(daemon.listen).await.unwrap()).await
}

/// The state of a kind in the daemon's metrics, in bytes.
fn remembered(daemon: &Daemon, kind: &str) -> usize {
    let mut stream = BlockingStream::connect(daemon.http.unwrap()).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let name = format!("grower_memory_state_bytes{{kind=\"{kind}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

fn check_resident(daemon: &Daemon) {
    let high = resident_high(&daemon.child);
    assert!(high <= BUDGET + OUTSIDE_BUDGET, "{} MiB were resident", high / MIB);
}

/// A heartbeat of a member, with the epoch that it was told last.
fn beat(group: &GroupId, member: &MemberId, epoch: MemberEpoch) -> Request {
    Request::Heartbeat(heartbeat(group.clone(), member.clone(), epoch))
}

fn commit(group: &GroupId, topic: TopicId) -> Request {
    let offsets = (0..OFFSETS).map(|partition| OffsetToCommit {
        topic,
        partition: PartitionId::new(partition),
        offset: Offset::ZERO,
        leader_epoch: None,
        metadata: "x".repeat(TEXT),
    });
    Request::CommitOffsets(OffsetCommit {
        group: group.clone(),
        committer: CommitterIdentity::Anonymous,
        sequence: 0,
        offsets: offsets.collect(),
    })
}

/// Groups with members and texts, each under the longest name; returns how many requests were granted and refused.
async fn flood_with_groups(mut client: Client, topic: TopicId, flooder: u32) -> (usize, usize) {
    let (mut granted, mut refused) = (0, 0);
    for number in 0..GROUPS {
        let name = format!("{flooder:03}{number:05}{}", "g".repeat(200));
        let (group, member) = (GroupId::new(&name).unwrap(), MemberId::new(&name).unwrap());
        for request in [commit(&group, topic), beat(&group, &member, MemberEpoch::new(0))] {
            let parts: Vec<Part<()>> = match client.ask(&request).await {
                Response::CommitOffsets(parts) => parts,
                Response::Heartbeat(_) => vec![Ok(())],
                Response::Failed(failure) => vec![Err(failure)],
                other => panic!("{other:?}"),
            };
            for part in parts {
                let code = part.map_err(|failure| failure.code);
                assert!(matches!(code, Ok(()) | Err(ErrorCode::MemoryFull)), "{code:?}");
                *(if code.is_ok() { &mut granted } else { &mut refused }) += 1;
            }
        }
    }
    (granted, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_groups_is_refused_and_existing_groups_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = start(&dir);
    let mut client = connect(&daemon).await;
    let topic = client.create_topic("events", PARTITIONS, &[("flush", "os")]).await;
    let (group, member) = (GroupId::new("settled").unwrap(), MemberId::new("m").unwrap());
    let asked = client.ask(&beat(&group, &member, MemberEpoch::new(0))).await;
    let Response::Heartbeat(joined) = asked else { panic!("{asked:?}") };

    let mut flood = JoinSet::new();
    for flooder in 0..FLOODERS {
        flood.spawn(flood_with_groups(connect(&daemon).await, topic, flooder));
    }
    let (granted, refused) = flood.join_all().await.into_iter().fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    assert!(0 < granted && 10 * granted < refused, "{granted} granted, {refused} refused");
    // Concurrent requests may all have found memory that is enough for one of them.
    let at_once = FLOODERS as usize * OFFSETS as usize * (TEXT + 200);
    assert!(remembered(&daemon, "groups") <= SHARE + at_once, "{} bytes", remembered(&daemon, "groups"));
    check_resident(&daemon);

    let answer = client.ask(&beat(&group, &member, joined.epoch)).await;
    assert!(matches!(answer, Response::Heartbeat(_)), "a member stays one: {answer:?}");
    let acked = client.produce(topic, Acks::All, &batch(&["later"])).await.unwrap();
    assert_eq!(acked.base_offset, Offset::ZERO);
    daemon.terminate();
}

/// Requests with one batch for each partition, each request of a producer of its own.
async fn flood_with_producers(mut client: Client, topic: TopicId, requests: u64) {
    for _ in 0..requests {
        let id = client.producer_id().await;
        let (mut partitions, mut batches) = (Vec::new(), Vec::new());
        for partition in (0..PARTITIONS).map(PartitionId::new) {
            let batch = batch_of(Codec::None, &["x"], Some(stamp(id)));
            partitions.push(ProducePartition { topic, partition, length: batch.len() as u32, expected_end: None });
            batches.extend_from_slice(&batch);
        }
        let produce = Request::Produce(Produce { acks: Acks::Leader, timeout_ms: 1_000, partitions });
        let Response::Produce(parts) = client.ask_with(&produce, &batches).await.0 else { panic!("refused") };
        assert_eq!(parts.iter().find(|part| part.is_err()), None);
    }
}

fn stamp(id: ProducerId) -> ProducerStamp {
    ProducerStamp { id, epoch: ProducerEpoch::new(0), base_sequence: Some(Sequence::ZERO) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_producers_drops_the_longest_silent_and_refuses_none() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = start(&dir);
    let mut client = connect(&daemon).await;
    let topic = client.create_topic("events", PARTITIONS, &[("flush", "os")]).await;
    let mut flood = JoinSet::new();
    for _ in 0..FLOODERS {
        flood.spawn(flood_with_producers(connect(&daemon).await, topic, 100));
    }
    flood.join_all().await;
    check_resident(&daemon);
    // Those of the last second count as active; after that there is room for others.
    let until = Instant::now() + Duration::from_secs(30);
    while SHARE < remembered(&daemon, "producers") {
        assert!(Instant::now() < until, "{} bytes are remembered", remembered(&daemon, "producers"));
    }
    let batch = batch_of(Codec::None, &["later"], Some(stamp(client.producer_id().await)));
    let first = client.produce(topic, Acks::All, &batch).await.unwrap();
    assert_eq!(client.produce(topic, Acks::All, &batch).await.unwrap().base_offset, first.base_offset, "a retry");
    daemon.terminate();
}

/// More keys than fit what a pass may take for them: a quarter of the budget, 25 bytes each.
const KEYS: u32 = 200_000;
const _: () = assert!(BUDGET / 4 < KEYS as usize * 25);

/// One record for each of these keys.
fn keyed(keys: std::ops::Range<u32>, value: &'static str) -> bytes::BytesMut {
    let mut batch = BatchBuilder::new(Codec::None);
    for key in keys {
        let (key, value) = (Some(key.to_be_bytes().to_vec().into()), Some(value.into()));
        batch.push(&Record { timestamp: now(), key, value, ..Record::default() });
    }
    batch.build(None)
}

/// How many records the log holds, and the keys whose last value is this one.
async fn read(client: &mut Client, topic: TopicId, wanted: &[u8]) -> (usize, HashSet<Vec<u8>>) {
    let end = client.list_offset(topic, OffsetSpec::End).await.unwrap().offset.unwrap();
    let (mut at, mut count, mut keys) = (0, 0, HashSet::new());
    while at < end.value() {
        let records = client.fetch(fetch_from(topic, at)).await.1;
        for batch in BatchReader::new(records).map(Result::unwrap) {
            at = batch.header().next_offset().value();
            for record in batch.records(1 << 24).unwrap().map(Result::unwrap) {
                count += 1;
                let (key, wanted) = (record.key.unwrap().to_vec(), record.value.as_deref() == Some(wanted));
                if wanted {
                    keys.insert(key)
                } else {
                    keys.remove(&key)
                };
            }
        }
    }
    (count, keys)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_keys_than_fit_are_compacted_within_the_budget() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    let daemon =
        Daemon::start_command(command.args(["--memory", "16MiB"]).env("GROWER__DISK__RETENTION_CHECK", "10ms"));
    let mut client = connect(&daemon).await;
    let configs = [("cleanup.policy", "compact"), ("segment.bytes", "1MiB"), ("min.cleanable.dirty.ratio", "0")];
    let topic = client.create_topic("profiles", 1, &[("flush", "os"), configs[0], configs[1], configs[2]]).await;
    for value in ["first", "later"] {
        for first in (0..KEYS).step_by(10_000) {
            client.produce(topic, Acks::Leader, &keyed(first..first + 10_000, value)).await.unwrap();
        }
    }
    let most = KEYS as usize + KEYS as usize / 4; // The last segment stays as it is.
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let (count, keys) = read(&mut client, topic, b"later").await;
        assert_eq!(keys.len(), KEYS as usize, "the last value of each key is there");
        if count <= most {
            break;
        }
        assert!(Instant::now() < until, "{count} records are left");
    }
    check_resident(&daemon);
    daemon.terminate();
}
