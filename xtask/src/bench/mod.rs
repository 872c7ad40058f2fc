//! `cargo xtask bench`: what the real daemon does on a real file system, beside a program that does only what must be done.
//!
//! Absolute figures move with the machine, so each figure that has a limit comes with its ratio to it, measured in the
//! same round. Every figure is the median of the rounds. Memory is touched before, because first touches cost more than
//! writing. Every record has a result, and every record is read back.
//!
//! Where the time of a row goes, a profiler tells that looks at the daemon while the row runs:
//!
//! ```text
//! CARGO_PROFILE_RELEASE_DEBUG=line-tables-only RUSTFLAGS=-Cforce-frame-pointers=yes cargo xtask bench --only produce-1k-8 &
//! perf record -g -p "$(pgrep -nx grower-broker)" -- sleep 5 && perf report
//! strace -c -f -p "$(pgrep -nx grower-broker)" # Which system calls, and how many of each.
//! ```
//!
//! It runs through all of a row's rounds, while a limit program has the processor and while everything is read back as well.

mod amounts;
pub(crate) mod bench_broker;
mod demands;
mod latencies;
pub(crate) mod ledger;
mod limit;
pub(crate) mod machine;
mod meter;
mod report;
mod rows;
pub(crate) mod stalled_reader;
pub(crate) mod values;
pub(crate) mod workload;

use crate::interrupt::unless_interrupted;
use crate::workspace::{cargo, must_succeed, root};
use amounts::Amounts;
use anyhow::{Context, ensure};
use bench_broker::{Daemon, release_build};
use clap::Args;
use report::BenchReport;
use rows::{BenchRow, ROWS, RowContext};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use tempfile::TempDir;

/// Measures the real daemon beside a limit program that moves the same bytes.
#[derive(Args)]
#[command(after_help = "A ratio is the value by the limit's: of a rate the more the better, of a time the less. \
Limits: for produce-* and consume-1k a program that moves the same bytes of values and does nothing that could be left \
out; for single-* an fdatasync (if the ack waits for one) and a round trip; for partitions-1000-leader the same into one \
partition; for partitions-1000-fixed what is offered; for crowd the same with nobody else there.")]
pub(crate) struct Bench {
    /// Three short rounds, under a minute; without it, five longer ones
    #[arg(long)]
    quick: bool,
    /// Writes the figures as a list of {"name","value","unit","ratio"}
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only the row of this name, or all whose names begin so; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Also tells how long each row kept us
    #[arg(long)]
    timings: bool,
    /// Where to put the data: a real file system; target/ unless given
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Bench {
    /// Builds daemon and bench in release mode, then measures.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if cfg!(debug_assertions) {
            return run_in_release();
        }
        let amounts = if self.quick { Amounts::quick() } else { Amounts::full() };
        let rows = chosen(&self.only)?;
        let directory = real_directory(self.dir.as_deref(), "bench-")?;
        machine::raise_open_files()?;
        let mut report = BenchReport::default();
        let sync = machine::fdatasync_p50(directory.path())?;
        let file_system = machine::file_system(directory.path())?;
        println!("{file_system}, fdatasync of a 4 KiB append: p50 {} us", sync.as_micros());
        report.add("fdatasync-p50", sync.as_secs_f64() * 1e3, "ms");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(unless_interrupted(measure(&rows, &amounts, directory.path(), &mut report)))?;
        report.print();
        if self.timings {
            report.print_timings();
        }
        match &self.json {
            Some(file) => report.write(file),
            None => Ok(()),
        }
    }
}

/// The rows with these names, or whose names begin so; all if none is named.
fn chosen(only: &[String]) -> anyhow::Result<Vec<BenchRow>> {
    let mut chosen = Vec::new();
    for wanted in only {
        let exact = ROWS.iter().any(|row| row.name() == wanted);
        let is = |row: &&BenchRow| if exact { row.name() == wanted } else { row.name().starts_with(wanted.as_str()) };
        let before = chosen.len();
        chosen.extend(ROWS.iter().filter(is));
        ensure!(before < chosen.len(), "no row is called {wanted}; there are: {}", ROWS.map(BenchRow::name).join(", "));
    }
    Ok(if only.is_empty() { ROWS.to_vec() } else { chosen })
}

/// A new directory on a file system that is on a disk; deleted in the end.
pub(crate) fn real_directory(base: Option<&Path>, prefix: &str) -> anyhow::Result<TempDir> {
    let base = base.map_or_else(|| root().join("target"), Path::to_owned);
    let directory = tempfile::Builder::new().prefix(prefix).tempdir_in(&base);
    let directory = directory.with_context(|| format!("cannot write to {}", base.display()))?;
    let file_system = machine::file_system(directory.path())?;
    ensure!(
        !matches!(file_system.as_str(), "tmpfs" | "ramfs" | "devtmpfs"),
        "{} is in memory ({file_system}), where a sync costs nothing; name a real file system with --dir",
        base.display()
    );
    Ok(directory)
}

/// A load generator built for debugging would be what is measured.
pub(crate) fn run_in_release() -> anyhow::Result<()> {
    must_succeed(cargo().args(["build", "--release", "--package", "grower-broker", "--package", "xtask"]))?;
    must_succeed(cargo().args(["bench", "--quiet", "--no-run", "--package", "grower-storage", "--bench", "lookup"]))?;
    let program = root().join("target/release/xtask");
    Err(Command::new(program).args(std::env::args_os().skip(1)).exec())
        .context("cannot start the release build of xtask")
}

/// Loads take turns, round by round, on one broker; then comes what needs brokers of its own.
async fn measure(
    rows: &[BenchRow],
    amounts: &Amounts,
    directory: &Path,
    report: &mut BenchReport,
) -> anyhow::Result<()> {
    let (program, broker) = (release_build(), directory.join("broker"));
    let daemon = Daemon::start(&program, &broker).await?;
    let mut context = RowContext { broker: daemon.broker(), program: &program, directory, amounts, round: 0 };
    for round in 0..amounts.rounds {
        context.round = round;
        let (others, ours) = (machine::cpu_seconds_of_all()?, processor_seconds(&context)?);
        for row in rows.iter().filter(|row| row.is_load()) {
            timed(*row, context, report).await?;
        }
        context.end_round().await?;
        let ours = processor_seconds(&context)? - ours;
        report.neighbours(machine::cpu_seconds_of_all()? - others - ours);
    }
    for row in rows.iter().filter(|row| !row.is_load()) {
        timed(*row, context, report).await?;
    }
    daemon.kill().await
}

async fn timed(row: BenchRow, context: RowContext<'_>, report: &mut BenchReport) -> anyhow::Result<()> {
    let began = Instant::now();
    row.measure(context, report).await.with_context(|| row.name())?;
    report.took(row.name(), began.elapsed());
    Ok(())
}

fn processor_seconds(context: &RowContext<'_>) -> anyhow::Result<f64> {
    Ok(machine::cpu_seconds(std::process::id())? + context.broker.cpu_seconds()?)
}

#[cfg(test)]
mod tests;
