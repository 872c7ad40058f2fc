//! A memory budget that waiting requests have used up does not block new requests.

mod support {
    pub mod raw;
}

use grower_broker::{Broker, BrokerConfig};
use grower_protocol::ids::TopicId;
use grower_protocol::message::*;
use grower_protocol::wire::{Correlation, encode, encode_frame};
use std::net::SocketAddr;
use std::time::Duration;
use support::raw::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The smallest that there may be.
const BUDGET: u64 = 16 << 20;
/// Fetches with so many partitions are as long as a message may be.
const PARTS: usize = 2_000;
const SOON: Duration = Duration::from_secs(2);

async fn started() -> (Broker, SocketAddr) {
    let listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let minutes = Duration::from_secs(600);
    let config =
        BrokerConfig { memory: BUDGET, listen, http: listen, frame_timeout: minutes, ..BrokerConfig::at("/grower") };
    let broker = in_memory_with(config).start().await.unwrap();
    let address = broker.listen_address().unwrap();
    (broker, address)
}

async fn connect(address: SocketAddr) -> Raw<TcpStream> {
    Raw::open(TcpStream::connect(address).await.unwrap()).await
}

fn hello() -> Request {
    Request::Hello(Hello { software: "test".into(), version: "1".into(), features: Vec::new() })
}

/// Waits five minutes for records that never come.
fn long_poll(topic: TopicId) -> Request {
    let fetch = Fetch { max_wait_ms: 300_000, ..fetch_from(topic, 0) };
    Request::Fetch(Fetch { partitions: vec![fetch.partitions[0]; PARTS], ..fetch })
}

/// Long polls that together take several times the budget, on connections that read no answers.
async fn park(address: SocketAddr, topic: TopicId) -> Vec<Raw<TcpStream>> {
    let mut parked = Vec::new();
    for _ in 0..16 {
        let mut client = connect(address).await;
        for _ in 0..20 {
            client.send(&long_poll(topic), &[]).await;
        }
        parked.push(client);
    }
    parked
}

/// A frame as long as one may be, of which nothing comes but its head.
async fn dawdle(address: SocketAddr, topic: TopicId) -> Raw<TcpStream> {
    let mut client = connect(address).await;
    let length = BUDGET as u32 / 8 - 1_000;
    let partitions = vec![ProducePartition { topic, partition: PARTITION, length }];
    let produce = Request::Produce(Produce { acks: Acks::All, timeout_ms: 1_000, partitions });
    let frame = encode_frame(Correlation(1), &encode(&produce), length as usize);
    client.stream.write_all(&frame).await.unwrap();
    client
}

/// So many of both that nothing of the budget is left.
async fn crowd(address: SocketAddr) -> Vec<Raw<TcpStream>> {
    let mut client = connect(address).await;
    let silent = client.create_topic("silent", 1, &[]).await;
    let written = client.create_topic("written", 1, &[]).await;
    let mut crowd = park(address, silent).await;
    for _ in 0..12 {
        crowd.push(dawdle(address, written).await);
    }
    crowd
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_served_at_once_however_full_the_budget_is() {
    let (broker, address) = started().await;
    let crowd = crowd(address).await;
    for _ in 0..8 {
        let handshake = async { connect(address).await.ask(&hello()).await };
        let answer = tokio::time::timeout(SOON, handshake).await.expect("a new connection is served");
        assert!(matches!(answer, Response::Hello(_)), "{answer:?}");
    }
    drop(crowd);
    broker.stop().await.unwrap();
}

/// What HTTP answers, on a connection of its own.
async fn get(broker: &Broker, path: &str) -> String {
    let mut stream = TcpStream::connect(broker.http_address().unwrap()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_metrics_are_served_however_full_the_budget_is() {
    let (broker, address) = started().await;
    let crowd = crowd(address).await;
    let told = async {
        loop {
            let page = get(&broker, "/metrics").await;
            let used = page.lines().find_map(|line| line.strip_prefix("grower_memory_used_bytes ")).unwrap();
            if BUDGET / 10 * 9 < used.parse().unwrap() {
                return; // As full as the alert calls it: whoever needs more waits.
            }
        }
    };
    tokio::time::timeout(SOON * 10, told).await.expect("the budget gets full, and that is told");
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = tokio::time::timeout(SOON, get(&broker, path)).await.expect("an answer at once");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {answer}");
    }
    drop(crowd);
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_polls_release_memory_to_waiting_requests() {
    let (broker, address) = started().await;
    let mut client = connect(address).await;
    let topic = client.create_topic("silent", 1, &[]).await;
    let written = client.create_topic("written", 1, &[("max.message.bytes", "2097152")]).await;
    let mut parked = park(address, topic).await;
    let large = batch(&["x".repeat(1_900_000).as_str()]);
    let produced = tokio::time::timeout(SOON * 5, client.produce(written, Acks::All, &large)).await;
    assert_eq!(produced.expect("a large request gets its memory").unwrap().base_offset.value(), 0);
    // Who gave way is told what there is: nothing.
    let (_, response, records) = parked[0].receive().await.unwrap();
    let Response::Fetch(answer) = response else { panic!("{response:?}") };
    assert_eq!((answer.partitions.len(), records.len()), (PARTS, 0));
    drop((parked, client));
    broker.stop().await.unwrap();
}
