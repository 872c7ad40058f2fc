//! `doctor [--data-dir DIR]`: whether a machine is a good place for a broker.
//!
//! Facts are read first (`machine`, `broker`), then judged without I/O (`judge`).

mod broker;
mod check;
mod judge;
mod machine;
#[cfg(test)]
mod tests;

use crate::options::{GlobalOptions, OutputForm};
use crate::output::{Out, escaped};
use crate::session::Session;
use anyhow::{Context, ensure};
use broker::Reached;
use check::{Check, Facts, Level};
use clap::Args;
use judge::judge;
use machine::{Disk, Limits};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Check the machine and the broker, and advise what to change
///
/// Checks the file system, sync latency, limits, memory, free space, clocks and damage. Without --data-dir it checks the data
/// directory of the broker, if that is on this machine.
#[derive(Debug, Args)]
#[command(
    after_help = "Syncs are measured on an unnamed temporary file, for two seconds at most. Exit status: 0 if no check is bad, \
1 otherwise.

JSON: an array of {\"level\":\"good\"|\"warning\"|\"bad\",\"about\",\"found\",\"advice\"}; advice is null if the level is good."
)]
pub struct Doctor {
    /// The data directory, which need not exist yet
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Doctor {
    pub(crate) async fn run(self, options: &GlobalOptions) -> anyhow::Result<()> {
        let broker = if options.embedded.is_some() { Reached::NotAsked } else { ask(options).await };
        let told = match &broker {
            Reached::Yes(answers) => answers.data_dir.clone().filter(|dir| dir.is_dir()),
            Reached::No(_) | Reached::NotAsked => None,
        };
        let disk = match self.data_dir.or_else(|| options.embedded.clone()).or(told) {
            Some(dir) => Some(look_at(&dir).await?),
            None => None,
        };
        let checks = judge(&Facts { disk, limits: Limits::look(), broker });
        let mut out = Out::stdout();
        match options.output {
            OutputForm::Json => out.json(&checks.iter().map(json).collect::<Vec<_>>())?,
            OutputForm::Table => checks.iter().try_for_each(|check| print(check, &mut out))?,
        }
        out.flush()?;
        let bad = checks.iter().filter(|check| check.level == Level::Bad).count();
        ensure!(bad == 0, "{bad} of {} checks failed", checks.len());
        Ok(())
    }
}

async fn ask(options: &GlobalOptions) -> Reached {
    let asked = async {
        let session = Session::open(options).await?;
        Ok::<_, anyhow::Error>(broker::look(&session.client).await?)
    };
    match asked.await {
        Ok(answers) => Reached::Yes(answers),
        Err(error) => Reached::No(error.root_cause().to_string()),
    }
}

async fn look_at(dir: &Path) -> anyhow::Result<Disk> {
    let looked = dir.to_owned();
    let disk = tokio::task::spawn_blocking(move || Disk::look(&looked)).await?;
    disk.with_context(|| format!("cannot look at {}", dir.display()))
}

fn print(check: &Check, out: &mut impl Write) -> io::Result<()> {
    let mark = match check.level {
        Level::Good => "ok",
        Level::Warning => "? ",
        Level::Bad => "! ",
    };
    writeln!(out, "{mark} {:18}  {}", check.about, escaped(&check.found))?;
    check.advice.map_or(Ok(()), |advice| writeln!(out, "                       {advice}"))
}

fn json(check: &Check) -> serde_json::Value {
    serde_json::json!({
        "level": check.level.name(),
        "about": check.about,
        "found": check.found,
        "advice": check.advice,
    })
}
