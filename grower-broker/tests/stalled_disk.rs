//! A disk that does not come back from a sync holds up those who wait for it, and nobody else.

mod support {
    pub mod raw;
}

use grower_broker::{Broker, BrokerConfig};
use grower_protocol::message::*;
use grower_storage::disk::{Call, FaultDisk, Faults, MemDisk};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::raw::*;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// Far less than the stall, which lasts until the test ends it.
const PATIENCE: Duration = Duration::from_secs(10);

async fn connect(address: SocketAddr) -> Raw<TcpStream> {
    Raw::open(TcpStream::connect(address).await.unwrap()).await
}

/// As the daemon has it on a small machine.
fn two_threads() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn who_does_not_wait_for_the_disk_is_served_while_producers_do() {
    others_are_served_while(&[true; 4]);
}

/// A new partition's files take several syncs before the append, in the task of its producer.
#[test]
fn who_does_not_wait_for_the_disk_is_served_while_a_partition_is_created() {
    others_are_served_while(&[false]);
}

/// Lets the disk stall under producers, each of a partition of its own, which has files already or does not.
fn others_are_served_while(have_files: &[bool]) {
    let (network, clients) = (two_threads(), two_threads());
    let disk = Arc::new(FaultDisk::new(MemDisk::default()));
    let faults = disk.faults();
    let config = BrokerConfig { listen: "127.0.0.1:0".parse().ok(), ..BrokerConfig::at("/grower") };
    let broker = network.block_on(Broker::builder(config).disk(disk).start()).unwrap();
    let address = broker.listen_address().unwrap();
    clients.block_on(async {
        let mut reader = connect(address).await;
        let read = reader.create_topic("read", 1, &[]).await;
        reader.produce(read, Acks::All, &batch(&["before"])).await.unwrap();
        let mut producers = Vec::new();
        for (number, has_files) in have_files.iter().enumerate() {
            let mut producer = connect(address).await;
            let topic = producer.create_topic(&format!("events-{number}"), 1, &[]).await;
            if *has_files {
                producer.produce(topic, Acks::All, &batch(&["before"])).await.unwrap();
            }
            producers.push((producer, topic));
        }
        tokio::time::sleep(Duration::from_millis(500)).await; // Nothing is under way, all threads sleep.

        let stall = Stall::begin(&faults);
        let begin = faults.calls(Call::Sync);
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

        drop(stall);
        for (mut producer, topic) in producers {
            let (_, response, _) = producer.receive().await.unwrap();
            let Response::Produce(produced) = response else { panic!("{response:?}") };
            produced[0].clone().unwrap();
            assert_eq!(producer.values(topic, 0).await.last().unwrap(), "during");
        }
    });
    network.block_on(broker.stop()).unwrap();
}

/// A thousand partitions that nobody waits for would else have as many syncs under way as there are threads, and take the
/// processors from their own producers.
#[test]
fn what_nobody_waits_for_takes_one_sync_at_a_time() {
    let (network, clients) = (two_threads(), two_threads());
    let disk = Arc::new(FaultDisk::new(MemDisk::default()));
    let faults = disk.faults();
    let config = BrokerConfig { listen: "127.0.0.1:0".parse().ok(), ..BrokerConfig::at("/grower") };
    let broker = network.block_on(Broker::builder(config).disk(disk).start()).unwrap();
    let address = broker.listen_address().unwrap();
    clients.block_on(async {
        let mut producer = connect(address).await;
        let mut topics = Vec::new();
        for number in 0..8 {
            let topic = producer.create_topic(&format!("events-{number}"), 1, &[]).await;
            producer.produce(topic, Acks::All, &batch(&["before"])).await.unwrap();
            topics.push(topic);
        }
        tokio::time::sleep(Duration::from_millis(500)).await; // Nothing is under way.

        let stall = Stall::begin(&faults);
        let begin = faults.calls(Call::Sync);
        for topic in &topics[..7] {
            producer.produce(*topic, Acks::Leader, &batch(&["during"])).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(100)).await; // The delay of 5 ms is over.
        assert_eq!(faults.calls(Call::Sync) - begin, 1, "seven partitions hold bytes that nobody waits for");
        let records = batch(&["during"]);
        let partition = ProducePartition { topic: topics[7], partition: PARTITION, length: records.len() as u32 };
        let produce = Produce { acks: Acks::All, timeout_ms: 60_000, partitions: vec![partition] };
        producer.send(&Request::Produce(produce), &records).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(faults.calls(Call::Sync) - begin, 2, "who waits does not wait behind them");

        drop(stall);
        let (_, response, _) = producer.receive().await.unwrap();
        assert!(matches!(response, Response::Produce(produced) if produced[0].is_ok()));
        for topic in topics {
            while producer.values(topic, 1).await != ["during"] {
                tokio::time::sleep(Duration::from_millis(5)).await; // Readers see what is durable.
            }
        }
    });
    network.block_on(broker.stop()).unwrap();
}

/// No sync comes back until this is dropped.
struct Stall(Arc<AtomicBool>);

impl Stall {
    fn begin(faults: &Faults) -> Self {
        let stalled = Arc::new(AtomicBool::new(true));
        let next = faults.calls(Call::Sync);
        for nth in next..next + 100 {
            let stalled = stalled.clone();
            faults.before(Call::Sync, nth, move || {
                while stalled.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
        Self(stalled)
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
