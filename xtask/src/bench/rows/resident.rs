//! `idle`, `idle-1000`: memory of an idle daemon, and the duration of a metrics scrape.

use super::{RowContext, mib, millis};
use crate::bench::bench_broker::{BenchBroker, Daemon, get};
use crate::bench::machine;
use crate::bench::report::BenchReport;
use anyhow::ensure;
use grower_client::TopicSpec;
use std::time::{Duration, Instant};
use tokio::time::sleep;

const SCRAPES: u32 = 9;

pub(super) async fn measure(context: RowContext<'_>, report: &mut BenchReport) -> anyhow::Result<()> {
    let daemon = Daemon::start(context.program, &context.directory.join("idle")).await?;
    report.add("idle", mib(settled(daemon.broker()).await?), "MiB");
    daemon.kill().await
}

/// Measures new partitions, and the same ones after a restart.
pub(super) async fn measure_partitions(context: RowContext<'_>, report: &mut BenchReport) -> anyhow::Result<()> {
    let directory = context.directory.join("idle-1000");
    let daemon = Daemon::start(context.program, &directory).await?;
    let spec = TopicSpec::partitions(context.amounts.partitions);
    daemon.broker().client().await?.admin().create_topic("idle", spec).await?;
    report.add("idle-1000", mib(settled(daemon.broker()).await?), "MiB");
    daemon.kill().await?;
    let daemon = Daemon::start(context.program, &directory).await?;
    report.add("idle-1000-restarted", mib(settled(daemon.broker()).await?), "MiB");
    scrape(&daemon, context.amounts.partitions, report).await?;
    daemon.kill().await
}

/// Measures a scrape of the metrics of all partitions.
async fn scrape(daemon: &Daemon, partitions: u32, report: &mut BenchReport) -> anyhow::Result<()> {
    for _ in 0..SCRAPES {
        let began = Instant::now();
        let page = get(daemon.http(), "/metrics").await?;
        report.add("scrape-1000", millis(began.elapsed()), "ms");
        let last = format!("partition=\"{}\"", partitions - 1);
        ensure!(page.contains(&last), "the metrics lack the last partition");
    }
    Ok(())
}

/// Returns the largest of several samples within a second.
async fn settled(broker: &BenchBroker) -> anyhow::Result<u64> {
    let mut most = 0;
    for _ in 0..5 {
        sleep(Duration::from_millis(200)).await;
        most = most.max(machine::resident_memory(broker.process)?);
    }
    Ok(most)
}
