//! `cargo xtask bench`: measures the real daemon on a real file system, next to a limit program that does only the
//! necessary work.
//!
//! Absolute figures change with the machine, so a figure with a limit comes with its ratio to the limit, measured in
//! the same round. Every figure is the median of the rounds. Memory is touched before, because the first touch costs
//! more than a write. Every record gets a result, and every record is read back.
//!
//! A profiler that samples the daemon during a row shows where its time goes:
//!
//! ```text
//! CARGO_PROFILE_RELEASE_DEBUG=line-tables-only RUSTFLAGS=-Cforce-frame-pointers=yes \
//!     cargo xtask bench --only produce-1k-8 &
//! perf record -g -p "$(pgrep -nx grower-broker)" -- sleep 5 && perf report
//! strace -c -f -p "$(pgrep -nx grower-broker)" # Which system calls, and how many of each.
//! ```
//!
//! The samples cover all rounds of a row, with the limit program and the reading back.

mod amounts;
pub(crate) mod bench_broker;
mod command_line;
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

/// Measures the real daemon and a limit program that moves the same bytes.
#[derive(Args)]
#[command(
    after_help = "A ratio is the value divided by a base of the same round. Higher is better for rates, lower for times. \
Bases: for produce-* and consume-1k*, a program that moves the same bytes of values and does only the necessary work; \
for single-*, an fdatasync (if the ack waits for one) and a round trip; for partitions-1000-leader, the same load into one \
partition; for partitions-1000-fixed, the offered rate; for crowd, the same load without the other connections; for \
four-producers-*, one producer on one partition; for other rows of many partitions, a reader of one partition."
)]
pub(crate) struct Bench {
    /// Run three short rounds, two minutes in all, instead of five longer ones
    #[arg(long)]
    quick: bool,
    /// Write the figures as a list of {"name","value","unit","ratio"}
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Run only the row of this name, or all rows with this prefix; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Print the duration of each row
    #[arg(long)]
    timings: bool,
    /// The folder of the data, on a real file system [default: target/]
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

/// Returns the rows with these names or prefixes; all rows without any.
fn chosen(only: &[String]) -> anyhow::Result<Vec<BenchRow>> {
    let mut chosen = Vec::new();
    for wanted in only {
        let exact = ROWS.iter().any(|row| row.name() == wanted);
        let is = |row: &&BenchRow| if exact { row.name() == wanted } else { row.name().starts_with(wanted.as_str()) };
        let before = chosen.len();
        chosen.extend(ROWS.iter().filter(is));
        ensure!(
            before < chosen.len(),
            "no row is called {wanted}; the rows are: {}",
            ROWS.map(BenchRow::name).join(", ")
        );
    }
    Ok(if only.is_empty() { ROWS.to_vec() } else { chosen })
}

/// Creates a temporary directory on a file system that is on a disk.
pub(crate) fn real_directory(base: Option<&Path>, prefix: &str) -> anyhow::Result<TempDir> {
    let base = base.map_or_else(|| root().join("target"), Path::to_owned);
    let directory = tempfile::Builder::new().prefix(prefix).tempdir_in(&base);
    let directory = directory.with_context(|| format!("cannot write to {}", base.display()))?;
    let file_system = machine::file_system(directory.path())?;
    ensure!(
        !matches!(file_system.as_str(), "tmpfs" | "ramfs" | "devtmpfs"),
        "{} is in memory ({file_system}), where syncs are free; name a real file system with --dir",
        base.display()
    );
    Ok(directory)
}

/// Restarts in release mode: a debug build of the load generator would dominate the measurement.
pub(crate) fn run_in_release() -> anyhow::Result<()> {
    must_succeed(cargo().args([
        "build",
        "--release",
        "--package",
        "grower-broker",
        "--package",
        "grower-cli",
        "--package",
        "xtask",
    ]))?;
    must_succeed(cargo().args(["bench", "--quiet", "--no-run", "--package", "grower-storage", "--bench", "lookup"]))?;
    let program = root().join("target/release/xtask");
    Err(Command::new(program).args(std::env::args_os().skip(1)).exec())
        .context("cannot start the release build of xtask")
}

/// Runs the load rows in turn, round by round, on one broker, then the rows with brokers of their own.
async fn measure(
    rows: &[BenchRow],
    amounts: &Amounts,
    directory: &Path,
    report: &mut BenchReport,
) -> anyhow::Result<()> {
    let (program, command_line) = (release_build("grower-broker"), release_build("grower-cli"));
    let daemon = Daemon::start(&program, &directory.join("broker")).await?;
    let broker = daemon.broker();
    let mut context =
        RowContext { broker, program: &program, command_line: &command_line, directory, amounts, round: 0 };
    for round in 0..amounts.rounds {
        context.round = round;
        let (others, ours) = (machine::cpu_seconds_of_all()?, processor_seconds(&context)?);
        for row in rows.iter().filter(|row| row.is_load()) {
            timed(*row, context, report).await?;
        }
        context.end_round().await?;
        let ours = processor_seconds(&context)? - ours;
        report.add_other_cpu_seconds(machine::cpu_seconds_of_all()? - others - ours);
    }
    for row in rows.iter().filter(|row| !row.is_load()) {
        timed(*row, context, report).await?;
    }
    daemon.kill().await
}

async fn timed(row: BenchRow, context: RowContext<'_>, report: &mut BenchReport) -> anyhow::Result<()> {
    let began = Instant::now();
    row.measure(context, report).await.with_context(|| row.name())?;
    report.add_duration(row.name(), began.elapsed());
    Ok(())
}

fn processor_seconds(context: &RowContext<'_>) -> anyhow::Result<f64> {
    Ok(machine::cpu_seconds_with_children(std::process::id())? + context.broker.cpu_seconds()?)
}

#[cfg(test)]
mod tests;
