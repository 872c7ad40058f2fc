//! `consume-1k-group`: one member of a group reads eight partitions from the beginning, compared with the limit.
//!
//! An unmeasured pass compares every byte. `grower-cli bench consume` counts every record, in a process of its own. The
//! rate is that after the first record: joining the group has a figure of its own.

use super::{RowContext, mib, millis};
use crate::bench::ledger::Ledger;
use crate::bench::limit;
use crate::bench::report::BenchReport;
use crate::bench::workload::{Workload, read_back};

const NAME: &str = "consume-1k-group";
const SIZE: usize = 1024;
const PARTITIONS: u32 = 8;

pub(super) async fn measure(context: RowContext<'_>, report: &mut BenchReport) -> anyhow::Result<()> {
    let topic = context.topic(NAME);
    let count = context.amounts.large / u64::from(PARTITIONS);
    let writing = Workload { partitions: PARTITIONS, ..Workload::new(&topic, 1, count, SIZE) };
    context.warm_up(2 * writing.bytes())?; // Includes the file of the limit.
    writing.create_topic(context.broker).await?;
    writing.run(context.broker).await?;
    read_back(context.broker, &topic, Ledger::new(PARTITIONS, SIZE, writing.shares().collect())).await?;
    let bytes = writing.bytes();
    let limit = bytes as f64 / limit::consume(context.directory, bytes).await?.as_secs_f64() / 1e6;
    let before = context.broker.cpu_seconds()?;
    let reading = context.command_line().consume(&topic, writing.records(), &["--group", &topic]).await?;
    let server = context.broker.cpu_seconds()? - before;
    report.add_with_limit(NAME, reading.rate() / 1e6, "MB/s", limit);
    report.add(format!("{NAME}-limit"), limit, "MB/s");
    report.add(format!("{NAME}-first-record"), millis(reading.until_first()), "ms");
    report.add(format!("{NAME}-client-busy"), reading.busy_share(), "cores");
    report.add(format!("{NAME}-client-cpu"), reading.processor_seconds, "s");
    report.add(format!("{NAME}-server-cpu"), server, "s");
    report.add(format!("{NAME}-client-memory"), mib(reading.peak_memory_bytes), "MiB");
    context.delete(&topic).await
}
