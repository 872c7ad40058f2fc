//! The end of a connection ends its waiting requests. It counts until its last answer is gone.

mod support {
    pub mod raw;
}

use grower_broker::{Broker, BrokerConfig};
use grower_protocol::ids::{GroupId, MemberEpoch, MemberId, TopicId, TopicName};
use grower_protocol::message::*;
use grower_storage::disk::{Call, FaultDisk, MemDisk};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use support::raw::*;
use tokio::net::TcpStream;

/// Less than anything here asks to wait for, more than a connection is drained for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections at a time.
const MOST: usize = 4;

fn config() -> BrokerConfig {
    let listen = "127.0.0.1:0".parse().ok();
    BrokerConfig { listen, http: None, max_connections: MOST, ..BrokerConfig::at("/grower") }
}

/// Connects and is served, or is hung up on because there are too many.
async fn connect(address: SocketAddr) -> Option<Raw<TcpStream>> {
    Raw::try_open(TcpStream::connect(address).await.unwrap()).await.ok()
}

/// Tries until there is a place.
async fn connect_soon(address: SocketAddr) -> Raw<TcpStream> {
    let trying = async {
        loop {
            match connect(address).await {
                Some(raw) => return raw,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, trying).await.expect("a place becomes free")
}

/// The sockets of this process on the port of the broker: only the broker's own ends count.
fn sockets(address: SocketAddr) -> usize {
    let port = format!(":{:04X} ", address.port());
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let lines = table.lines().skip(1).map(|line| line.trim_start());
    let local = |line: &&str| line.split(' ').nth(1).is_some_and(|local| format!("{local} ").ends_with(&port));
    lines
        .filter(local)
        .filter(|line| line.split(' ').nth(3).is_some_and(|state| state == "01" || state == "08"))
        .count()
}

async fn no_socket_stays(address: SocketAddr) {
    let closing = async {
        while 0 < sockets(address) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, closing).await.expect("the sockets are closed");
}

fn long_poll(topic: TopicId) -> Request {
    Request::Fetch(Fetch { max_wait_ms: u32::MAX, ..fetch_from(topic, 0) })
}

/// Joins a group that reads nothing, and lets the broker hold a heartbeat.
async fn send_held_heartbeat(client: &mut Raw<TcpStream>) {
    let beat = Heartbeat {
        group: GroupId::new("group").unwrap(),
        member: MemberId::new("member").unwrap(),
        epoch: MemberEpoch::default(),
        topics: vec![TopicName::new("nothing").unwrap()],
        owned: Vec::new(),
        session_timeout_ms: 3_000_000,
        rebalance_timeout_ms: 3_000_000,
        assignor: None,
        instance: None,
        max_wait_ms: 0,
    };
    let Response::Heartbeat(joined) = client.ask(&Request::Heartbeat(beat.clone())).await else { panic!("no member") };
    let held = Heartbeat { epoch: joined.epoch, max_wait_ms: u32::MAX, ..beat };
    client.send(&Request::Heartbeat(held), &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_leave_while_the_broker_waits_for_them_keep_no_socket() {
    let broker = Broker::builder(config()).disk(Arc::new(MemDisk::default())).start().await.unwrap();
    let address = broker.listen_address().unwrap();
    let topic = Raw::open(broker.connect()).await.create_topic("events", 1, &[]).await;
    for round in 0..3 {
        let mut crowd = Vec::new();
        for number in 0..MOST {
            let mut client = connect_soon(address).await;
            if number == 0 {
                send_held_heartbeat(&mut client).await;
            } else {
                client.send(&long_poll(topic), &[]).await;
            }
            if round == 2 {
                client.ask(&Request::DescribeBroker).await; // The other request has surely begun.
            }
            crowd.push(client);
        }
        drop(crowd);
        no_socket_stays(address).await;
    }
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_counts_until_its_last_answer_is_sent() {
    let disk = FaultDisk::new(MemDisk::default());
    let faults = disk.faults();
    let broker = Broker::builder(config()).disk(Arc::new(disk)).start().await.unwrap();
    let address = broker.listen_address().unwrap();
    let mut inside = Raw::open(broker.connect()).await;
    let topic = inside.create_topic("events", 1, &[]).await;
    inside.produce(topic, Acks::All, &batch(&["first"])).await.unwrap();

    let (begin, begun) = tokio::sync::oneshot::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    faults.before(Call::Sync, faults.calls(Call::Sync), move || {
        let _ = begin.send(());
        let _ = ended.recv();
    });
    let mut crowd = Vec::new();
    for _ in 0..MOST {
        let mut client = connect(address).await.unwrap();
        let records = batch(&["waits"]);
        let partition =
            ProducePartition { topic, partition: PARTITION, length: records.len() as u32, expected_end: None };
        let produce = Produce { acks: Acks::All, timeout_ms: 60_000, partitions: vec![partition] };
        client.send(&Request::Produce(produce), &records).await;
        crowd.push(client);
    }
    tokio::time::timeout(PATIENCE, begun).await.expect("the disk is asked to sync").unwrap();
    while written(&mut inside).await < 1 + MOST as u64 {
        tokio::task::yield_now().await; // All of them are written, and wait for the disk.
    }
    drop(crowd);
    tokio::time::sleep(Duration::from_millis(2_500)).await; // Longer than a connection is drained for.
    assert!(connect(address).await.is_none(), "their sockets are still open");
    drop(end);
    connect_soon(address).await;
    broker.stop().await.unwrap();
}

/// The log end of the topic.
async fn written(client: &mut Raw<tokio::io::DuplexStream>) -> u64 {
    let topics = Some(vec![TopicName::new("events").unwrap()]);
    let described = client.ask(&Request::DescribeTopics { topics, segments: false }).await;
    let Response::DescribeTopics(described) = described else { panic!("{described:?}") };
    described[0].as_ref().unwrap().partitions[0].log_end.value()
}
