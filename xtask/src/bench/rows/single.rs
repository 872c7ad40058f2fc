//! `single-*`: one record of 1 KiB at a time, each ack awaited before the next record.
//!
//! The cost of syncs and wake-ups changes from second to second, so it is measured in turns with the records.

use super::produce::add_cost;
use super::{RowContext, millis};
use crate::bench::latencies::Latencies;
use crate::bench::ledger::{Ledger, WriterShare};
use crate::bench::limit::Echo;
use crate::bench::machine::SyncProbe;
use crate::bench::meter::Meter;
use crate::bench::report::BenchReport;
use crate::bench::values::RecordIdentity;
use crate::bench::workload::{Workload, read_back};
use anyhow::ensure;
use grower_client::{Acks, Durability, Producer, Record};
use std::time::Instant;
use tokio::task::JoinSet;

const SIZE: usize = 1024;
/// Records in a row before the next measurement of the machine.
const TURN: u32 = 50;

/// The ack level of one producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) enum SingleRow {
    /// Fsynced.
    All,
    /// Written.
    Leader,
}

impl SingleRow {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::All => "single-all",
            Self::Leader => "single-leader",
        }
    }

    fn acks(self) -> Acks {
        match self {
            Self::All => Acks::All,
            Self::Leader => Acks::Leader,
        }
    }

    pub(super) async fn measure(self, context: RowContext<'_>, report: &mut BenchReport) -> anyhow::Result<()> {
        let name = self.name();
        let base = Workload::new(&context.topic(name), 1, u64::from(context.amounts.single), SIZE);
        let writing = Workload { acks: self.acks(), ..base };
        context.warm_up(writing.bytes())?;
        writing.create_topic(context.broker).await?;
        let producer = writing.producer(context.broker).await?;
        let probe = SyncProbe::start(context.directory)?;
        let (written, topic) = (context.amounts.single, writing.topic.clone());
        let took = tokio::spawn(async move { in_turns(self, &producer, &topic, written, probe).await }).await??;
        let p50 = |latencies: &Latencies| millis(latencies.quantile(0.5));
        let floor = match self {
            Self::All => p50(&took.sync) + p50(&took.round_trip),
            Self::Leader => p50(&took.round_trip),
        };
        report.add_with_limit(name, p50(&took.record), "ms", floor);
        report.add(format!("{name}-p99"), millis(took.record.quantile(0.99)), "ms");
        report.add(format!("{name}-rate"), 1.0 / took.record.mean().as_secs_f64(), "records/s");
        report.add(format!("{name}-round-trip"), p50(&took.round_trip), "ms");
        if self == Self::All {
            report.add(format!("{name}-fdatasync"), p50(&took.sync), "ms");
        }
        read_back(context.broker, &writing.topic, Ledger::new(1, SIZE, writing.shares().collect())).await?;
        context.delete(&writing.topic).await
    }
}

/// Latencies measured over the same time.
struct TurnLatencies {
    record: Latencies,
    round_trip: Latencies,
    sync: Latencies,
}

async fn in_turns(
    single: SingleRow,
    producer: &Producer,
    topic: &str,
    count: u32,
    mut probe: SyncProbe,
) -> anyhow::Result<TurnLatencies> {
    let mut took = TurnLatencies { record: Latencies::new()?, round_trip: Latencies::new()?, sync: Latencies::new()? };
    let mut echo = Echo::start()?;
    for number in 0..count {
        if number % TURN == 0 {
            for _ in 0..TURN {
                took.round_trip.add(echo.ping()?);
            }
            for _ in 0..if single == SingleRow::All { TURN } else { 0 } {
                took.sync.add(probe.append()?);
            }
        }
        let began = Instant::now();
        send(producer, topic, 0, u64::from(number), single.acks()).await?;
        took.record.add(began.elapsed());
    }
    Ok(took)
}

async fn send(producer: &Producer, topic: &str, writer: u32, number: u64, acks: Acks) -> anyhow::Result<()> {
    let value = RecordIdentity { writer, partition: 0, number }.value(SIZE);
    let ack = producer.send(Record::new(topic).value(value)).await?;
    ensure!(acks != Acks::All || ack.durability == Durability::Fsynced, "an ack is not durable");
    Ok(())
}

/// Producers of `single-all-50`.
const PRODUCERS: u32 = 50;

/// Runs fifty producers that share one connection, each with one record in flight.
pub(super) async fn measure_shared(context: RowContext<'_>, report: &mut BenchReport) -> anyhow::Result<()> {
    let name = "single-all-50";
    let count = u64::from(context.amounts.single_shared);
    let writing = Workload::new(&context.topic(name), PRODUCERS, count, SIZE);
    context.warm_up(writing.bytes())?;
    writing.create_topic(context.broker).await?;
    let client = context.broker.client().await?;
    let mut producers = Vec::new();
    for _ in 0..PRODUCERS {
        producers.push(writing.producer_of(&client).await?);
    }
    let mut working = JoinSet::new();
    let meter = Meter::start(context.broker)?;
    for (writer, producer) in (0..).zip(producers) {
        let topic = writing.topic.clone();
        working.spawn(async move { one_by_one(&producer, &topic, WriterShare { writer, count }).await });
    }
    let mut latencies = Latencies::new()?;
    while let Some(done) = working.join_next().await {
        latencies.merge(&done??)?;
    }
    let cost = meter.stop(context.broker)?;
    report.add(name, writing.records() as f64 / cost.took.as_secs_f64(), "records/s");
    report.add(format!("{name}-p50"), millis(latencies.quantile(0.5)), "ms");
    report.add(format!("{name}-p99"), millis(latencies.quantile(0.99)), "ms");
    add_cost(name, cost, report);
    read_back(context.broker, &writing.topic, Ledger::new(1, SIZE, writing.shares().collect())).await?;
    context.delete(&writing.topic).await
}

async fn one_by_one(producer: &Producer, topic: &str, share: WriterShare) -> anyhow::Result<Latencies> {
    let mut latencies = Latencies::new()?;
    for number in 0..share.count {
        let began = Instant::now();
        send(producer, topic, share.writer, number, Acks::All).await?;
        latencies.add(began.elapsed());
    }
    Ok(latencies)
}
