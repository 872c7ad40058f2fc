//! `topic grow NAME --partitions N`.

use crate::options::OutputForm;
use crate::output::{StdoutWriter, counted, escaped, key_warning, stderr_line};
use crate::session::Session;
use clap::Args;
use std::io::Write;

/// Add partitions to a topic
///
/// Partitions are never removed again. Consumer groups pick up the new ones and read them from their first record.
#[derive(Debug, Args)]
#[command(
    after_help = "A record with a key goes to partition hash(key) modulo the number of partitions, so keys move: \
their old and new records lie in different partitions, and the order between them is lost. The command warns of this.

JSON: {\"topic\",\"partitions_before\",\"partitions\"}

Example:
  grower-cli topic grow events --partitions 6"
)]
pub struct GrowTopicCommand {
    /// The topic
    name: String,
    /// The new number of partitions, larger than the present one
    #[arg(long, value_name = "N")]
    partitions: u32,
}

impl GrowTopicCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let admin = session.client.admin();
        let before = admin.describe_topic(&self.name, false).await?.partitions.len();
        admin.grow_topic(&self.name, self.partitions).await?;
        stderr_line(escaped(&key_warning(&self.name, before, self.partitions)));
        let mut out = StdoutWriter::open();
        match session.output {
            OutputForm::Json => out.json(&serde_json::json!({
                "topic": self.name,
                "partitions_before": before,
                "partitions": self.partitions,
            }))?,
            OutputForm::Table => {
                writeln!(out, "{} has {} now, {before} before", self.name, counted(self.partitions, "partition"))?
            }
        }
        Ok(out.flush()?)
    }
}
