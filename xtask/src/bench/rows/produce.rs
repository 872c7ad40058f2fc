//! `produce-*`: batched records, every ack fsynced, compared with the limit, then read back.

use super::RowContext;
use crate::bench::ledger::Ledger;
use crate::bench::limit;
use crate::bench::meter::Cost;
use crate::bench::report::BenchReport;
use crate::bench::workload::{Workload, read_back};

pub(super) async fn measure(
    name: &str,
    size: usize,
    writers: u32,
    context: RowContext<'_>,
    report: &mut BenchReport,
) -> anyhow::Result<()> {
    let count = if size < 1024 { context.amounts.small } else { context.amounts.large };
    let writing = Workload::new(&context.topic(name), writers, count / u64::from(writers), size);
    context.warm_up(2 * writing.bytes())?; // Includes the file of the limit.
    writing.create_topic(context.broker).await?;
    let limit = limit::produce(context.directory, writing.bytes()).await?;
    let cost = writing.run(context.broker).await?;
    let per_second = |count: u64| count as f64 / cost.took.as_secs_f64();
    let limit = |count: u64| count as f64 / limit.as_secs_f64();
    let (bytes, records) = (writing.bytes(), writing.records());
    if size < 1024 {
        report.add_with_limit(name, per_second(records), "records/s", limit(records));
    } else {
        report.add_with_limit(name, per_second(bytes) / 1e6, "MB/s", limit(bytes) / 1e6);
    }
    report.add(format!("{name}-limit"), limit(bytes) / 1e6, "MB/s");
    add_cost(name, cost, report);
    context.add_peak_memory(name, report)?;
    read_back(context.broker, &writing.topic, Ledger::new(1, size, writing.shares().collect())).await?;
    context.delete(&writing.topic).await
}

/// Adds the processor seconds of client and broker.
pub(super) fn add_cost(name: &str, cost: Cost, report: &mut BenchReport) {
    report.add(format!("{name}-client-cpu"), cost.client, "s");
    report.add(format!("{name}-server-cpu"), cost.server, "s");
}
