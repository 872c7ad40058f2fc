//! `topic delete NAME`.

use crate::options::OutputForm;
use crate::output::{StdoutWriter, confirmed, escaped};
use crate::session::Session;
use anyhow::ensure;
use clap::Args;
use std::io::Write;

/// Delete a topic with all its records
///
/// Deletion is final: a topic created again under the same name is another one, and starts empty.
/// On a terminal the command asks first.
#[derive(Debug, Args)]
#[command(after_help = "JSON: {\"topic\",\"deleted\":true}")]
pub struct DeleteTopicCommand {
    /// The topic
    name: String,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

impl DeleteTopicCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let question = format!("delete topic {} with all its records, for good?", escaped(&self.name));
        ensure!(self.yes || confirmed(&question)?, "nothing was deleted");
        session.client.admin().delete_topic(&self.name).await?;
        let mut out = StdoutWriter::open();
        match session.output {
            OutputForm::Json => out.json(&serde_json::json!({ "topic": self.name, "deleted": true }))?,
            OutputForm::Table => writeln!(out, "deleted {}", self.name)?,
        }
        Ok(out.flush()?)
    }
}
