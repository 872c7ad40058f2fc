//! The example programs of the client library, disturbed like its clients. They have no part of the rig in them.

use super::faults::{ClientFault, RigContext};
use super::journal::{JournalEvent, Nanos};
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
use std::process::{ExitStatus, Stdio};
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

    fn process(self, life: u32) -> String {
        format!("{}.{life}", self.name())
    }

    fn start(self, context: &RigContext, life: u32) -> anyhow::Result<RigProcess> {
        let (dir, address) = (&context.dir, &context.setup.address);
        let process = self.process(life);
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

    /// Runs the program and disturbs it until the stop. A program that ends is started again, but an end that nothing
    /// explains is a broken promise.
    pub(super) async fn disturb(self, context: RigContext, mut stop: Stop) -> anyhow::Result<()> {
        let mut random = SeededRandom::new(context.seed, &self.name());
        for life in 0.. {
            let mut process = self.start(&context, life)?;
            let (began, mut stopped) = (Instant::now(), Duration::ZERO);
            loop {
                let lasts = tokio::select! {
                    status = process.child.wait() => {
                        self.explain_end(&context, life, status?)?;
                        break;
                    }
                    lasts = context.next_fault(&mut random, 6_000, &mut stop) => lasts,
                };
                let Some(lasts) = lasts else { break };
                let from = Nanos::now();
                if random.one_in(4) {
                    process.child.kill().await?;
                    context.note(&self.name(), ClientFault::Kill, from);
                    break;
                }
                process.signal(Signal::STOP)?;
                sleep(lasts).await;
                process.signal(Signal::CONT)?;
                stopped += lasts;
                context.note(&self.name(), ClientFault::Stop, from);
            }
            let ran = began.elapsed().saturating_sub(stopped);
            context.journal.note(&JournalEvent::ProgramEnded { process: self.process(life), ran });
            if !stop.sleep(RESTART).await {
                process.child.kill().await?;
                return if self == Self::Outbox { self.ship_rest(&context, life + 1).await } else { Ok(()) };
            }
        }
        Ok(())
    }

    /// Notes a broken promise if the program should not have ended like this.
    fn explain_end(self, context: &RigContext, life: u32, status: ExitStatus) -> anyhow::Result<()> {
        let process = self.process(life);
        let errors = fs::read_to_string(context.dir.join(format!("{process}.log")))?;
        if !self.may_end(status.code(), &errors) {
            let last = errors.lines().last().unwrap_or_default();
            let promise = format!("{process} ended by itself with {status}: {last}");
            context.journal.note(&JournalEvent::Broken { promise });
        }
        Ok(())
    }

    /// Whether the program ends with this exit code and these errors if the broker stalls or is killed. The outbox ends
    /// when all rows are shipped. The tail does not wait for a broker that is away at its start.
    fn may_end(self, code: Option<i32>, errors: &str) -> bool {
        let last = errors.lines().last().unwrap_or_default();
        match self {
            Self::Outbox => code == Some(0),
            Self::Worker(_) => false,
            Self::Tail => code == Some(1) && ["Unreachable {", "Silent {"].iter().any(|known| last.contains(known)),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_crashes_is_not_just_started_again() {
        let away = "Error: Unreachable { address: \"127.0.0.1:9092\", source: .. }\n";
        assert!(ExampleProgram::Outbox.may_end(Some(0), "trying again: cannot reach the broker"));
        assert!(!ExampleProgram::Outbox.may_end(Some(1), away), "it waits for the broker");
        assert!(!ExampleProgram::Worker(1).may_end(Some(1), "Error: \"a record before its partition\""));
        assert!(!ExampleProgram::Worker(1).may_end(Some(0), ""), "it has no end");
        assert!(ExampleProgram::Tail.may_end(Some(1), away));
        assert!(!ExampleProgram::Tail.may_end(Some(1), "Error: Gap(..)"));
        assert!(!ExampleProgram::Tail.may_end(Some(101), "thread 'main' panicked"));
    }
}
