//! `bench consume`.

use super::BenchTopic;
use super::latency::{BenchResult, LatencyHistogram};
use crate::output::count_bar;
use crate::session::Session;
use anyhow::ensure;
use clap::Args;
use grower_client::StartFrom;
use std::time::{Duration, Instant};

/// Read a topic from beginning to end at full speed
#[derive(Debug, Args)]
#[command(after_help = "Fill the topic with `grower-cli bench produce` first. A latency is the duration of one poll.

JSON: {\"bench\",\"records\",\"bytes\",\"seconds\",\"records_per_second\",\"bytes_per_second\", \
\"latency_us\":{\"p50\",\"p90\",\"p99\",\"p99.9\",\"max\"}}")]
pub struct BenchConsumeCommand {
    #[command(flatten)]
    topic: BenchTopic,
    /// The largest number of records per poll
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
}

impl BenchConsumeCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let name = self.topic.topic.as_str();
        let topic = session.client.admin().describe_topic(name, false).await?;
        let length = |p: &grower_client::PartitionDescription| p.high_watermark.value() - p.log_start.value();
        let wanted: u64 = topic.partitions.iter().map(length).sum();
        ensure!(wanted != 0, "{name} is empty; `grower-cli bench produce` fills it");
        let partitions = topic.partitions.iter().map(|partition| (name, partition.partition));
        let builder = session.client.consumer().assign(partitions).from(StartFrom::Beginning);
        let mut consumer = builder.max_poll_records(self.batch as usize).build().await?;
        let (bar, mut latencies) = (count_bar(wanted), LatencyHistogram::new()?);
        let (mut records, mut bytes) = (0, 0);
        let began = Instant::now();
        while records < wanted {
            let asked = Instant::now();
            let polled = consumer.poll(Duration::from_secs(10)).await?;
            ensure!(!polled.is_empty(), "{records} of {wanted} records arrived, then none for 10 s");
            latencies.add(asked.elapsed());
            records += polled.len() as u64;
            bytes +=
                polled.iter().map(|record| record.value.as_ref().map_or(0, |value| value.len() as u64)).sum::<u64>();
            bar.set_position(records);
        }
        let took = began.elapsed();
        bar.finish_and_clear();
        consumer.close().await?;
        BenchResult { what: "consume", records, bytes, took, latencies, latency_of: "POLL" }.print(session.output)
    }
}
