//! `partitions-1000-consume`, `partitions-10000-*`: one reader of many partitions, compared with a reader of one.
//!
//! Every reader is a `grower-cli` in a process of its own. The topics that are read from the beginning hold the same
//! number of records in batches of the same size, and are filled once; the reader counts the records, and the rows of
//! few partitions compare their bytes.

mod trickle;

use super::{RowContext, mib, millis};
use crate::bench::command_line::{LoadResult, ReadResult};
use crate::bench::report::BenchReport;
use crate::bench::workload::Workload;
use grower_client::{Acks, TopicSpec};
use std::time::Duration;
use tokio::time::sleep;

const SIZE: usize = 1024;
/// Records per batch. Ten are a batch of 10 KiB.
const BATCH: u32 = 10;

/// One in five partitions stays empty: each one that is written to needs two descriptors, and a limit of 20,000 is
/// usual.
const EMPTY_EACH: u32 = 5;

/// The work of one reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) enum ManyPartitionsRow {
    /// Waits for ten records a second in ten thousand partitions.
    Trickle,
    /// Waits for one record at a time in ten thousand partitions.
    EndToEnd,
    /// Reads a thousand partitions from the beginning.
    ConsumeThousand,
    /// Reads ten thousand partitions from the beginning.
    Consume,
}

impl ManyPartitionsRow {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Trickle => "partitions-10000-trickle",
            Self::EndToEnd => "partitions-10000-end-to-end",
            Self::ConsumeThousand => "partitions-1000-consume",
            Self::Consume => "partitions-10000-consume",
        }
    }

    pub(super) async fn measure(self, context: RowContext<'_>, report: &mut BenchReport) -> anyhow::Result<()> {
        for _ in 0..context.amounts.many_rounds {
            match self {
                Self::Trickle => self.trickle(&context, report).await?,
                Self::EndToEnd => self.end_to_end(&context, report).await?,
                Self::ConsumeThousand => self.consume(&context, context.amounts.partitions, report).await?,
                Self::Consume => self.consume(&context, context.amounts.many, report).await?,
            }
        }
        Ok(())
    }

    async fn consume(self, context: &RowContext<'_>, partitions: u32, report: &mut BenchReport) -> anyhow::Result<()> {
        let name = self.name();
        let (base, _) = FilledTopic::prepare(context, 1).await?.read(context).await?;
        let (reading, server) = FilledTopic::prepare(context, partitions).await?.read(context).await?;
        report.add_with_limit(name, reading.rate() / 1e6, "MB/s", base.rate() / 1e6);
        report.add(format!("{name}-of-1"), base.rate() / 1e6, "MB/s");
        report.add(format!("{name}-first-record"), millis(reading.until_first()), "ms");
        report.add(format!("{name}-of-1-first-record"), millis(base.until_first()), "ms");
        report.add(format!("{name}-client-cpu"), reading.processor_seconds, "s");
        report.add(format!("{name}-of-1-client-cpu"), base.processor_seconds, "s");
        report.add(format!("{name}-server-cpu"), server, "s");
        report.add(format!("{name}-client-memory"), mib(reading.peak_memory_bytes), "MiB");
        report.add(format!("{name}-of-1-client-memory"), mib(base.peak_memory_bytes), "MiB");
        context.add_peak_memory(name, report)
    }

    async fn end_to_end(self, context: &RowContext<'_>, report: &mut BenchReport) -> anyhow::Result<()> {
        let name = self.name();
        let base = one_by_one(context, 1).await?;
        let result = one_by_one(context, context.amounts.many).await?;
        report.add_with_limit(name, millis(result.p50()), "ms", millis(base.p50()));
        report.add(format!("{name}-of-1"), millis(base.p50()), "ms");
        report.add_with_limit(format!("{name}-p99"), millis(result.p99()), "ms", millis(base.p99()));
        report.add(format!("{name}-of-1-p99"), millis(base.p99()), "ms");
        Ok(())
    }

    async fn trickle(self, context: &RowContext<'_>, report: &mut BenchReport) -> anyhow::Result<()> {
        let name = self.name();
        sleep(CHECKPOINTS_END).await; // Earlier rows wrote to thousands of partitions.
        let base = trickle::measure(context, 1).await?;
        let shares = trickle::measure(context, context.amounts.many).await?;
        report.add(name, shares.server * 100.0, "% of core");
        report.add(format!("{name}-of-1"), base.server * 100.0, "% of core");
        report.add(format!("{name}-client"), shares.client * 100.0, "% of core");
        report.add(format!("{name}-of-1-client"), base.client * 100.0, "% of core");
        Ok(())
    }
}

/// The time until the broker has begun the last checkpoint of a partition without further records.
const CHECKPOINTS_END: Duration = Duration::from_secs(11);

/// A topic that rows share.
struct FilledTopic {
    name: String,
}

impl FilledTopic {
    /// Creates the topic on first use, and fills its partitions.
    async fn prepare(context: &RowContext<'_>, partitions: u32) -> anyhow::Result<Self> {
        let topic = Self { name: format!("many-{partitions}") };
        if !context.has_topic(&topic.name).await? {
            let filled = partitions - partitions / EMPTY_EACH;
            let count = context.amounts.many_records / u64::from(filled);
            let writing = Workload::new(&topic.name, 1, count, SIZE);
            let writing = Workload { partitions: filled, batch_records: Some(BATCH), acks: Acks::Leader, ..writing };
            context.warm_up(writing.bytes())?;
            let spec = TopicSpec::partitions(partitions);
            context.broker.client().await?.admin().create_topic(&topic.name, spec).await?;
            writing.run(context.broker).await?;
            context.expect_records(&topic.name, writing.records()).await?;
        }
        Ok(topic)
    }

    /// Reads the topic. Returns the processor seconds of the broker, too.
    async fn read(&self, context: &RowContext<'_>) -> anyhow::Result<(ReadResult, f64)> {
        let records = context.count_records(&self.name).await?;
        context.settle().await?;
        context.warm_up(0)?; // The data is in the page cache.
        let before = context.broker.cpu_seconds()?;
        let reading = context.command_line().consume(&self.name, records, &[]).await?;
        Ok((reading, context.broker.cpu_seconds()? - before))
    }
}

/// Sends records one by one, in turn to ten partitions or fewer of a new topic. No filled topic has checkpoints to
/// write meanwhile.
async fn one_by_one(context: &RowContext<'_>, partitions: u32) -> anyhow::Result<LoadResult> {
    let topic = format!("end-to-end-{partitions}");
    context.settle().await?;
    let (size, partitions) = (SIZE.to_string(), partitions.to_string());
    let arguments = ["--size", &size, "--partitions", &partitions, "--keys", "10"];
    let result = context.command_line().end_to_end(&topic, context.amounts.many_singles, &arguments).await?;
    context.delete(&topic).await?;
    Ok(result)
}
