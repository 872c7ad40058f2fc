//! Producers at work, through the SDK as a user would use it: every record gets a result.

use super::bench_broker::BenchBroker;
use super::ledger::{Ledger, WriterShare};
use super::meter::{Cost, Meter};
use super::values::RecordIdentity;
use anyhow::{Context, ensure};
use grower_client::ids::{Offset, PartitionId};
use grower_client::{AckRange, Acks, Client, Deliveries, Durability, Producer, Record, StartFrom, TopicSpec};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Limit of records in flight per writer; its producer limits their bytes.
const IN_FLIGHT_MAX: usize = 32 << 10;

/// The records that a writer hands in together.
const CHUNK_RECORDS: usize = 256;

/// The records that writers send, each through its own client.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    pub(super) topic: Arc<str>,
    pub(super) partitions: u32,
    /// The number of the first writer, which distinguishes several runs into one topic.
    pub(super) first_writer: u32,
    pub(super) writers: u32,
    /// Records of each writer in each partition.
    pub(super) count: u64,
    pub(super) size: usize,
    /// Records per batch; none leaves it to the SDK.
    pub(super) batch_records: Option<u32>,
    pub(super) acks: Acks,
}

impl Workload {
    /// A workload for a topic of one partition, fsynced, with batches of the SDK.
    pub(super) fn new(topic: &str, writers: u32, count: u64, size: usize) -> Self {
        let (topic, acks) = (topic.into(), Acks::All);
        Self { topic, partitions: 1, first_writer: 0, writers, count, size, batch_records: None, acks }
    }

    /// The total bytes of values.
    pub(super) fn bytes(&self) -> u64 {
        self.records() * self.size as u64
    }

    /// The total number of records.
    pub(super) fn records(&self) -> u64 {
        self.count * u64::from(self.writers) * u64::from(self.partitions)
    }

    /// The records of each writer in each partition.
    pub(super) fn shares(&self) -> impl Iterator<Item = WriterShare> {
        let count = self.count;
        (self.first_writer..self.first_writer + self.writers).map(move |writer| WriterShare { writer, count })
    }

    pub(super) async fn create_topic(&self, broker: &BenchBroker) -> anyhow::Result<()> {
        let spec = TopicSpec::partitions(self.partitions);
        broker.client().await?.admin().create_topic(&*self.topic, spec).await?;
        Ok(())
    }

    /// Sends all records and waits for every ack.
    pub(super) async fn run(&self, broker: &BenchBroker) -> anyhow::Result<Cost> {
        let mut producers = Vec::new();
        for writer in 0..self.writers {
            producers.push((self.first_writer + writer, self.producer(broker).await?));
        }
        let meter = Meter::start(broker)?;
        let mut working = JoinSet::new();
        for (writer, producer) in producers {
            let writing = self.clone();
            working.spawn(async move { writing.write(writer, &producer).await });
        }
        while let Some(done) = working.join_next().await {
            done??;
        }
        meter.stop(broker)
    }

    pub(super) async fn producer(&self, broker: &BenchBroker) -> anyhow::Result<Producer> {
        self.producer_of(&broker.client().await?).await
    }

    pub(super) async fn producer_of(&self, client: &Client) -> anyhow::Result<Producer> {
        let mut builder = client.producer().acks(self.acks);
        if let Some(records) = self.batch_records {
            builder = builder.batch_records(records).linger(Duration::from_millis(20)); // A batch is full long before.
        }
        Ok(builder.build().await?)
    }

    /// The records of one batch, or a single record if the SDK makes the batches.
    pub(super) fn batch(&self, writer: u32, partition: u32, begin: u64) -> impl Iterator<Item = Record> {
        let (topic, size) = (self.topic.clone(), self.size);
        let end = self.count.min(begin + self.batch_len());
        (begin..end).map(move |number| {
            let value = RecordIdentity { writer, partition, number }.value(size);
            Record::new(topic.clone()).partition(PartitionId::new(partition)).value(value)
        })
    }

    /// Consecutive records for one partition.
    pub(super) fn batch_len(&self) -> u64 {
        self.batch_records.map_or(1, u64::from)
    }

    async fn write(&self, writer: u32, producer: &Producer) -> anyhow::Result<()> {
        let mut acks = AwaitedAcks { acks: self.acks, in_flight: VecDeque::new(), settled: 0 };
        let mut records = self.in_order(writer).peekable();
        while records.peek().is_some() {
            acks.make_room().await?;
            acks.in_flight.push_back(producer.enqueue_all(records.by_ref().take(CHUNK_RECORDS)).await);
        }
        producer.flush().await?;
        acks.settle(0).await?;
        let expected = self.count * u64::from(self.partitions);
        ensure!(acks.settled == expected, "{} of {expected} records were acknowledged", acks.settled);
        Ok(())
    }

    /// The records of a writer: a batch for each partition in turn.
    fn in_order(&self, writer: u32) -> impl Iterator<Item = Record> {
        let rounds = (0..self.count).step_by(self.batch_len() as usize);
        let batches = rounds.flat_map(move |begin| (0..self.partitions).map(move |at| (begin, at)));
        batches.flat_map(move |(begin, at)| self.batch(writer, (at + writer) % self.partitions, begin))
    }
}

/// The acks of records in flight, oldest first.
struct AwaitedAcks {
    acks: Acks,
    in_flight: VecDeque<Deliveries>,
    settled: u64,
}

impl AwaitedAcks {
    async fn make_room(&mut self) -> anyhow::Result<()> {
        if self.in_flight.len() == IN_FLIGHT_MAX / CHUNK_RECORDS {
            self.settle(self.in_flight.len() / 2).await?;
        }
        Ok(())
    }

    async fn settle(&mut self, left: usize) -> anyhow::Result<()> {
        while left < self.in_flight.len() {
            let Some(deliveries) = self.in_flight.pop_front() else { break };
            let acked = deliveries.await?;
            let is_durable = |range: &AckRange| self.acks != Acks::All || range.durability == Durability::Fsynced;
            ensure!(acked.ranges().iter().all(is_durable), "an ack is not durable");
            self.settled += acked.len() as u64;
        }
        Ok(())
    }
}

/// Reads the topic back and compares every byte: exactly the acknowledged records are there, once and in order.
pub(crate) async fn read_back(broker: &BenchBroker, topic: &str, mut ledger: Ledger) -> anyhow::Result<()> {
    let everything = (0..ledger.partitions()).map(|partition| (topic, PartitionId::new(partition)));
    let client = broker.client().await?;
    let start = StartFrom::Offset(Offset::new(ledger.base_offset()));
    let builder = client.consumer().assign(everything).from(start).max_poll_records(8192);
    let mut consumer = builder.build().await?;
    while 0 < ledger.missing() {
        let records = consumer.poll(Duration::from_secs(10)).await?;
        ensure!(!records.is_empty(), "{} records of {topic} are missing", ledger.missing());
        records.iter().try_for_each(|record| ledger.check_next(record))?;
    }
    for partition in 0..ledger.partitions() {
        let end = consumer.high_watermark(topic, PartitionId::new(partition)).context("no high watermark")?;
        ensure!(end.value() == ledger.end(), "{topic}/{partition} holds more than was written");
    }
    Ok(consumer.close().await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::tests::with_broker;

    #[test]
    fn records_of_several_writers_are_read_back() {
        with_broker(async |broker| {
            let writing = Workload { partitions: 3, batch_records: Some(4), ..Workload::new("t", 2, 10, 100) };
            writing.create_topic(broker).await?;
            writing.run(broker).await?;
            let ledger = || Ledger::new(3, 100, writing.shares().collect());
            read_back(broker, "t", ledger()).await?;
            Workload { first_writer: 2, writers: 1, ..writing.clone() }.run(broker).await?;
            let error = read_back(broker, "t", ledger()).await.unwrap_err().to_string();
            assert!(
                error.contains("holds more than was written") || error.contains("not a record of any writer"),
                "{error}"
            );
            Ok(())
        });
    }
}
