//! Resources of a client that left are freed when its last answer is due.

mod support {
    pub mod raw;
}

use bytes::BytesMut;
use grower_broker::{Broker, BrokerConfig};
use grower_protocol::ids::*;
use grower_protocol::message::*;
use grower_protocol::wire::{Correlation, FrameDecoder, PREFACE_LENGTH, Preface, decode, encode, encode_frame};
use grower_storage::disk::{Call, FaultDisk, MemDisk};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::raw::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than anything takes on a busy machine, and far shorter than the waits that are ended.
const PATIENCE: Duration = Duration::from_secs(30);
const CONNECTIONS: usize = 4;

fn config() -> BrokerConfig {
    BrokerConfig { listen: "127.0.0.1:0".parse().ok(), max_connections: CONNECTIONS, ..BrokerConfig::at("/grower") }
}

async fn connect(address: SocketAddr) -> Raw<TcpStream> {
    Raw::open(TcpStream::connect(address).await.unwrap()).await
}

/// Whether the broker serves another connection.
async fn is_served(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address).await else { return false };
    let mut asked = Preface::OURS.encode().to_vec();
    asked.extend_from_slice(&encode_frame(Correlation(1), &encode(&Request::DescribeBroker), 0));
    let mut answered = BytesMut::new();
    if stream.write_all(&asked).await.is_err() {
        return false;
    }
    loop {
        let mut frames = BytesMut::from(answered.get(PREFACE_LENGTH..).unwrap_or_default());
        if let Ok(Some(frame)) = FrameDecoder::new(1 << 20).next_frame(&mut frames) {
            return matches!(decode(&frame.message), Ok(Response::DescribeBroker(_)));
        }
        if stream.read_buf(&mut answered).await.unwrap_or(0) == 0 {
            return false;
        }
    }
}

async fn until<T: AsyncFnMut() -> bool>(mut holds: T) {
    let waits = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waits).await.expect("it holds in the end");
}

/// The disk stalls as long as this lives.
struct Stall(Arc<AtomicBool>);

impl Drop for Stall {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Sockets that this process has open.
fn sockets() -> usize {
    let fds = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let links = fds.filter_map(|fd| std::fs::read_link(fd.path()).ok());
    links.filter(|to| to.to_string_lossy().starts_with("socket:")).count()
}

fn held_heartbeat(number: usize, epoch: MemberEpoch) -> Request {
    let (group, member) = (GroupId::new("g").unwrap(), MemberId::new(&format!("m{number}")).unwrap());
    Request::Heartbeat(Heartbeat { max_wait_ms: u32::MAX, ..heartbeat(group, member, epoch) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_a_client_that_left_end_with_its_connection() {
    let broker = in_memory_with(config()).start().await.unwrap();
    let address = broker.listen_address().unwrap();
    let mut first = connect(address).await;
    let topic = first.create_topic("events", 1, &[]).await;
    let before = sockets();
    for round in 0..5 {
        let mut crowd = Vec::new();
        for number in 1..CONNECTIONS {
            let mut raw = connect(address).await;
            raw.send(&Request::Fetch(Fetch { max_wait_ms: u32::MAX, ..fetch_from(topic, 0) }), &[]).await;
            raw.send(&held_heartbeat(round * CONNECTIONS + number, MemberEpoch::default()), &[]).await;
            // It has joined; its next heartbeat waits.
            let Some((_, Response::Heartbeat(joined), _)) = raw.receive().await else { panic!("no member") };
            raw.send(&held_heartbeat(round * CONNECTIONS + number, joined.epoch), &[]).await;
            crowd.push(raw);
        }
        drop(crowd);
        until(async || sockets() <= before && is_served(address).await).await;
    }
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_closed_connection_counts_until_its_last_answer_is_gone() {
    let disk = Arc::new(FaultDisk::new(MemDisk::default()));
    let faults = disk.faults();
    let broker = Broker::builder(config()).disk(disk).start().await.unwrap();
    let address = broker.listen_address().unwrap();
    let mut first = connect(address).await;
    let topic = first.create_topic("events", 1, &[]).await;
    first.produce(topic, Acks::All, &batch(&["before"])).await.unwrap();
    let (stall, next) = (Stall(Arc::new(AtomicBool::new(true))), faults.calls(Call::Sync));
    for nth in next..next + 100 {
        let stalled = stall.0.clone();
        faults.before(Call::Sync, nth, move || {
            while stalled.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
    }
    // Too large to sync in the task of the connection.
    let records = batch(&[&"x".repeat(100_000)]);
    for _ in 1..CONNECTIONS {
        let mut producer = connect(address).await;
        let partition =
            ProducePartition { topic, partition: PARTITION, length: records.len() as u32, expected_end: None };
        let produce = Produce { acks: Acks::All, timeout_ms: 60_000, partitions: vec![partition] };
        producer.send(&Request::Produce(produce), &records).await;
        producer.ask(&Request::DescribeBroker).await; // It has arrived.
        producer.stream.shutdown().await.unwrap();
    }
    // For longer than the broker gives answers to connections that end.
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(!is_served(address).await, "the broker has as many sockets open as it may");
    }
    drop(stall);
    until(async || is_served(address).await).await;
    broker.stop().await.unwrap();
}
