//! The rows of the table, each with its name and its measurement.

mod consume;
mod consume_group;
mod end_to_end;
mod four_producers;
mod idle_connections;
mod lookup;
mod many_partitions;
mod partitions;
mod produce;
mod resident;
mod single;
mod start;

use super::amounts::Amounts;
use super::bench_broker::BenchBroker;
use super::command_line::CommandLine;
use super::machine;
use super::report::BenchReport;
use anyhow::ensure;
use std::path::Path;
use std::time::{Duration, Instant};

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BenchRow {
    Produce { name: &'static str, size: usize, writers: u32 },
    FourProducers { name: &'static str, size: usize },
    Consume,
    ConsumeGroup,
    Single(single::SingleRow),
    SingleShared,
    EndToEnd,
    IdleConnections,
    Partitions(partitions::PartitionsRow),
    ManyPartitions(many_partitions::ManyPartitionsRow),
    Idle,
    IdlePartitions,
    Start,
    Restart,
    Lookup,
}
use many_partitions::ManyPartitionsRow as M;
use partitions::PartitionsRow as P;
use single::SingleRow as S;

/// All rows, in the order of the report.
pub(super) const ROWS: [BenchRow; 25] = [
    BenchRow::Produce { name: "produce-1k-1", size: 1024, writers: 1 },
    BenchRow::Produce { name: "produce-1k-8", size: 1024, writers: 8 },
    BenchRow::Produce { name: "produce-100b-1", size: 100, writers: 1 },
    BenchRow::Produce { name: "produce-100b-8", size: 100, writers: 8 },
    BenchRow::FourProducers { name: "four-producers-1k", size: 1024 },
    BenchRow::FourProducers { name: "four-producers-100b", size: 100 },
    BenchRow::Consume,
    BenchRow::ConsumeGroup,
    BenchRow::Single(S::All),
    BenchRow::Single(S::Leader),
    BenchRow::SingleShared,
    BenchRow::EndToEnd,
    BenchRow::IdleConnections,
    BenchRow::Partitions(P::Leader),
    BenchRow::Partitions(P::Fixed),
    BenchRow::Partitions(P::Saturated),
    BenchRow::ManyPartitions(M::Trickle),
    BenchRow::ManyPartitions(M::EndToEnd),
    BenchRow::ManyPartitions(M::ConsumeThousand),
    BenchRow::ManyPartitions(M::Consume),
    BenchRow::Idle,
    BenchRow::IdlePartitions,
    BenchRow::Start,
    BenchRow::Restart,
    BenchRow::Lookup,
];

/// The environment of a row.
#[derive(Clone, Copy)]
pub(super) struct RowContext<'a> {
    /// The running broker, for load rows.
    pub(super) broker: &'a BenchBroker,
    /// The path of the daemon, for rows that start one.
    pub(super) program: &'a Path,
    /// The path of the command line, for rows that run it.
    pub(super) command_line: &'a Path,
    /// A folder on a real file system.
    pub(super) directory: &'a Path,
    pub(super) amounts: &'a Amounts,
    pub(super) round: u32,
}

impl BenchRow {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Produce { name, .. } | Self::FourProducers { name, .. } => name,
            Self::Consume => "consume-1k",
            Self::ConsumeGroup => "consume-1k-group",
            Self::Single(single) => single.name(),
            Self::SingleShared => "single-all-50",
            Self::EndToEnd => "end-to-end",
            Self::IdleConnections => "crowd",
            Self::Partitions(partitions) => partitions.name(),
            Self::ManyPartitions(many) => many.name(),
            Self::Idle => "idle",
            Self::IdlePartitions => "idle-1000",
            Self::Start => "start",
            Self::Restart => "restart-10g",
            Self::Lookup => "lookup",
        }
    }

    /// Whether the row runs once per round on the running broker. Other rows do their own repetitions. They start their
    /// own broker, or none, or leave topics behind on the running one.
    pub(super) fn is_load(self) -> bool {
        let repeats = matches!(self, Self::ManyPartitions(_) | Self::Lookup);
        !repeats && !matches!(self, Self::Idle | Self::IdlePartitions | Self::Start | Self::Restart)
    }

    pub(super) async fn measure(self, context: RowContext<'_>, report: &mut BenchReport) -> anyhow::Result<()> {
        match self {
            Self::Produce { name, size, writers } => produce::measure(name, size, writers, context, report).await,
            Self::FourProducers { name, size } => four_producers::measure(name, size, context, report).await,
            Self::Consume => consume::measure(context, report).await,
            Self::ConsumeGroup => consume_group::measure(context, report).await,
            Self::Single(single) => single.measure(context, report).await,
            Self::SingleShared => single::measure_shared(context, report).await,
            Self::EndToEnd => end_to_end::measure(context, report).await,
            Self::IdleConnections => idle_connections::measure(context, report).await,
            Self::Partitions(partitions) => partitions.measure(context, report).await,
            Self::ManyPartitions(many) => many.measure(context, report).await,
            Self::Idle => resident::measure(context, report).await,
            Self::IdlePartitions => resident::measure_partitions(context, report).await,
            Self::Start => start::measure(context, report).await,
            Self::Restart => start::measure_restart(context, report).await,
            Self::Lookup => lookup::measure(context, report),
        }
    }
}

impl RowContext<'_> {
    /// The command line, for the running broker.
    fn command_line(&self) -> CommandLine<'_> {
        CommandLine { program: self.command_line, broker: self.broker }
    }

    async fn has_topic(&self, topic: &str) -> anyhow::Result<bool> {
        let topics = self.broker.client().await?.admin().describe_topics(None, false).await?;
        Ok(topics.iter().flatten().any(|there| there.name.as_str() == topic))
    }

    /// Returns the number of records that readers see in a topic from which nothing was dropped.
    async fn count_records(&self, topic: &str) -> anyhow::Result<u64> {
        let topic = self.broker.client().await?.admin().describe_topic(topic, false).await?;
        Ok(topic.partitions.iter().map(|partition| partition.high_watermark.value()).sum())
    }

    /// Waits until readers see this many records of a new topic, and fails if there are more.
    async fn expect_records(&self, topic: &str, count: u64) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let visible = self.count_records(topic).await?;
            if visible == count {
                return Ok(());
            }
            let is_late = SYNCS_WAIT_MAX < began.elapsed();
            ensure!(visible < count && !is_late, "{topic} holds {visible} records instead of {count}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A topic name that is unique to this row and round.
    fn topic(&self, row: &str) -> String {
        format!("{row}-{}", self.round)
    }

    /// The topic that rows with many partitions share for some rounds.
    fn shared_topic(&self) -> String {
        format!("partitions-{}", self.round / self.amounts.topic_rounds)
    }

    /// Deletes the shared topic after the last of its rounds.
    pub(super) async fn end_round(&self) -> anyhow::Result<()> {
        let last = (self.round + 1).is_multiple_of(self.amounts.topic_rounds);
        if last && self.has_topic(&self.shared_topic()).await? {
            self.delete(&self.shared_topic()).await
        } else {
            Ok(())
        }
    }

    /// Touches the memory that the next work needs, page cache included, and resets the broker's peak memory.
    fn warm_up(&self, bytes: u64) -> anyhow::Result<()> {
        machine::touch_memory(bytes + OWN_MEMORY)?;
        machine::reset_peak_memory(self.broker.process)
    }

    /// Waits until the broker is idle, so that background work of the previous row is not measured.
    async fn settle(&self) -> anyhow::Result<()> {
        let (mut quiet, mut before) = (0, self.broker.cpu_seconds()?);
        for _ in 0..600 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = self.broker.cpu_seconds()?;
            quiet = if now - before < 0.02 { quiet + 1 } else { 0 };
            if quiet == 3 {
                return Ok(());
            }
            before = now;
        }
        anyhow::bail!("the broker did not become idle within 60 s")
    }

    async fn delete(&self, topic: &str) -> anyhow::Result<()> {
        Ok(self.broker.client().await?.admin().delete_topic(topic).await?)
    }

    fn add_peak_memory(&self, row: &str, report: &mut BenchReport) -> anyhow::Result<()> {
        let bytes = machine::peak_memory(self.broker.process)?;
        report.add(format!("{row}-peak-memory"), mib(bytes), "MiB");
        Ok(())
    }
}

/// The longest wait for syncs of all partitions of a new topic, on a slow disk.
const SYNCS_WAIT_MAX: Duration = Duration::from_secs(120);

/// Memory of broker and bench during the work, with a margin.
const OWN_MEMORY: u64 = 128 << 20;

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
