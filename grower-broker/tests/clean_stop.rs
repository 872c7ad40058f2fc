//! SIGTERM under load: pending requests are answered or their connections closed, and acknowledged records stay.

mod support {
    pub(crate) mod chance;
    pub(crate) mod daemon;
    pub(crate) mod ledger;
    pub(crate) mod raw;
    pub(crate) mod workload;
}

use grower_client::{Client, Record, TopicSpec};
use grower_protocol::message::{Acks, Produce, ProducePartition, Request, Response};
use rustix::process::Signal;
use std::path::Path;
use support::chance::Chance;
use support::daemon::{Daemon, Ended};
use support::ledger::{Audit, Ledger};
use support::raw::{PARTITION, Raw, batch, values};
use support::workload::{BrokerAddress, Workload};
use tokio::net::TcpStream;

const CYCLES: u32 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clean_stops_under_load_lose_and_repeat_nothing() {
    let (dir, mut chance) = (tempfile::tempdir().unwrap(), Chance::new());
    let (door, ledger) = (BrokerAddress::default(), Ledger::new("events", 4));
    let mut daemon = Daemon::start(dir.path(), &[]);
    door.open(daemon.listen);
    let mut workload = Workload::start(&door, ledger.clone(), &[("segment.messages", "100")]).await;
    let mut audit = Audit::default();
    for _ in 0..CYCLES {
        workload.begin_passing_writer();
        ledger.wait_for(ledger.acks() + chance.within(1..600)).await;
        assert_ends_well(daemon.terminate());
        daemon = Daemon::start(dir.path(), &[]);
        door.open(daemon.listen);
        audit.run(&workload.client, &ledger).await;
        workload.check_commits().await;
        workload.check();
    }
    let client = workload.finish().await;
    let mut all = Audit::default();
    all.run(&client, &ledger).await;
    all.is_complete(&ledger);
    assert_ends_well(daemon.terminate());
}

fn assert_ends_well(ended: Ended) {
    assert!(ended.status.success(), "{ended:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pending_requests_are_answered_before_the_connection_ends() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[]);
    let mut raw = Raw::open(TcpStream::connect(daemon.listen).await.unwrap()).await;
    let topic = raw.create_topic("events", 1, &[]).await;
    let sent: Vec<String> = (0..64).map(|number| format!("line {number}")).collect();
    for line in &sent {
        let records = batch(&[line]);
        let partition =
            ProducePartition { topic, partition: PARTITION, length: records.len() as u32, expected_end: None };
        let produce = Produce { acks: Acks::All, timeout_ms: 1_000, partitions: vec![partition] };
        raw.send(&Request::Produce(produce), &records).await;
    }
    daemon.signal(Signal::TERM);
    let mut acked = 0;
    while let Some((_, response, _)) = raw.receive().await {
        let Response::Produce(parts) = response else { panic!("{response:?}") };
        let produced = parts[0].clone().unwrap();
        assert_eq!(produced.base_offset.value(), acked, "in the order they were sent");
        acked += 1;
    }
    assert_ends_well(daemon.wait());
    let daemon = Daemon::start(dir.path(), &[]);
    let mut raw = Raw::open(TcpStream::connect(daemon.listen).await.unwrap()).await;
    let (parts, records) = raw.fetch(support::raw::fetch_from(topic, 0)).await;
    parts[0].clone().unwrap();
    let found = values(records);
    assert!(acked <= found.len() as u64, "{acked} were acknowledged, {} are there", found.len());
    assert_eq!(found, sent[..found.len()]);
}

#[tokio::test]
async fn a_start_after_a_clean_stop_reads_only_little() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[]);
    let client = Client::connect(daemon.listen.to_string()).await.unwrap();
    client.admin().create_topic("events", TopicSpec::partitions(2)).await.unwrap();
    let producer = client.producer().build().await.unwrap();
    for number in 0..16 * 1024u32 {
        let record = Record::new("events").value(vec![number as u8; 1024]).partition(number % 2);
        drop(producer.enqueue(record).await.unwrap());
    }
    producer.close().await.unwrap();
    assert_ends_well(daemon.terminate());
    let daemon = Daemon::start(dir.path(), &[]);
    let read = bytes_read(daemon.child.id());
    assert!(read < 1 << 20, "{read} bytes were read of a log of 16 MiB");
    drop(daemon);
}

/// By read calls, of files and all else.
fn bytes_read(process: u32) -> u64 {
    let io = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("io")).unwrap();
    io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}
