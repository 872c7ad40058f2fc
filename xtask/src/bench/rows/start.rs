//! `start`, `restart-10g`: time until the daemon is ready, on an empty directory and after a kill.

use super::{RowContext, millis};
use crate::bench::bench_broker::{BenchBroker, Daemon};
use crate::bench::machine;
use crate::bench::report::BenchReport;
use crate::bench::workload::Workload;
use anyhow::{Context, ensure};
use grower_client::StartFrom;
use grower_client::ids::{Offset, PartitionId};
use std::path::Path;

pub(super) async fn measure(context: RowContext<'_>, report: &mut BenchReport) -> anyhow::Result<()> {
    for at in 0..context.amounts.starts {
        let daemon = Daemon::start(context.program, &context.directory.join(format!("start-{at}"))).await?;
        report.add("start", millis(daemon.start), "ms");
        daemon.kill().await?;
    }
    Ok(())
}

const RECORD: usize = 1024;
const RESTARTS: u32 = 3;
/// Records written between a restart and the next kill.
const MORE: u64 = 64 << 10;

/// Kills the daemon right after its last ack, before any idle work, and checks that all records are there.
pub(super) async fn measure_restart(context: RowContext<'_>, report: &mut BenchReport) -> anyhow::Result<()> {
    let gib = context.amounts.restart_gib;
    let name = format!("restart-{gib}g"); // A smaller log gets a name of its own.
    let (needed, free) = ((gib + 2) << 30, machine::free_bytes(context.directory)?);
    if free < needed {
        println!("{name} is skipped: it needs {} GiB of disk, and {} GiB are free", needed >> 30, free >> 30);
        return Ok(());
    }
    let directory = context.directory.join("restart");
    let mut daemon = Daemon::start(context.program, &directory).await?;
    let writing = Workload::new("log", 1, (gib << 20).max(MORE), RECORD);
    writing.create_topic(daemon.broker()).await?;
    writing.run(daemon.broker()).await?;
    let mut records = writing.count;
    for _ in 0..RESTARTS {
        daemon = restart(daemon, context.program, &directory).await?;
        report.add(&name, millis(daemon.start), "ms");
        check_end(daemon.broker(), records).await?;
        Workload { count: MORE, ..writing.clone() }.run(daemon.broker()).await?;
        records += MORE;
    }
    daemon.kill().await?;
    Ok(std::fs::remove_dir_all(directory)?)
}

async fn restart(daemon: Daemon, program: &Path, directory: &Path) -> anyhow::Result<Daemon> {
    daemon.kill().await?;
    Daemon::start(program, directory).await
}

/// Checks that the last acknowledged record can be read, and is the last one.
async fn check_end(broker: &BenchBroker, records: u64) -> anyhow::Result<()> {
    let client = broker.client().await?;
    let last = Offset::new(records - 1);
    let builder = client.consumer().assign([("log", PartitionId::new(0))]).from(StartFrom::Offset(last));
    let mut consumer = builder.build().await?;
    let record = consumer.next().await.context("the consumer was closed")??;
    ensure!(record.offset == last, "offset {} arrived instead of {}", record.offset.value(), last.value());
    let end = consumer.high_watermark("log", PartitionId::new(0)).context("no high watermark")?;
    ensure!(end.value() == records, "the log ends at {}, and {records} records were acknowledged", end.value());
    Ok(consumer.close().await?)
}
