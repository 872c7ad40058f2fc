//! A broker that starts, stops or has failed says so over HTTP, whatever its disk does.

use super::raw::*;
use super::{PATIENCE, Stall, connect};
use grower_broker::{Broker, BrokerConfig, DeletedLogs, IsLive, Logs, MemLogs, PartitionIdentity};
use grower_protocol::ids::{Timestamp, TopicId, TopicName};
use grower_protocol::message::*;
use grower_storage::disk::{Call, DiskError, Fault, FaultDisk, MemDisk};
use grower_storage::log::{Log, LogOptions, OpenError};
use grower_storage::repair::{AcceptLossError, AcceptedLoss};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Asks until the answer is this: in a moment of starting or stopping there may be none yet.
async fn until_told(address: SocketAddr, path: &str, told: &str) {
    let asking = async {
        loop {
            if let Ok(mut stream) = TcpStream::connect(address).await {
                let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
                let mut answer = String::new();
                if stream.write_all(request.as_bytes()).await.is_ok()
                    && stream.read_to_string(&mut answer).await.is_ok()
                    && answer.starts_with("HTTP/1.1 ")
                    && answer.contains(told)
                {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let answered = tokio::time::timeout(PATIENCE, asking).await;
    answered.unwrap_or_else(|_| panic!("{path} never tells {told:?}"));
}

/// The ports of an address that no other test uses.
fn free_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap()
}

fn config_with_http() -> (BrokerConfig, SocketAddr) {
    let (listen, http) = ("127.0.0.1:0".parse().ok(), free_port());
    (BrokerConfig { listen, http: Some(http), ..BrokerConfig::at("/grower") }, http)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_whose_logs_take_long_to_open_says_over_http_that_it_starts() {
    let disk = Arc::new(MemDisk::default());
    let first = Broker::builder(BrokerConfig::at("/grower")).disk(disk.clone()).logs(Arc::new(MemLogs));
    let first = first.start().await.unwrap();
    Raw::open(first.connect()).await.create_topic("events", 1, &[]).await;
    first.stop().await.unwrap();

    let (config, http) = config_with_http();
    let open = Arc::new(AtomicBool::new(false));
    let starting = Broker::builder(config).disk(disk).logs(Arc::new(StuckLogs(open.clone()))).start();
    let starting = tokio::spawn(starting);
    until_told(http, "/readyz", "503 Service Unavailable").await;
    until_told(http, "/readyz", "starting: the logs are being recovered").await;
    until_told(http, "/healthz", "200 OK").await;
    open.store(true, Ordering::Relaxed);
    let _broker = starting.await.unwrap().unwrap();
    until_told(http, "/readyz", "200 OK").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_says_over_http_that_it_stops_or_failed() {
    for fails in [false, true] {
        let disk = Arc::new(FaultDisk::new(MemDisk::default()));
        let faults = disk.faults();
        let (config, http) = config_with_http();
        let broker = Broker::builder(config).disk(disk).start().await.unwrap();
        let mut producer = connect(broker.listen_address().unwrap()).await;
        let topic = producer.create_topic("events", 1, &[]).await;
        producer.produce(topic, Acks::All, &batch(&["before"])).await.unwrap();
        until_told(http, "/readyz", "200 OK").await;
        if fails {
            faults.inject(Fault::io(Call::Sync, faults.calls(Call::Sync)));
            assert!(producer.produce(topic, Acks::All, &batch(&["lost"])).await.is_err());
            until_told(http, "/readyz", "503 Service Unavailable").await;
            until_told(http, "/healthz", "failed: ").await;
        } else {
            let stall = Stall::begin(&faults);
            producer.produce(topic, Acks::Leader, &batch(&["last"])).await.unwrap(); // A stop makes it durable.
            let stopping = tokio::spawn(broker.stop());
            until_told(http, "/readyz", "503 Service Unavailable").await;
            until_told(http, "/readyz", "stopping").await;
            until_told(http, "/healthz", "200 OK").await;
            drop(stall);
            stopping.await.unwrap().unwrap();
        }
    }
}

/// Logs that do not open before they are let.
struct StuckLogs(Arc<AtomicBool>);

impl Logs for StuckLogs {
    fn open(&self, place: &PartitionIdentity, options: LogOptions, now: Timestamp) -> Result<Box<dyn Log>, OpenError> {
        while !self.0.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        MemLogs.open(place, options, now)
    }

    fn losses(&self, place: &PartitionIdentity) -> Result<Vec<AcceptedLoss>, AcceptLossError> {
        MemLogs.losses(place)
    }

    fn opened(&self, live: &BTreeSet<TopicId>) -> Result<(), DiskError> {
        MemLogs.opened(live)
    }

    fn move_deleted(&self, deleted: &DeletedLogs<'_>) -> Result<(), DiskError> {
        MemLogs.move_deleted(deleted)
    }

    fn purge_deleted(&self, is_live: IsLive<'_>) -> Result<BTreeSet<TopicId>, DiskError> {
        MemLogs.purge_deleted(is_live)
    }

    fn quarantine(&self, known: &BTreeSet<TopicName>) -> Result<Vec<PathBuf>, DiskError> {
        MemLogs.quarantine(known)
    }
}
