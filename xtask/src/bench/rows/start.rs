//! `start`, `restart-10g`: how long until the daemon is ready, on an empty directory and after a kill.

use super::{Ground, millis};
use crate::bench::machine;
use crate::bench::report::Report;
use crate::bench::site::{Daemon, Site};
use crate::bench::writers::Writing;
use anyhow::{Context, ensure};
use grower_client::StartFrom;
use grower_client::ids::{Offset, PartitionId};
use std::path::Path;

pub(super) async fn measure(ground: Ground<'_>, report: &mut Report) -> anyhow::Result<()> {
    for at in 0..ground.amounts.starts {
        let daemon = Daemon::start(ground.program, &ground.directory.join(format!("start-{at}"))).await?;
        report.add("start", millis(daemon.start), "ms");
        daemon.kill().await?;
    }
    Ok(())
}

const RECORD: usize = 1024;
const RESTARTS: u32 = 3;
/// Written between a restart and the next kill, in records.
const MORE: u64 = 64 << 10;

/// Kills it right after its last ack, while nothing was idle yet, and looks whether all records are there.
pub(super) async fn measure_restart(ground: Ground<'_>, report: &mut Report) -> anyhow::Result<()> {
    let gib = ground.amounts.restart_gib;
    let name = format!("restart-{gib}g"); // A smaller log never goes by the row's name.
    let (needed, free) = ((gib + 2) << 30, machine::free_bytes(ground.directory)?);
    if free < needed {
        println!("{name} is left out: it needs {} GiB of disk, and {} are free", needed >> 30, free >> 30);
        return Ok(());
    }
    let directory = ground.directory.join("restart");
    let mut daemon = Daemon::start(ground.program, &directory).await?;
    let writing = Writing::new("log", 1, (gib << 20).max(MORE), RECORD);
    writing.create_topic(daemon.site()).await?;
    writing.run(daemon.site()).await?;
    let mut records = writing.count;
    for _ in 0..RESTARTS {
        daemon = restart(daemon, ground.program, &directory).await?;
        report.add(&name, millis(daemon.start), "ms");
        check_end(daemon.site(), records).await?;
        Writing { count: MORE, ..writing.clone() }.run(daemon.site()).await?;
        records += MORE;
    }
    daemon.kill().await?;
    Ok(std::fs::remove_dir_all(directory)?)
}

async fn restart(daemon: Daemon, program: &Path, directory: &Path) -> anyhow::Result<Daemon> {
    daemon.kill().await?;
    Daemon::start(program, directory).await
}

/// The last record that was acknowledged can be read, and is the last one.
async fn check_end(site: &Site, records: u64) -> anyhow::Result<()> {
    let client = site.client().await?;
    let last = Offset::new(records - 1);
    let builder = client.consumer().assign([("log", PartitionId::new(0))]).from(StartFrom::Offset(last));
    let mut consumer = builder.build().await?;
    let record = consumer.next().await.context("the consumer was closed")??;
    ensure!(record.offset == last, "offset {} came for {}", record.offset.value(), last.value());
    let end = consumer.high_watermark("log", PartitionId::new(0)).context("no high watermark")?;
    ensure!(end.value() == records, "{} records are there, and {records} were acknowledged", end.value());
    Ok(consumer.close().await?)
}
