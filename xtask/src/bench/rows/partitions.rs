//! `partitions-1000-*`: batches of 16 KiB, turn by turn into a thousand partitions, from eight producers.
//!
//! Every partition has had a batch before the measurement: that their files are created is not what is measured.

use super::produce::add_cost;
use super::{Ground, millis};
use crate::bench::latencies::Latencies;
use crate::bench::ledger::Ledger;
use crate::bench::meter::Meter;
use crate::bench::report::Report;
use crate::bench::writers::{Writing, read_back};
use anyhow::ensure;
use grower_client::{Acks, Producer};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

const WRITERS: u32 = 8;
/// Sixteen records of a thousand bytes are a batch of 16 KiB.
const SIZE: usize = 1000;
const BATCH: u32 = 16;
/// What `partitions-1000-fixed` offers, in bytes a second.
const OFFERED: f64 = 150e6;

/// What is asked of a thousand partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) enum Partitions {
    /// As fast as it goes, written; beside the same bytes into one partition.
    Leader,
    /// At a fixed rate, fsynced.
    Fixed,
    /// As fast as it goes, fsynced.
    Saturated,
}

impl Partitions {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Leader => "partitions-1000-leader",
            Self::Fixed => "partitions-1000-fixed",
            Self::Saturated => "partitions-1000-saturated",
        }
    }

    pub(super) async fn measure(self, ground: Ground<'_>, report: &mut Report) -> anyhow::Result<()> {
        let name = self.name();
        let writing = self.writing(&ground, ground.amounts.partitions);
        ground.warm_up(writing.bytes())?;
        let first = open_all(&ground, &writing).await?;
        match self {
            Self::Leader => {
                let one = into_one(&ground, &writing).await?;
                let cost = writing.run(ground.site).await?;
                let mb = writing.bytes() as f64 / 1e6 / cost.took.as_secs_f64();
                report.add_beside(name, mb, "MB/s", one);
                report.add(format!("{name}-into-1"), one, "MB/s");
                add_cost(name, cost, report);
            }
            Self::Fixed => paced(&ground, &writing, report).await?,
            Self::Saturated => {
                let cost = writing.run(ground.site).await?;
                report.add(name, writing.bytes() as f64 / 1e6 / cost.took.as_secs_f64(), "MB/s");
                add_cost(name, cost, report);
            }
        }
        ground.add_peak_memory(name, report)?;
        let shares = first.shares().chain(writing.shares()).collect();
        read_back(ground.site, &writing.topic, Ledger::new(writing.partitions, SIZE, shares)).await?;
        ground.delete(&writing.topic).await
    }

    fn writing(self, ground: &Ground<'_>, partitions: u32) -> Writing {
        let acks = if self == Self::Leader { Acks::Leader } else { Acks::All };
        let batches = match self {
            Self::Fixed => {
                let bytes = ground.amounts.paced.as_secs_f64() * OFFERED;
                let round = u64::from(WRITERS * partitions * BATCH) * SIZE as u64;
                ((bytes / round as f64) as u64).max(1)
            }
            _ => ground.amounts.batches,
        };
        let base = Writing::new(&ground.topic(self.name()), WRITERS, batches * u64::from(BATCH), SIZE);
        Writing { partitions, batch_records: Some(BATCH), acks, ..base }
    }
}

/// Creates the topic and puts one batch into each partition.
async fn open_all(ground: &Ground<'_>, writing: &Writing) -> anyhow::Result<Writing> {
    writing.create_topic(ground.site).await?;
    let first =
        Writing { first_writer: WRITERS, writers: 1, count: u64::from(BATCH), acks: Acks::All, ..writing.clone() };
    first.run(ground.site).await?;
    Ok(first)
}

/// What one partition takes of the same, in MB/s.
async fn into_one(ground: &Ground<'_>, writing: &Writing) -> anyhow::Result<f64> {
    let count = writing.count * u64::from(writing.partitions);
    let one = Writing { topic: format!("{}-one", writing.topic).into(), partitions: 1, count, ..writing.clone() };
    let first = open_all(ground, &one).await?;
    let cost = one.run(ground.site).await?;
    let shares = first.shares().chain(one.shares()).collect();
    read_back(ground.site, &one.topic, Ledger::new(1, SIZE, shares)).await?;
    ground.delete(&one.topic).await?;
    Ok(one.bytes() as f64 / 1e6 / cost.took.as_secs_f64())
}

/// Every producer has its share of the rate. A batch's time counts from when it was due to its last ack.
async fn paced(ground: &Ground<'_>, writing: &Writing, report: &mut Report) -> anyhow::Result<()> {
    let name = Partitions::Fixed.name();
    let mut producers = Vec::new();
    for writer in 0..WRITERS {
        producers.push((writer, writing.producer(ground.site).await?));
    }
    let meter = Meter::start(ground.site)?;
    let begin = Instant::now();
    let mut working = JoinSet::new();
    for (writer, producer) in producers {
        let writing = writing.clone();
        working.spawn(async move { write_paced(&writing, writer, &producer, begin).await });
    }
    let mut latencies = Latencies::new()?;
    while let Some(done) = working.join_next().await {
        latencies.merge(&done??)?;
    }
    let cost = meter.stop(ground.site)?;
    let mb = writing.bytes() as f64 / 1e6 / cost.took.as_secs_f64();
    report.add_beside(name, mb, "MB/s", OFFERED / 1e6);
    report.add(format!("{name}-p50"), millis(latencies.quantile(0.5)), "ms");
    report.add(format!("{name}-p99"), millis(latencies.quantile(0.99)), "ms");
    add_cost(name, cost, report);
    Ok(())
}

async fn write_paced(writing: &Writing, writer: u32, producer: &Producer, begin: Instant) -> anyhow::Result<Latencies> {
    let interval = Duration::from_secs_f64(f64::from(BATCH) * SIZE as f64 * f64::from(WRITERS) / OFFERED);
    let mut under_way: JoinSet<anyhow::Result<Duration>> = JoinSet::new();
    let mut due = begin + interval.mul_f64(f64::from(writer) / f64::from(WRITERS));
    for first in (0..writing.count).step_by(BATCH as usize) {
        for at in 0..writing.partitions {
            sleep_until(due).await;
            let partition = (at + writer * writing.partitions / WRITERS) % writing.partitions;
            let mut deliveries = Vec::with_capacity(BATCH as usize);
            for record in writing.batch(writer, partition, first) {
                deliveries.push(producer.enqueue(record).await?);
            }
            under_way.spawn(async move {
                for delivery in deliveries {
                    delivery.await?;
                }
                Ok(due.elapsed())
            });
            due += interval;
        }
    }
    let mut latencies = Latencies::new()?;
    while let Some(done) = under_way.join_next().await {
        latencies.add(done??);
    }
    let batches = writing.count.div_ceil(u64::from(BATCH)) * u64::from(writing.partitions);
    ensure!(latencies.count() == batches, "{} of {batches} batches were acknowledged", latencies.count());
    Ok(latencies)
}
