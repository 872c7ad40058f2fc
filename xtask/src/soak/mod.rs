//! `cargo xtask soak`: runs two daemons under mixed load, and checks that they stay the same.
//!
//! One daemon has plenty of resources, the other one little ([`limited`]). At the end memory and descriptors must not
//! have grown since the first third of the time ([`flat`]), and every acknowledged record must be there, once and in
//! order.

mod flat;
mod limited;
mod loads;
mod sample;
mod tally;

use crate::bench::bench_broker::{BenchBroker, Daemon, release_build};
use crate::bench::machine;
use crate::bench::{real_directory, run_in_release};
use crate::interrupt::unless_interrupted;
use crate::preload::PreloadedLibrary;
use crate::stop::{Stop, Stopper};
use anyhow::{Context, ensure};
use clap::Args;
use loads::{Load, WrittenTopic};
use sample::Sample;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tally::Tally;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// Runs the daemon under mixed load and checks that memory and descriptors stay flat.
#[derive(Args)]
#[command(
    after_help = "Loads: batched, single, compressed and leader-acked producers, each checked against a ledger; a flood under \
retention; a group with members that leave or are killed; a slow consumer and stalled readers; topics that are \
created and deleted; a compacted topic; backups; HTTP scrapes; idle connections.

A second daemon has 256 descriptors, 16 MiB of memory and a clock that jumps by up to 30 days and back. Its loads: a topic \
with more segments than descriptors; topics that are deleted and created again while producers with little memory write; a topic \
whose `flush` is altered; clients that leave during a long poll; a reader that retention overtakes. It needs a C compiler.

Exits 1 if a load fails, if an acknowledged record is missing, or if the median memory or descriptors of the last third of the \
time exceed those of the middle third by more than 10 % (and 8 MiB, or 8 descriptors)."
)]
pub(crate) struct Soak {
    /// Duration in minutes
    #[arg(long, value_name = "N", default_value_t = 30.0)]
    minutes: f64,
    /// Seconds between lines of output
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// The folder of the data, on a real file system [default: target/]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Soak {
    /// Builds the daemon in release mode, then puts it under load.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if cfg!(debug_assertions) {
            return run_in_release();
        }
        let duration = Duration::try_from_secs_f64(self.minutes * 60.0).context("--minutes takes a positive number")?;
        let directory = real_directory(self.dir.as_deref(), "soak-")?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let is_enough = |elapsed: Duration, _: &Tally| duration <= elapsed;
        runtime.block_on(unless_interrupted(async {
            println!("{}", Sample::HEADINGS);
            let (usual, limited) = (
                start_usual(directory.path()).await?,
                limited::start(&release_build("grower-broker"), directory.path()).await?,
            );
            let every = Duration::from_secs(self.every);
            tokio::try_join!(
                soak_daemon(usual, Load::usual(), every, is_enough),
                soak_daemon(limited, Load::limited(), every, is_enough)
            )?;
            println!("memory and descriptors are flat");
            Ok(())
        }))
    }
}

/// Starts the daemon with plenty of resources.
async fn start_usual(directory: &Path) -> anyhow::Result<(Daemon, SoakTarget)> {
    let (data_dir, backups) = (directory.join("broker"), directory.join("backups"));
    let settings = [("GROWER__BACKUP__DIR", backups.as_path())];
    let daemon = Daemon::start_with(&settings, &release_build("grower-broker"), &data_dir).await?;
    let (broker, http) = (daemon.broker().clone(), daemon.http().to_owned());
    Ok((daemon, SoakTarget { name: "usual", broker, http, data_dir, clock: None }))
}

/// Puts a daemon under load, kills it, and checks its samples.
async fn soak_daemon(
    (daemon, target): (Daemon, SoakTarget),
    loads: Vec<Load>,
    every: Duration,
    is_enough: impl Fn(Duration, &Tally) -> bool,
) -> anyhow::Result<()> {
    let soaked = soak(&target, loads, every, is_enough).await;
    let last_lines = daemon.kill_and_read_log().await?;
    if soaked.is_err() {
        eprintln!("the {} daemon logged last:\n{}", target.name, last_lines.join("\n"));
    }
    flat::check(&soaked?).with_context(|| target.name)
}

/// A daemon under load.
#[derive(Clone, Debug)]
struct SoakTarget {
    /// The name of the daemon.
    name: &'static str,
    broker: BenchBroker,
    http: String,
    data_dir: PathBuf,
    /// Its clock, if it can be shifted.
    clock: Option<PreloadedLibrary>,
}

/// Runs the loads until `is_enough`, takes samples, then reads back the records.
async fn soak(
    target: &SoakTarget,
    loads: Vec<Load>,
    every: Duration,
    is_enough: impl Fn(Duration, &Tally) -> bool,
) -> anyhow::Result<Vec<Sample>> {
    let (stopper, tally) = (Stopper::default(), Arc::new(Tally::default()));
    let mut running = JoinSet::new();
    for load in &loads {
        load.prepare(&target.broker).await.with_context(|| load.name())?;
    }
    for load in loads {
        let (target, stop, tally) = (target.clone(), stopper.subscribe(), tally.clone());
        running.spawn(async move { run_until_stop(load, &target, stop, &tally).await.with_context(|| load.name()) });
    }
    let began = Instant::now();
    let mut samples = Vec::new();
    while !is_enough(began.elapsed(), &tally) {
        sleep(every).await;
        if let Some(failed) = running.try_join_next() {
            failed??; // Before the stop a load ends only with an error.
        }
        let sample = Sample::take(target, began.elapsed(), &tally, samples.last())?;
        println!("{sample}");
        samples.push(sample);
    }
    stopper.stop_all();
    let mut written = Vec::new();
    while let Some(ended) = running.join_next().await {
        written.extend(ended??);
    }
    read_back(target, written, &tally).await?;
    Ok(samples)
}

/// Runs a load. Fails if it ends before the stop.
async fn run_until_stop(
    load: Load,
    target: &SoakTarget,
    stop: Stop,
    tally: &Tally,
) -> anyhow::Result<Option<WrittenTopic>> {
    let written = load.run(target, stop.clone(), tally).await?;
    ensure!(stop.is_requested(), "ended early");
    Ok(written)
}

async fn read_back(target: &SoakTarget, written: Vec<WrittenTopic>, tally: &Tally) -> anyhow::Result<()> {
    if 0 < tally.joins.get() {
        loads::finish_group(&target.broker, &written, tally).await?;
    }
    let mut records = 0;
    for written in written {
        ensure!(0 < written.count, "{} was never written to", written.topic);
        records += written.count * u64::from(written.partitions);
        written.read_back(&target.broker).await?;
    }
    let peak = machine::peak_memory(target.broker.process)? >> 20;
    let name = target.name;
    println!("{name}: {records} acknowledged records are there, in order; peak memory: {peak} MiB");
    Ok(())
}

#[cfg(test)]
mod tests;
