//! `bench produce`.

use super::latency::{BenchResult, LatencyHistogram};
use super::{BenchTopic, payload};
use crate::options::{AckLevel, Compression};
use crate::output::count_bar;
use crate::session::Session;
use clap::Args;
use grower_client::{Deliveries, Producer, Record};
use indicatif::ProgressBar;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;

/// Write records at full speed
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "A latency lasts from handing a record in to its ack, time in the queue included. Records are handed in 256 at a time: \
all of these have the latency from the first one's hand-in to the last one's ack.

JSON: {\"bench\",\"records\",\"bytes\",\"seconds\",\"records_per_second\",\"bytes_per_second\", \
\"latency_us\":{\"p50\",\"p90\",\"p99\",\"p99.9\",\"max\"}}

Example:
  grower-cli bench produce --records 1000000 --size 100 --producers 4"
)]
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

/// Limit of records in flight per producer. Many small records make few batches: they may be more.
const IN_FLIGHT_MAX: u64 = 16 << 10;
const SMALL_IN_FLIGHT_MAX: u64 = 64 << 10;

/// Bytes of values up to which the limit of small records applies: five batches and those that fill meanwhile.
const SMALL_IN_FLIGHT_BYTES: u64 = 16 << 20;

/// The records of one hand-in.
const CHUNK_RECORDS: u64 = 256;

/// The chunks of records that one producer has in flight.
struct InFlightChunks<'a> {
    chunks: VecDeque<InFlightChunk>,
    latencies: LatencyHistogram,
    bar: &'a ProgressBar,
}

/// Records that were handed in together.
struct InFlightChunk {
    handed_in_at: Instant,
    records: u64,
    deliveries: Deliveries,
}

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

    /// Limit of records in flight: enough for several batches, so that one is on its way while another is fsynced.
    fn in_flight_max(&self) -> u64 {
        let fitting = SMALL_IN_FLIGHT_BYTES / (self.size as u64).max(1);
        fitting.clamp(IN_FLIGHT_MAX, SMALL_IN_FLIGHT_MAX)
    }

    async fn write(&self, producer: &Producer, records: u64, bar: &ProgressBar) -> anyhow::Result<LatencyHistogram> {
        let (topic, value): (Arc<str>, _) = (self.topic.topic.as_str().into(), payload(self.size));
        let record = || Record::new(topic.clone()).value(value.clone());
        let mut in_flight = InFlightChunks { chunks: VecDeque::new(), latencies: LatencyHistogram::new()?, bar };
        let chunks_max = self.in_flight_max().div_ceil(CHUNK_RECORDS) as usize;
        let mut left = records;
        while left != 0 {
            if in_flight.chunks.len() == chunks_max {
                in_flight.settle(in_flight.chunks.len() / 2).await?;
            }
            let (handed_in_at, records) = (Instant::now(), CHUNK_RECORDS.min(left));
            let deliveries = producer.enqueue_all((0..records).map(|_| record())).await;
            in_flight.chunks.push_back(InFlightChunk { handed_in_at, records, deliveries });
            left -= records;
        }
        producer.flush().await?;
        in_flight.settle(0).await?;
        Ok(in_flight.latencies)
    }
}

impl InFlightChunks<'_> {
    /// Waits until only `left` chunks are in flight.
    async fn settle(&mut self, left: usize) -> anyhow::Result<()> {
        while left < self.chunks.len() {
            if let Some(chunk) = self.chunks.pop_front() {
                chunk.deliveries.await?;
                self.latencies.add_many(chunk.handed_in_at.elapsed(), chunk.records);
                self.bar.inc(chunk.records);
            }
        }
        Ok(())
    }
}
