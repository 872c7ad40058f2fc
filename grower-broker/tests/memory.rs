//! The memory budget under ten times its load: all requests are served, and nothing is dropped.

mod support {
    pub(crate) mod daemon;
    pub mod process;
    pub mod raw;
}

use bytes::Bytes;
use grower_protocol::compression::Codec;
use grower_protocol::ids::{Offset, TopicId};
use grower_protocol::message::*;
use std::net::SocketAddr;
use support::daemon::{Daemon, command};
use support::process::{resident_high, resident_until};
use support::raw::*;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const MIB: usize = 1 << 20;
const BUDGET: usize = 64 * MIB;
/// Memory of the process outside its budget: code, threads, logs, and the allocator's reserve.
const OUTSIDE_BUDGET: usize = 72 * MIB;
/// A batch just below the topic's limit.
const LARGE: usize = 1_000_000;

async fn connect(address: SocketAddr) -> Raw<TcpStream> {
    Raw::open(TcpStream::connect(address).await.unwrap()).await
}

fn produce(topic: TopicId, batch: &[u8]) -> Request {
    let partition = ProducePartition { topic, partition: PARTITION, length: batch.len() as u32, expected_end: None };
    Request::Produce(Produce { acks: Acks::All, timeout_ms: 1_000, partitions: vec![partition] })
}

/// Sends all requests before it reads any answer; returns how many were acknowledged.
async fn offer(address: SocketAddr, topic: TopicId, batch: Bytes, requests: usize) -> usize {
    let mut producer = connect(address).await;
    for _ in 0..requests {
        producer.send(&produce(topic, &batch), &batch).await;
    }
    let mut acknowledged = 0;
    for _ in 0..requests {
        let (_, response, _) = producer.receive().await.expect("every request is answered");
        let Response::Produce(parts) = response else { panic!("{response:?}") };
        let stored: Part<Vec<Produced>> = parts.into_iter().collect();
        acknowledged += stored.expect("nothing is refused").len();
    }
    acknowledged
}

/// Asks for everything at once, reads nothing until `go`, and then all of it; returns how many bytes of records came.
async fn read_late(address: SocketAddr, topic: TopicId, batches: u64, go: tokio::sync::watch::Receiver<bool>) -> usize {
    let mut reader = connect(address).await;
    for offset in 0..batches {
        let mut fetch = Fetch { max_bytes: 2 * LARGE as u32, ..fetch_from(topic, offset) };
        fetch.partitions[0].max_bytes = fetch.max_bytes;
        reader.send(&Request::Fetch(fetch), &[]).await;
    }
    let mut go = go;
    go.wait_for(|go| *go).await.unwrap();
    let mut bytes = 0;
    for _ in 0..batches {
        let (_, response, records) = reader.receive().await.expect("every request is answered");
        let Response::Fetch(answer) = response else { panic!("{response:?}") };
        assert_eq!(fetched_records(answer)[0].as_ref().unwrap().length as usize, records.len());
        bytes += records.len();
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_times_the_budget_at_once_stays_within_it_and_all_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let patient = [
        ("GROWER__NETWORK__WRITE_TIMEOUT", "1h"),
        ("GROWER__NETWORK__FRAME_TIMEOUT", "1h"),
        ("GROWER__DISK__RESERVE_BYTES", "64MiB"),
    ];
    let daemon = Daemon::start_command(command(dir.path()).args(["--memory", "64MiB"]).envs(patient));
    let address = daemon.listen;
    let mut client = connect(address).await;
    let stored = client.create_topic("stored", 1, &[]).await;
    let large =
        client.create_topic("large", 1, &[("segment.bytes", "16777216"), ("retention.bytes", "33554432")]).await;
    let inflating = client.create_topic("inflating", 1, &[]).await;
    let batch = batch(&["x".repeat(LARGE).as_str()]).freeze();
    assert_eq!(offer(address, stored, batch.clone(), 12).await, 12);

    let (say_go, go) = tokio::sync::watch::channel(false);
    let mut readers = JoinSet::new();
    for _ in 0..32 {
        readers.spawn(read_late(address, stored, 12, go.clone()));
    }
    let mut producers = JoinSet::new();
    for _ in 0..80 {
        producers.spawn(offer(address, large, batch.clone(), 8));
    }
    let bomb = batch_of(Codec::Zstd, &["0".repeat(15 * MIB).as_str()], None).freeze();
    for _ in 0..16 {
        producers.spawn(offer(address, inflating, bomb.clone(), 4));
    }
    assert_eq!(producers.join_all().await.iter().sum::<usize>(), 80 * 8 + 16 * 4, "every request is acknowledged");
    say_go.send(true).unwrap();
    let read = readers.join_all().await;
    // A fetch from the last offset has one batch, all others have as many as fit.
    assert!(read.iter().all(|bytes| 12 * batch.len() <= *bytes && *bytes == read[0]), "{read:?}");

    let high = resident_high(&daemon.child);
    assert!(high <= BUDGET + OUTSIDE_BUDGET, "{} MiB were resident", high / MIB);
    let end = client.list_offset(large, OffsetSpec::End).await.unwrap().offset;
    assert_eq!(end, Some(Offset::new(640)), "and nothing is there twice");
    drop(client);
    resident_until(&daemon.child, |resident| resident <= BUDGET, "the memory is given back");
    daemon.terminate();
}
