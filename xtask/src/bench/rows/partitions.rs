//! `partitions-1000-*`: batches of 16 KiB, in turn into a thousand partitions, from eight producers.
//!
//! Every partition gets a batch before the measurement, so that the creation of files is not measured.

use super::produce::add_cost;
use super::{RowContext, millis};
use crate::bench::latencies::Latencies;
use crate::bench::ledger::Ledger;
use crate::bench::meter::Meter;
use crate::bench::report::BenchReport;
use crate::bench::workload::{Workload, read_back};
use anyhow::{Context, ensure};
use grower_client::{Acks, Durability, Producer};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

const WRITERS: u32 = 8;
/// Sixteen records of a thousand bytes are a batch of 16 KiB.
const SIZE: usize = 1000;
const BATCH: u32 = 16;
/// Offered load of `partitions-1000-fixed`, in bytes a second.
const OFFERED: f64 = 150e6;

/// The load on a thousand partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) enum PartitionsRow {
    /// Full speed, acks `leader`, compared with the same bytes into one partition.
    Leader,
    /// A fixed rate, fsynced.
    Fixed,
    /// Full speed, fsynced.
    Saturated,
}

impl PartitionsRow {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Leader => "partitions-1000-leader",
            Self::Fixed => "partitions-1000-fixed",
            Self::Saturated => "partitions-1000-saturated",
        }
    }

    pub(super) async fn measure(self, context: RowContext<'_>, report: &mut BenchReport) -> anyhow::Result<()> {
        let name = self.name();
        let writing = self.writing(&context);
        // Includes the run into one partition.
        context.warm_up(writing.bytes() * if self == Self::Leader { 2 } else { 1 })?;
        let begin = open_all(&context, &writing).await?;
        match self {
            Self::Leader => {
                let one = into_one(&context, &writing).await?;
                let cost = writing.run(context.broker).await?;
                let mb = writing.bytes() as f64 / 1e6 / cost.took.as_secs_f64();
                report.add_with_limit(name, mb, "MB/s", one);
                report.add(format!("{name}-into-1"), one, "MB/s");
                add_cost(name, cost, report);
            }
            Self::Fixed => {
                context.settle().await?;
                paced(&context, &writing, report).await?;
            }
            Self::Saturated => {
                let cost = writing.run(context.broker).await?;
                report.add(name, writing.bytes() as f64 / 1e6 / cost.took.as_secs_f64(), "MB/s");
                add_cost(name, cost, report);
            }
        }
        context.add_peak_memory(name, report)?;
        let ledger = Ledger::new(writing.partitions, SIZE, writing.shares().collect());
        read_back(context.broker, &writing.topic, ledger.after(begin)).await
    }

    /// Uses different writers for each row and round, so that no record equals an earlier one.
    fn writing(self, context: &RowContext<'_>) -> Workload {
        let partitions = context.amounts.partitions;
        let acks = if self == Self::Leader { Acks::Leader } else { Acks::All };
        let batches = match self {
            Self::Fixed => {
                let laps = context.amounts.paced.as_secs_f64() / lap(partitions).as_secs_f64();
                1 + (laps as u64).max(1) // The first lap does not count.
            }
            _ => context.amounts.batches,
        };
        let first_writer = (1 + 3 * context.round + self as u32) * WRITERS;
        let base = Workload::new(&context.shared_topic(), WRITERS, batches * u64::from(BATCH), SIZE);
        Workload { partitions, batch_records: Some(BATCH), acks, first_writer, ..base }
    }
}

/// Creates the shared topic on first use, with a batch of each writer in each partition. Returns the end of each
/// partition.
async fn open_all(context: &RowContext<'_>, writing: &Workload) -> anyhow::Result<u64> {
    let topics = context.broker.client().await?.admin().describe_topics(None, false).await?;
    for topic in topics {
        let topic = topic?;
        if topic.name.as_str() == &*writing.topic {
            return Ok(topic.partitions.first().context("a topic without partitions")?.log_end.value());
        }
    }
    writing.create_topic(context.broker).await?;
    let first = Workload { first_writer: 0, count: u64::from(BATCH), acks: Acks::All, ..writing.clone() };
    first.run(context.broker).await?;
    let ledger = Ledger::new(writing.partitions, SIZE, first.shares().collect());
    let end = ledger.end();
    read_back(context.broker, &writing.topic, ledger).await?;
    Ok(end)
}

/// Measures the same load into one partition, in MB/s.
async fn into_one(context: &RowContext<'_>, writing: &Workload) -> anyhow::Result<f64> {
    let count = writing.count * u64::from(writing.partitions);
    let one = Workload { topic: format!("{}-one", writing.topic).into(), partitions: 1, count, ..writing.clone() };
    let begin = open_all(context, &one).await?;
    let cost = one.run(context.broker).await?;
    let ledger = Ledger::new(1, SIZE, one.shares().collect());
    read_back(context.broker, &one.topic, ledger.after(begin)).await?;
    context.delete(&one.topic).await?;
    Ok(one.bytes() as f64 / 1e6 / cost.took.as_secs_f64())
}

/// The time in which each producer offers each partition one batch.
fn lap(partitions: u32) -> Duration {
    Duration::from_secs_f64(f64::from(WRITERS * partitions * BATCH) * SIZE as f64 / OFFERED)
}

/// Each producer sends its share of the rate. The latency of a batch lasts from its due time to its last ack. The
/// first lap does not count, and has its own figure: in it the broker learns the latency of the partitions' syncs.
///
/// The rate is that of the acks, from the first batch to the last one. A broker that falls behind sends its last ack
/// late, however long the run. A broker with a constant delay accepts the whole offered load.
async fn paced(context: &RowContext<'_>, writing: &Workload, report: &mut BenchReport) -> anyhow::Result<()> {
    let name = PartitionsRow::Fixed.name();
    let mut producers = Vec::new();
    for turn in 0..WRITERS {
        producers.push((turn, writing.producer(context.broker).await?));
    }
    let meter = Meter::start(context.broker)?;
    let begin = Instant::now();
    let mut working = JoinSet::new();
    for (turn, producer) in producers {
        let writing = writing.clone();
        working.spawn(async move { write_paced(&writing, turn, &producer, begin).await });
    }
    let mut acked = Vec::new();
    while let Some(done) = working.join_next().await {
        acked.extend(done??);
    }
    let cost = meter.stop(context.broker)?;
    let (first, acked): (Vec<_>, Vec<_>) =
        acked.into_iter().partition(|batch| batch.due < begin + lap(writing.partitions));
    let (first, latencies) = (latencies(&first)?, latencies(&acked)?);
    report.add_with_limit(name, rate(&acked)? / 1e6, "MB/s", OFFERED / 1e6);
    report.add(format!("{name}-p50"), millis(latencies.quantile(0.5)), "ms");
    report.add(format!("{name}-p99"), millis(latencies.quantile(0.99)), "ms");
    report.add(format!("{name}-first-lap-p99"), millis(first.quantile(0.99)), "ms");
    add_cost(name, cost, report);
    Ok(())
}

/// The due time of a batch, and the time of its last ack.
#[derive(Clone, Copy, Debug)]
struct AckedBatch {
    due: Instant,
    at: Instant,
}

fn latencies(acked: &[AckedBatch]) -> anyhow::Result<Latencies> {
    let mut latencies = Latencies::new()?;
    acked.iter().for_each(|batch| latencies.add(batch.at - batch.due));
    Ok(latencies)
}

/// Returns the bytes a second between the first batch's ack and the last one's.
fn rate(acked: &[AckedBatch]) -> anyhow::Result<f64> {
    let at = || acked.iter().map(|batch| batch.at);
    let (first, last) = at().min().zip(at().max()).context("nothing was acknowledged")?;
    let bytes = (acked.len() - 1) * BATCH as usize * SIZE;
    Ok(bytes as f64 / (last - first).as_secs_f64())
}

async fn write_paced(
    writing: &Workload,
    turn: u32,
    producer: &Producer,
    begin: Instant,
) -> anyhow::Result<Vec<AckedBatch>> {
    let interval = Duration::from_secs_f64(f64::from(BATCH) * SIZE as f64 * f64::from(WRITERS) / OFFERED);
    let mut in_flight: JoinSet<anyhow::Result<AckedBatch>> = JoinSet::new();
    let mut due = begin + interval.mul_f64(f64::from(turn) / f64::from(WRITERS));
    for first in (0..writing.count).step_by(BATCH as usize) {
        for at in 0..writing.partitions {
            sleep_until(due).await;
            let partition = (at + turn * writing.partitions / WRITERS) % writing.partitions;
            let mut deliveries = Vec::with_capacity(BATCH as usize);
            for record in writing.batch(writing.first_writer + turn, partition, first) {
                deliveries.push(producer.enqueue(record).await?);
            }
            in_flight.spawn(async move {
                for delivery in deliveries {
                    let ack = delivery.await?;
                    ensure!(ack.durability == Durability::Fsynced, "an ack is not durable");
                }
                Ok(AckedBatch { due, at: Instant::now() })
            });
            due += interval;
        }
    }
    let mut acked = Vec::new();
    while let Some(done) = in_flight.join_next().await {
        acked.push(done??);
    }
    let batches = writing.count.div_ceil(u64::from(BATCH)) * u64::from(writing.partitions);
    ensure!(acked.len() as u64 == batches, "{} of {batches} batches were acknowledged", acked.len());
    Ok(acked)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rate of a broker that acknowledges each batch with this delay.
    fn rate_of(late: impl Fn(u32) -> Duration) -> f64 {
        let (begin, interval) = (Instant::now(), Duration::from_secs_f64(f64::from(BATCH) * SIZE as f64 / OFFERED));
        let batch = |number| {
            let due = begin + interval * number;
            AckedBatch { due, at: due + late(number) }
        };
        rate(&(0..1000).map(batch).collect::<Vec<_>>()).unwrap() / OFFERED
    }

    #[test]
    fn a_constant_delay_is_not_falling_behind() {
        let always = rate_of(|_| Duration::from_millis(30));
        assert!((0.999..1.001).contains(&always), "{always}");
        let later_each_time = rate_of(|number| Duration::from_micros(11) * number);
        assert!((0.89..0.92).contains(&later_each_time), "{later_each_time}");
    }
}
