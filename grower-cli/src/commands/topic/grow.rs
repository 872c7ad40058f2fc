//! `topic grow NAME --partitions N`.

use crate::arguments::Output;
use crate::output::{Out, counted, escaped, stderr_line};
use crate::session::Session;
use clap::Args;
use std::io::Write;

/// Add partitions to a topic
///
/// Partitions cannot be taken away again. Consumer groups pick up the new ones by themselves and read them from their
/// first record.
#[derive(Debug, Args)]
#[command(
    after_help = "The partition of a record with a key is hash(key) modulo the number of partitions, so many keys move: \
their records before and after lie in different partitions, and order between them is lost. The command warns of it.

JSON: {\"topic\",\"partitions_before\",\"partitions\"}

Example:
  grower-cli topic grow events --partitions 6"
)]
pub struct Grow {
    /// The topic
    name: String,
    /// How many partitions it shall have; more than now
    #[arg(long, value_name = "N")]
    partitions: u32,
}

impl Grow {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let admin = session.client.admin();
        let before = admin.describe_topic(&self.name, false).await?.partitions.len();
        admin.grow_topic(&self.name, self.partitions).await?;
        stderr_line(escaped(&key_warning(&self.name, before, self.partitions)));
        let mut out = Out::stdout();
        match session.output {
            Output::Json => out.json(&serde_json::json!({
                "topic": self.name,
                "partitions_before": before,
                "partitions": self.partitions,
            }))?,
            Output::Table => {
                writeln!(out, "{} has {} now, {before} before", self.name, counted(self.partitions, "partition"))?
            }
        }
        Ok(out.flush()?)
    }
}

/// What growing does to records with keys.
pub(crate) fn key_warning(topic: &str, before: usize, after: u32) -> String {
    format!(
        "warning: a key of {topic} was in partition hash(key) % {before} and is in hash(key) % {after} from now on: keys \
         move, and the order of their records before and after is lost"
    )
}
