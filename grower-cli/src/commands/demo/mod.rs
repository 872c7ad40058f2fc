//! `demo`: shows the log at work on a broker in this process.

mod group;
mod growth;
mod reader;
mod retention;
mod script;
mod topics;

pub use script::run;

use crate::options::GlobalOptions;
use crate::output::StdoutWriter;
use crate::session::{connect_to, stop};
use anyhow::Context;
use clap::Args;
use grower_broker::{Broker, BrokerConfig};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Show the log at work, step by step, on a broker inside this process
///
/// Covers topics, partitions and segments; a group of two consumers, one of which is killed; retention by count,
/// bytes and age; a topic that grows. A real broker with fsync performs each step, and each claim is checked as it is
/// made.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 if every claim held, 1 at the first that did not.

Examples:
  grower-cli demo
  grower-cli demo --dir ./story && grower-cli --embedded ./story topic describe rainbow --records")]
pub struct DemoCommand {
    /// Keep the data in this directory, which must hold no earlier demo [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl DemoCommand {
    pub(crate) async fn run(self, options: &GlobalOptions) -> anyhow::Result<()> {
        match self.dir.as_deref().or(options.embedded.as_deref()) {
            Some(directory) => {
                run_in(directory, options).await?;
                let mut out = StdoutWriter::open();
                let shown = directory.display();
                writeln!(
                    out,
                    "The data stays in {shown}: grower-cli --embedded {shown} topic describe rainbow --records"
                )?;
                Ok(out.flush()?)
            }
            None => {
                let directory =
                    tempfile::tempdir().context("cannot make a temporary directory; give one with --dir")?;
                run_in(directory.path(), options).await
            }
        }
    }
}

async fn run_in(directory: &Path, options: &GlobalOptions) -> anyhow::Result<()> {
    let broker = Broker::start(BrokerConfig::at(directory)).await;
    let broker = broker.with_context(|| format!("cannot start a broker on {}", directory.display()))?;
    let work = async {
        let client = connect_to(&broker, options.timeout).await?;
        script::run(&client, &mut StdoutWriter::open()).await
    };
    let result = work.await;
    let stopped = stop(broker).await;
    result.and(stopped)
}
