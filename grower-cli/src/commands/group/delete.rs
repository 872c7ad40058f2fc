//! `group delete G`.

use crate::options::OutputForm;
use crate::output::{StdoutWriter, escaped};
use crate::session::Session;
use clap::Args;
use std::io::Write;

/// Delete a group with its committed offsets
///
/// The group must have no members: stop its consumers first.
#[derive(Debug, Args)]
#[command(after_help = "JSON: {\"group\",\"deleted\":true}")]
pub struct DeleteGroupCommand {
    /// The group
    group: String,
}

impl DeleteGroupCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        session.client.admin().delete_group(&self.group).await?;
        let mut out = StdoutWriter::open();
        match session.output {
            OutputForm::Json => out.json(&serde_json::json!({ "group": self.group, "deleted": true }))?,
            OutputForm::Table => writeln!(out, "deleted group {}", escaped(&self.group))?,
        }
        Ok(out.flush()?)
    }
}
