//! The example programs of the client library, disturbed like its clients. They have no part of the rig in them.

use super::faults::{ClientFault, RigContext};
use super::journal::Nanos;
use super::rig_process::{ProcessSignals, RigProcess};
use super::seeded_random::SeededRandom;
use super::timeouts::{DELIVERY, SESSION};
use super::{EVENTS, ORDERS};
use crate::stop::Stop;
use crate::workspace::root;
use anyhow::ensure;
use rustix::process::Signal;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

/// A program. One fault in four is a kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExampleProgram {
    /// Ships the rows of a file.
    Outbox,
    /// Counts the records of all anonymous producers, with others.
    Worker(u32),
    /// Follows the shipped rows.
    Tail,
}

/// The rows of the outbox.
pub(super) fn outbox_file(dir: &Path) -> PathBuf {
    dir.join("outbox")
}

/// The counts of the workers.
pub(super) fn counts_folder(dir: &Path) -> PathBuf {
    dir.join("counts")
}

/// The group of the workers.
const COUNTERS: &str = "counters";
/// The pause before a program that ended is started again.
const RESTART: Duration = Duration::from_millis(200);
/// How long the outbox may take for the last rows.
const SHIP_MAX: Duration = Duration::from_secs(30);

/// Creates the files of the programs.
pub(super) fn prepare(dir: &Path) -> anyhow::Result<()> {
    fs::create_dir(counts_folder(dir))?;
    File::create(outbox_file(dir))?;
    Ok(())
}

/// Appends rows to the outbox until the stop.
pub(super) async fn append_rows(dir: PathBuf, mut stop: Stop) -> anyhow::Result<()> {
    let mut file = File::options().append(true).open(outbox_file(&dir))?;
    let mut row = 0;
    while stop.sleep(Duration::from_millis(50)).await {
        let rows: String = (row..row + 5).map(|row| format!("row {row}\n")).collect();
        file.write_all(rows.as_bytes())?;
        row += 5;
    }
    Ok(())
}

impl ExampleProgram {
    fn name(self) -> String {
        match self {
            Self::Outbox => "outbox".to_owned(),
            Self::Worker(number) => format!("worker-{number}"),
            Self::Tail => "tail".to_owned(),
        }
    }

    fn start(self, context: &RigContext, life: u32) -> anyhow::Result<RigProcess> {
        let (dir, address) = (&context.dir, &context.setup.address);
        let process = format!("{}.{life}", self.name());
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        let program = |name| Command::new(root().join("target").join(profile).join("examples").join(name));
        let mut command = match self {
            Self::Outbox => {
                let mut command = program("outbox");
                command.args([address, ORDERS]).arg(outbox_file(dir)).arg(DELIVERY.as_millis().to_string());
                command
            }
            Self::Worker(_) => {
                let mut command = program("worker");
                command.args([address, EVENTS, COUNTERS]).arg(counts_folder(dir));
                command.arg(SESSION.as_millis().to_string());
                command
            }
            Self::Tail => {
                let mut command = program("tail");
                command.args([address, ORDERS]);
                command
            }
        };
        command.stdin(Stdio::null()).stdout(File::create(dir.join(format!("{process}.out")))?);
        RigProcess::spawn(command, process, dir)
    }

    /// Runs the program and disturbs it until the stop. A program that ends is started again.
    pub(super) async fn disturb(self, context: RigContext, mut stop: Stop) -> anyhow::Result<()> {
        let mut random = SeededRandom::new(context.seed, &self.name());
        for life in 0.. {
            let mut process = self.start(&context, life)?;
            while let Some(lasts) = tokio::select! {
                _ = process.child.wait() => None,
                lasts = context.next_fault(&mut random, 6_000, &mut stop) => lasts,
            } {
                let from = Nanos::now();
                if random.one_in(4) {
                    process.child.kill().await?;
                    context.note(&self.name(), ClientFault::Kill, from);
                    break;
                }
                process.signal(Signal::STOP)?;
                sleep(lasts).await;
                process.signal(Signal::CONT)?;
                context.note(&self.name(), ClientFault::Stop, from);
            }
            if !stop.sleep(RESTART).await {
                process.child.kill().await?;
                return if self == Self::Outbox { self.ship_rest(&context, life + 1).await } else { Ok(()) };
            }
        }
        Ok(())
    }

    /// Ships the last rows.
    async fn ship_rest(self, context: &RigContext, mut life: u32) -> anyhow::Result<()> {
        let until = Instant::now() + SHIP_MAX;
        while !self.start(context, life)?.child.wait().await?.success() {
            ensure!(Instant::now() < until, "the outbox does not ship its last rows; see outbox.{life}.log");
            life += 1;
        }
        Ok(())
    }
}
