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
use crate::output::{StdoutWriter, escaped};
use crate::session::Session;
use anyhow::{Context, ensure};
use broker::BrokerReply;
use check::{CheckLevel, DoctorCheck, DoctorFacts};
use clap::Args;
use judge::judge;
use machine::{DiskFacts, SystemLimits};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Check the machine and the broker, and advise what to change
///
/// Checks the file system, sync latency, limits, memory, free space, clocks and damage. Without --data-dir it checks
/// the data directory of the broker, if that is on this machine.
#[derive(Debug, Args)]
#[command(
    after_help = "Syncs are measured on an unnamed temporary file, for two seconds at most. Exit status: 0 if no check is bad, \
1 otherwise.

JSON: an array of {\"level\":\"good\"|\"warning\"|\"bad\",\"about\",\"found\",\"advice\"}; advice is null if the level is good."
)]
pub struct DoctorCommand {
    /// The data directory, which need not exist yet
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl DoctorCommand {
    pub(crate) async fn run(self, options: &GlobalOptions) -> anyhow::Result<()> {
        let broker = if options.embedded.is_some() { BrokerReply::NotAsked } else { ask(options).await };
        let data_dir_of_broker = match &broker {
            BrokerReply::Yes(broker_facts) => broker_facts.data_dir.clone().filter(|dir| dir.is_dir()),
            BrokerReply::No(_) | BrokerReply::NotAsked => None,
        };
        let disk = match self.data_dir.or_else(|| options.embedded.clone()).or(data_dir_of_broker) {
            Some(dir) => Some(measure_disk(&dir).await?),
            None => None,
        };
        let checks = judge(&DoctorFacts { disk, limits: SystemLimits::read(), broker });
        let mut out = StdoutWriter::open();
        match options.output {
            OutputForm::Json => out.json(&checks.iter().map(json).collect::<Vec<_>>())?,
            OutputForm::Table => checks.iter().try_for_each(|check| print(check, &mut out))?,
        }
        out.flush()?;
        let bad = checks.iter().filter(|check| check.level == CheckLevel::Bad).count();
        ensure!(bad == 0, "{bad} of {} checks failed", checks.len());
        Ok(())
    }
}

async fn ask(options: &GlobalOptions) -> BrokerReply {
    let reply = async {
        let session = Session::open(options).await?;
        Ok::<_, anyhow::Error>(broker::fetch_facts(&session.client).await?)
    };
    match reply.await {
        Ok(broker_facts) => BrokerReply::Yes(broker_facts),
        Err(error) => BrokerReply::No(error.root_cause().to_string()),
    }
}

async fn measure_disk(dir: &Path) -> anyhow::Result<DiskFacts> {
    let path = dir.to_owned();
    let disk = tokio::task::spawn_blocking(move || DiskFacts::measure(&path)).await?;
    disk.with_context(|| format!("cannot look at {}", dir.display()))
}

fn print(check: &DoctorCheck, out: &mut impl Write) -> io::Result<()> {
    let mark = match check.level {
        CheckLevel::Good => "ok",
        CheckLevel::Warning => "? ",
        CheckLevel::Bad => "! ",
    };
    writeln!(out, "{mark} {:18}  {}", check.about, escaped(&check.found))?;
    check.advice.map_or(Ok(()), |advice| writeln!(out, "                       {advice}"))
}

fn json(check: &DoctorCheck) -> serde_json::Value {
    serde_json::json!({
        "level": check.level.name(),
        "about": check.about,
        "found": check.found,
        "advice": check.advice,
    })
}
