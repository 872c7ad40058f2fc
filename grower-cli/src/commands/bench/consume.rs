//! `bench consume`.

use super::BenchTopic;
use super::latency::{BenchResult, LatencyHistogram};
use super::reader_cost::ReaderMeter;
use crate::output::count_bar;
use crate::session::Session;
use anyhow::ensure;
use clap::Args;
use grower_client::{Consumer, StartFrom, TopicDescription};
use std::time::{Duration, Instant};

/// The longest wait for the next record.
const PATIENCE: Duration = Duration::from_secs(30);

/// Read a topic from beginning to end at full speed
#[derive(Debug, Args)]
#[command(after_help = "Fill the topic with `grower-cli bench produce` first. A latency is the duration of one poll.
The time until the first record includes finding the positions, and joining the group.

JSON: {\"bench\",\"records\",\"bytes\",\"seconds\",\"records_per_second\",\"bytes_per_second\", \
\"latency_us\":{\"p50\",\"p90\",\"p99\",\"p99.9\",\"max\"}, \
\"first_record_seconds\",\"after_first_record\":{\"seconds\",\"bytes\",\"processor_seconds\"}, \
\"processor_seconds\",\"peak_memory_bytes\"}; the last two are of the whole process")]
pub struct BenchConsumeCommand {
    #[command(flatten)]
    topic: BenchTopic,
    /// The largest number of records per poll
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Read as the only member of this group, which has committed nothing yet
    #[arg(long, value_name = "G")]
    group: Option<String>,
}

impl BenchConsumeCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let name = self.topic.topic.as_str();
        let topic = session.client.admin().describe_topic(name, false).await?;
        let length = |p: &grower_client::PartitionDescription| p.high_watermark.value() - p.log_start.value();
        let wanted: u64 = topic.partitions.iter().map(length).sum();
        ensure!(wanted != 0, "{name} is empty; `grower-cli bench produce` fills it");
        let mut meter = ReaderMeter::start();
        let mut consumer = self.consumer(session, &topic).await?;
        let (bar, mut latencies) = (count_bar(wanted), LatencyHistogram::new()?);
        let (mut records, mut bytes) = (0, 0);
        let began = Instant::now();
        while records < wanted {
            let asked = Instant::now();
            let polled = consumer.poll(PATIENCE).await?;
            ensure!(!polled.is_empty(), "{records} of {wanted} records arrived, then none for {PATIENCE:?}");
            latencies.add(asked.elapsed());
            records += polled.len() as u64;
            bytes +=
                polled.iter().map(|record| record.value.as_ref().map_or(0, |value| value.len() as u64)).sum::<u64>();
            meter.polled(bytes);
            bar.set_position(records);
        }
        let took = began.elapsed();
        let cost = meter.stop(bytes);
        bar.finish_and_clear();
        consumer.close().await?;
        BenchResult { what: "consume", records, bytes, took, latencies, latency_of: "POLL" }
            .print_with(session.output, &cost)
    }

    async fn consumer(&self, session: &Session, topic: &TopicDescription) -> anyhow::Result<Consumer> {
        let name = self.topic.topic.as_str();
        let builder = session.client.consumer().from(StartFrom::Beginning).max_poll_records(self.batch as usize);
        let builder = match &self.group {
            Some(group) => builder.group(group).subscribe([name]),
            None => builder.assign(topic.partitions.iter().map(|partition| (name, partition.partition))),
        };
        Ok(builder.build().await?)
    }
}
