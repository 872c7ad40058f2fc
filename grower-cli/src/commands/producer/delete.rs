//! `producer delete NAME...`.

use crate::options::OutputForm;
use crate::output::{StdoutWriter, confirmed, escaped};
use crate::session::Session;
use anyhow::ensure;
use clap::Args;
use std::io::Write;

/// Delete named producers
#[derive(Debug, Args)]
#[command(
    after_help = "The process that holds a deleted name is refused from then on. The next process that claims the name does not learn \
the last records, so an outbox sends all its rows again. On a terminal the command asks first.

JSON: {\"producer\",\"deleted\":true}, one object a line"
)]
pub struct DeleteProducersCommand {
    /// The producers
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

impl DeleteProducersCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let names: Vec<String> = self.names.iter().map(|name| escaped(name).to_string()).collect();
        let question = format!("delete producer {} with its last sequences, for good?", names.join(", "));
        ensure!(self.yes || confirmed(&question)?, "nothing was deleted");
        let (admin, mut out) = (session.client.admin(), StdoutWriter::open());
        for name in &self.names {
            admin.delete_producer(name).await?;
            match session.output {
                OutputForm::Json => out.json(&serde_json::json!({ "producer": name, "deleted": true }))?,
                OutputForm::Table => writeln!(out, "deleted producer {}", escaped(name))?,
            }
        }
        Ok(out.flush()?)
    }
}
