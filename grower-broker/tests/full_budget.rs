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
/// With this many partitions a fetch has the largest length of a message.
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
    let partitions = vec![ProducePartition { topic, partition: PARTITION, length, expected_end: None }];
    let produce = Request::Produce(Produce { acks: Acks::All, timeout_ms: 1_000, partitions });
    let frame = encode_frame(Correlation(1), &encode(&produce), length as usize);
    client.stream.write_all(&frame).await.unwrap();
    client
}

/// Enough of both to use up the budget.
async fn waiting(address: SocketAddr) -> Vec<Raw<TcpStream>> {
    let mut client = connect(address).await;
    let silent = client.create_topic("silent", 1, &[]).await;
    let written = client.create_topic("written", 1, &[]).await;
    let mut waiting = park(address, silent).await;
    for _ in 0..12 {
        waiting.push(dawdle(address, written).await);
    }
    waiting
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_served_at_once_however_full_the_budget_is() {
    let (broker, address) = started().await;
    let waiting = waiting(address).await;
    for _ in 0..8 {
        let handshake = async { connect(address).await.ask(&hello()).await };
        let answer = tokio::time::timeout(SOON, handshake).await.expect("a new connection is served");
        assert!(matches!(answer, Response::Hello(_)), "{answer:?}");
    }
    drop(waiting);
    broker.stop().await.unwrap();
}

/// The answer over HTTP, on a new connection.
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
    let waiting = waiting(address).await;
    let told = async {
        loop {
            let page = get(&broker, "/metrics").await;
            let used = page.lines().find_map(|line| line.strip_prefix("grower_memory_used_bytes ")).unwrap();
            if BUDGET / 10 * 9 < used.parse().unwrap() {
                return; // As full as in the alert: requests for more memory wait.
            }
        }
    };
    tokio::time::timeout(SOON * 10, told).await.expect("the budget gets full, and that is told");
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = tokio::time::timeout(SOON, get(&broker, path)).await.expect("an answer at once");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {answer}");
    }
    drop(waiting);
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
    // The long poll that gave way is answered without records.
    let (_, response, records) = parked[0].receive().await.unwrap();
    let Response::Fetch(answer) = response else { panic!("{response:?}") };
    assert_eq!((answer.partitions.len(), records.len()), (PARTS, 0));
    drop((parked, client));
    broker.stop().await.unwrap();
}
