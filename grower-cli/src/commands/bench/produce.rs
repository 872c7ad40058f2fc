//! `bench produce`.

use super::latency::{BenchResult, LatencyHistogram};
use super::{BenchTopic, payload};
use crate::options::{AckLevel, Compression};
use crate::output::count_bar;
use crate::session::Session;
use clap::Args;
use grower_client::{Delivery, Producer, Record};
use indicatif::ProgressBar;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;

/// Write records at full speed
#[derive(Clone, Debug, Args)]
#[command(after_help = "A latency lasts from sending a record to its ack, time in the queue included.

JSON: {\"bench\",\"records\",\"bytes\",\"seconds\",\"records_per_second\",\"bytes_per_second\", \
\"latency_us\":{\"p50\",\"p90\",\"p99\",\"p99.9\",\"max\"}}

Example:
  grower-cli bench produce --records 1000000 --size 100 --producers 4")]
pub struct BenchProduceCommand {
    #[command(flatten)]
    topic: BenchTopic,
    /// The number of records
    #[arg(long, value_name = "N", default_value_t = 500_000)]
    records: u64,
    /// Bytes of each record's value
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    size: usize,
    /// The number of producers, which share the records
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    producers: u64,
    /// When a record counts as acknowledged
    #[arg(long, value_name = "LEVEL", default_value = "all")]
    acks: AckLevel,
    /// How batches are compressed; the values do not compress
    #[arg(long, value_name = "CODEC", default_value = "none")]
    compression: Compression,
    /// The largest batch, in bytes before compression [default: 1 MiB]
    #[arg(long, value_name = "N")]
    batch_bytes: Option<usize>,
}

/// Limit of records in flight per producer.
const IN_FLIGHT_MAX: usize = 16 << 10;

impl BenchProduceCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        self.topic.create(&session.client).await?;
        let mut producers = Vec::new();
        for _ in 0..self.producers {
            let mut builder = session.client.producer().acks(self.acks.into()).compression(self.compression.into());
            if let Some(bytes) = self.batch_bytes {
                builder = builder.batch_bytes(bytes);
            }
            producers.push(builder.build().await?);
        }
        let bar = count_bar(self.records);
        let began = Instant::now();
        let share = |at: u64| self.records / self.producers + u64::from(at < self.records % self.producers);
        let mut writing = JoinSet::new(); // Tasks of their own: no producer waits for a core while another one works.
        for (producer, at) in producers.into_iter().zip(0..) {
            let (command, bar, records) = (self.clone(), bar.clone(), share(at));
            writing.spawn(async move { command.write(&producer, records, &bar).await });
        }
        let mut latencies = LatencyHistogram::new()?;
        while let Some(written) = writing.join_next().await {
            latencies.merge(&written??)?;
        }
        let took = began.elapsed();
        bar.finish_and_clear();
        let bytes = self.records * self.size as u64;
        BenchResult { what: "produce", records: self.records, bytes, took, latencies, latency_of: "SEND TO ACK" }
            .print(session.output)
    }

    async fn write(&self, producer: &Producer, records: u64, bar: &ProgressBar) -> anyhow::Result<LatencyHistogram> {
        let (topic, value): (Arc<str>, _) = (self.topic.topic.as_str().into(), payload(self.size));
        let mut latencies = LatencyHistogram::new()?;
        let mut in_flight: VecDeque<(Instant, Delivery)> = VecDeque::new();
        for _ in 0..records {
            if in_flight.len() == IN_FLIGHT_MAX {
                settle(&mut in_flight, IN_FLIGHT_MAX / 2, &mut latencies, bar).await?;
            }
            let record = Record::new(topic.clone()).value(value.clone());
            let enqueued_at = Instant::now();
            in_flight.push_back((enqueued_at, producer.enqueue(record).await?));
        }
        producer.flush().await?;
        settle(&mut in_flight, 0, &mut latencies, bar).await?;
        Ok(latencies)
    }
}

/// Waits until only `left` records are in flight.
async fn settle(
    in_flight: &mut VecDeque<(Instant, Delivery)>,
    left: usize,
    latencies: &mut LatencyHistogram,
    bar: &ProgressBar,
) -> anyhow::Result<()> {
    while left < in_flight.len() {
        if let Some((enqueued_at, delivery)) = in_flight.pop_front() {
            delivery.await?;
            latencies.add(enqueued_at.elapsed());
            bar.inc(1);
        }
    }
    Ok(())
}
