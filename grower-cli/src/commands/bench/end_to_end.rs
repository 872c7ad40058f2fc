//! `bench end-to-end`.

use super::latency::{BenchResult, LatencyHistogram};
use super::{BenchTopic, payload};
use crate::options::AckLevel;
use crate::output::count_bar;
use crate::session::Session;
use anyhow::{bail, ensure};
use clap::Args;
use grower_client::{Consumer, Producer, Record, StartFrom};
use std::time::{Duration, Instant};

/// Send records one by one, and measure how long each takes to a consumer
#[derive(Debug, Args)]
#[command(
    after_help = "A latency lasts from sending a record until the consumer has it; then the next record is sent. Every record is \
fsynced before a consumer reads it: a power cut takes nothing back.

JSON: {\"bench\",\"records\",\"bytes\",\"seconds\",\"records_per_second\",\"bytes_per_second\", \
\"latency_us\":{\"p50\",\"p90\",\"p99\",\"p99.9\",\"max\"}}"
)]
pub struct BenchEndToEndCommand {
    #[command(flatten)]
    topic: BenchTopic,
    /// The number of records
    #[arg(long, value_name = "N", default_value_t = 2000)]
    records: u64,
    /// Bytes of each record's value
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    size: usize,
    /// The number of different keys, which take turns; a key chooses the partition [default: one for each record]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    keys: Option<u64>,
    /// When a record counts as acknowledged
    #[arg(long, value_name = "LEVEL", default_value = "all")]
    acks: AckLevel,
}

/// The longest wait for the end offsets of all partitions.
const POSITIONS_WAIT_MAX: Duration = Duration::from_secs(60);

impl BenchEndToEndCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        self.topic.create(&session.client).await?;
        let producer = session.client.producer().acks(self.acks.into()).build().await?;
        let mut consumer = self.consumer(session).await?;
        let (bar, mut latencies) = (count_bar(self.records), LatencyHistogram::new()?);
        let began = Instant::now();
        for at in 0..self.records {
            latencies.add(self.round_trip(&producer, &mut consumer, at).await?);
            bar.inc(1);
        }
        let took = began.elapsed();
        bar.finish_and_clear();
        consumer.close().await?;
        let bytes = self.records * self.size as u64;
        BenchResult {
            what: "end-to-end",
            records: self.records,
            bytes,
            took,
            latencies,
            latency_of: "SEND TO CONSUMER",
        }
        .print(session.output)
    }

    /// A consumer that waits at the end of every partition.
    async fn consumer(&self, session: &Session) -> anyhow::Result<Consumer> {
        let name = self.topic.topic.as_str();
        let topic = session.client.admin().describe_topic(name, false).await?;
        let partitions: Vec<_> = topic.partitions.iter().map(|partition| (name, partition.partition)).collect();
        let builder = session.client.consumer().assign(partitions.iter().copied()).from(StartFrom::End);
        let (mut consumer, began) = (builder.build().await?, Instant::now());
        loop {
            let early = consumer.poll(Duration::from_millis(300)).await?; // Finds the positions.
            ensure!(early.is_empty(), "another producer writes to {name}; use another topic");
            if partitions.iter().all(|(name, partition)| consumer.position(name, *partition).is_some()) {
                return Ok(consumer);
            }
            ensure!(began.elapsed() < POSITIONS_WAIT_MAX, "a partition of {name} has no end offset; is it offline?");
        }
    }

    async fn round_trip(&self, producer: &Producer, consumer: &mut Consumer, at: u64) -> anyhow::Result<Duration> {
        let value = payload(self.size);
        let key = self.keys.map_or(at, |keys| at % keys).to_be_bytes();
        let sent = Instant::now();
        let delivery = producer.enqueue(Record::new(self.topic.topic.as_str()).key(key.to_vec()).value(value)).await?;
        let polled = consumer.poll(Duration::from_secs(10)).await?;
        let took = sent.elapsed();
        delivery.await?;
        match polled.as_slice() {
            [record] if record.key.as_deref() == Some(&key) => Ok(took),
            [] => bail!("record {at} did not arrive within 10 s"),
            _ => bail!("another record arrived instead of record {at}; use another topic"),
        }
    }
}
