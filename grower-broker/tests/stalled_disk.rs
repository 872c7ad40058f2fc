//! A disk that does not come back from a sync holds up those who wait for it, and nobody else.

mod support {
    pub mod raw;
}

use grower_broker::{Broker, BrokerConfig};
use grower_protocol::message::*;
use grower_storage::disk::{Call, FaultDisk, MemDisk};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::raw::*;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// Far less than the stall, which lasts until the test ends it.
const PATIENCE: Duration = Duration::from_secs(10);
const PRODUCERS: usize = 4;
/// The one whose partition has no files yet: making them takes syncs before the append.
const NEW: usize = 3;

async fn connect(address: SocketAddr) -> Raw<TcpStream> {
    Raw::open(TcpStream::connect(address).await.unwrap()).await
}

/// As the daemon has it on a small machine.
fn two_threads() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn who_does_not_wait_for_the_disk_is_served_while_it_stalls() {
    let (network, clients) = (two_threads(), two_threads());
    let disk = Arc::new(FaultDisk::new(MemDisk::default()));
    let faults = disk.faults();
    let config = BrokerConfig { listen: "127.0.0.1:0".parse().ok(), ..BrokerConfig::at("/grower") };
    let broker = network.block_on(Broker::builder(config).disk(disk).start()).unwrap();
    let address = broker.listen_address().unwrap();
    clients.block_on(async {
        let mut producers = Vec::new();
        for number in 0..PRODUCERS {
            let mut producer = connect(address).await;
            let topic = producer.create_topic(&format!("events-{number}"), 1, &[]).await;
            if number != NEW {
                producer.produce(topic, Acks::All, &batch(&["before"])).await.unwrap();
            }
            producers.push((producer, topic));
        }
        tokio::time::sleep(Duration::from_millis(500)).await; // Nothing is under way, all threads sleep.

        let stalled = Arc::new(AtomicBool::new(true));
        let begin = faults.calls(Call::Sync);
        for nth in begin..begin + 100 {
            let stalled = stalled.clone();
            faults.before(Call::Sync, nth, move || {
                while stalled.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
        let read = producers[0].1;
        for (producer, topic) in &mut producers {
            let records = batch(&["during"]);
            let partition = ProducePartition { topic: *topic, partition: PARTITION, length: records.len() as u32 };
            let produce = Produce { acks: Acks::All, timeout_ms: 60_000, partitions: vec![partition] };
            producer.send(&Request::Produce(produce), &records).await;
            tokio::time::sleep(Duration::from_millis(30)).await; // It is at the disk by now.
            let others = async {
                let mut newcomer = connect(address).await;
                assert_eq!(newcomer.values(read, 0).await, ["before"]);
            };
            tokio::time::timeout(PATIENCE, others).await.expect("others are served");
        }
        assert!(begin < faults.calls(Call::Sync), "the disk was asked to sync");

        stalled.store(false, Ordering::Relaxed);
        for (number, (mut producer, topic)) in producers.into_iter().enumerate() {
            let (_, response, _) = producer.receive().await.unwrap();
            let Response::Produce(produced) = response else { panic!("{response:?}") };
            produced[0].clone().unwrap();
            let expected: &[&str] = if number == NEW { &["during"] } else { &["before", "during"] };
            assert_eq!(producer.values(topic, 0).await, expected);
        }
    });
    network.block_on(broker.stop()).unwrap();
}
