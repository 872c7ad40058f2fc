//! `cargo xtask bench`: what the real daemon does on a real file system, beside a program that does only what must be done.
//!
//! Absolute figures move with the machine, so each figure comes with its ratio to that limit, measured in the same round.
//! Every figure is the median of the rounds. Memory is touched before, because first touches cost more than writing.

mod daemon;
mod limit;
mod load;
mod machine;
mod report;

use crate::workspace::{cargo, must_succeed, root};
use anyhow::{Context, ensure};
use clap::Args;
use daemon::Daemon;
use load::Load;
use report::{Figure, Report};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// Measures the real daemon beside a limit program that moves the same bytes.
#[derive(Args)]
pub(crate) struct Bench {
    /// Three short rounds, under a minute; without it, seven longer ones
    #[arg(long)]
    quick: bool,
    /// Writes the figures as a list of {"name","value","unit","ratio"}
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where to put the data: a real file system; target/ unless given
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// How much a run moves.
struct Amounts {
    rounds: u32,
    /// Records of 1 KiB.
    large: u64,
    /// Records of 100 bytes.
    small: u64,
    /// Records sent one at a time.
    single: u32,
}

impl Bench {
    /// Builds daemon and bench in release mode, then measures.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if cfg!(debug_assertions) {
            return run_in_release();
        }
        let amounts = if self.quick {
            Amounts { rounds: 3, large: 300_000, small: 1_000_000, single: 500 }
        } else {
            Amounts { rounds: 7, large: 1_000_000, small: 3_000_000, single: 2_000 }
        };
        let base = self.dir.clone().unwrap_or_else(|| root().join("target"));
        let directory = tempfile::Builder::new().prefix("bench-").tempdir_in(&base);
        let directory = directory.with_context(|| format!("cannot write to {}", base.display()))?;
        let file_system = machine::file_system(directory.path())?;
        ensure!(
            !matches!(file_system.as_str(), "tmpfs" | "ramfs" | "devtmpfs"),
            "{} is in memory ({file_system}), where a sync costs nothing; name a real file system with --dir",
            base.display()
        );
        let mut report = Report::new();
        let sync = machine::fdatasync_p50(directory.path())?;
        println!("{file_system} at {}, fdatasync of a 4 KiB append: p50 {} us", base.display(), sync.as_micros());
        report.add(Figure::plain("fdatasync_p50", sync.as_micros() as f64, "us"));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(measure(&amounts, directory.path(), &mut report))?;
        report.print();
        match &self.json {
            Some(file) => report.write(file),
            None => Ok(()),
        }
    }
}

/// A load generator built for debugging would be what is measured.
fn run_in_release() -> anyhow::Result<()> {
    must_succeed(cargo().args(["build", "--release", "--package", "grower-broker", "--package", "xtask"]))?;
    let program = root().join("target/release/xtask");
    Err(Command::new(program).args(std::env::args_os().skip(1)).exec())
        .context("cannot start the release build of xtask")
}

async fn measure(amounts: &Amounts, directory: &std::path::Path, report: &mut Report) -> anyhow::Result<()> {
    let daemon = Daemon::start(&directory.join("broker")).await?;
    let load = Load::connect(daemon.address()).await?;
    for round in 0..amounts.rounds {
        machine::touch_memory(2 * amounts.large * 1024 + (512 << 20))?;
        let cpu = machine::cpu_seconds(std::process::id())? + daemon.cpu_seconds()?;
        let others = machine::cpu_seconds_of_all()?;
        let topics = load.create_topics(round).await?;

        let bytes = amounts.large * 1024;
        let limit = limit::produce(directory, bytes).await?;
        let ours = load.produce(&topics.large, amounts.large, 1024).await?;
        report.add_to("produce_1k", bytes, amounts.large, ours, limit);
        let limit = limit::consume(directory, bytes).await?;
        let ours = load.consume(&topics.large, amounts.large, 1024).await?;
        report.add_to("consume_1k", bytes, amounts.large, ours, limit);
        let bytes = amounts.small * 100;
        let limit = limit::produce(directory, bytes).await?;
        let ours = load.produce(&topics.small, amounts.small, 100).await?;
        report.add_to("produce_100b", bytes, amounts.small, ours, limit);
        let limit = limit::single(directory, amounts.single).await?;
        let ours = load.single(&topics.single, amounts.single).await?;
        report.add(Figure::latency("single_p50", ours, limit));

        let used = machine::cpu_seconds(std::process::id())? + daemon.cpu_seconds()? - cpu;
        report.neighbours((machine::cpu_seconds_of_all()? - others - used).max(0.0));
        load.delete_topics(&topics).await?;
    }
    report.add(Figure::plain("broker_cpu", daemon.cpu_seconds()?, "s"));
    report.add(Figure::plain("client_and_limit_cpu", machine::cpu_seconds(std::process::id())?, "s"));
    report.add(Figure::plain(
        "broker_peak_memory",
        machine::peak_memory(daemon.id())? as f64 / f64::from(1 << 20),
        "MiB",
    ));
    daemon.stop().await
}
