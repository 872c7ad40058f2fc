//! Damage reports of clients: their cost is bounded, whatever they name.

mod support {
    pub mod raw;
}

use grower_broker::{Broker, BrokerConfig};
use grower_protocol::ids::{Offset, TopicId};
use grower_protocol::message::*;
use grower_storage::disk::{Call, FaultDisk, Faults, MemDisk};
use std::sync::Arc;
use support::raw::*;
use tokio::io::DuplexStream;

/// A client may receive so much at once, and the log is many times as long.
const FETCH_BYTES: usize = 64 << 10;
const BATCHES: u64 = 64;
const BATCH_BYTES: usize = 32 << 10;
/// No offset is larger.
const LAST: u64 = i64::MAX as u64;

struct World {
    _broker: Broker,
    faults: Faults,
    client: Raw<DuplexStream>,
    topic: TopicId,
}

impl World {
    async fn start() -> Self {
        let disk = FaultDisk::new(MemDisk::default());
        let faults = disk.faults();
        let config = BrokerConfig { fetch_bytes_max: FETCH_BYTES, ..BrokerConfig::at("/grower") };
        let broker = Broker::builder(config).disk(Arc::new(disk)).start().await.unwrap();
        let mut client = Raw::open(broker.connect()).await;
        let topic = client.create_topic("events", 1, &[]).await;
        for _ in 0..BATCHES {
            client.produce(topic, Acks::All, &batch(&[&"x".repeat(BATCH_BYTES)])).await.unwrap();
        }
        Self { _broker: broker, faults, client, topic }
    }

    fn report(&self, start: u64, end: u64) -> Request {
        let (start, end) = (Offset::new(start), Offset::new(end));
        Request::ReportDamage(ReportDamage { topic: self.topic, partition: PARTITION, start, end })
    }

    /// How many reads of files these reports lead to, answers awaited.
    async fn reads_for(&mut self, reports: &[(u64, u64)]) -> u64 {
        let before = self.faults.calls(Call::Read);
        for (start, end) in reports {
            let report = self.report(*start, *end);
            self.client.send(&report, &[]).await;
        }
        for _ in reports {
            let (_, answer, _) = self.client.receive().await.unwrap();
            assert_eq!(answer, Response::Done);
        }
        self.faults.calls(Call::Read) - before
    }
}

#[tokio::test]
async fn a_report_of_a_whole_log_reads_no_more_than_a_client_can_have_received() {
    let mut world = World::start().await;
    let few = world.reads_for(&[(0, 2)]).await;
    let all = world.reads_for(&[(0, LAST)]).await;
    assert!(0 < few && all <= 2 * few, "{all} reads for {BATCHES} batches, {few} for two");
}

#[tokio::test]
async fn many_reports_of_the_same_records_are_one_check() {
    let mut world = World::start().await;
    let one = world.reads_for(&[(0, 2)]).await;
    let many = world.reads_for(&[(0, 2); 50]).await;
    assert!(many <= 4 * one, "{many} reads for 50 reports, {one} for one");
}

#[tokio::test]
async fn a_report_of_nothing_reads_nothing() {
    let mut world = World::start().await;
    assert_eq!(world.reads_for(&[(5, 5), (7, 3), (BATCHES, LAST), (LAST - 1, LAST)]).await, 0);
}
