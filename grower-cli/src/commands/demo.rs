//! `demo`: the story on a broker in this process.

use crate::arguments::Common;
use crate::demo;
use crate::output::Out;
use crate::session::{connect_to, stop};
use anyhow::Context;
use clap::Args;
use grower_broker::{Broker, BrokerConfig};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Tell the whole story of the log in one command, step by step, on a broker inside this process
///
/// Topics, partitions and segments; two consumers of one group, one of which is killed; retention by count, bytes and age;
/// a topic that grows. Nothing is staged: a real broker with fsync does each step, and each claim is checked as it is made.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 if every claim held, 1 at the first that did not.

Examples:
  grower-cli demo
  grower-cli demo --dir ./story && grower-cli --embedded ./story topic describe rainbow --records")]
pub struct Demo {
    /// Keep the data here; the directory must not hold a story yet. A temporary directory unless given
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Demo {
    pub(crate) async fn run(self, common: &Common) -> anyhow::Result<()> {
        match self.dir.as_deref().or(common.embedded.as_deref()) {
            Some(directory) => {
                tell_in(directory, common).await?;
                let mut out = Out::stdout();
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
                tell_in(directory.path(), common).await
            }
        }
    }
}

async fn tell_in(directory: &Path, common: &Common) -> anyhow::Result<()> {
    let broker = Broker::start(BrokerConfig::at(directory)).await;
    let broker = broker.with_context(|| format!("cannot start a broker on {}", directory.display()))?;
    let told = async {
        let client = connect_to(&broker, common.timeout).await?;
        demo::tell(&client, &mut Out::stdout()).await
    };
    let told = told.await;
    let stopped = stop(broker).await;
    told.and(stopped)
}
