//! `producer list`.

use crate::options::OutputForm;
use crate::output::{StdoutWriter, TextTable, rfc3339};
use crate::session::Session;
use clap::Args;
use grower_client::NamedProducerDescription;
use serde_json::{Value, json};
use std::io::Write;

/// List all named producers
#[derive(Debug, Args)]
#[command(
    after_help = "ID and EPOCH are the identity that may write; CLAIMED is the time at which its holder claimed the name.

JSON: an array of {\"producer\",\"id\",\"epoch\",\"claimed\"}, sorted by producer; claimed is integer milliseconds"
)]
pub struct ListProducersCommand {}

impl ListProducersCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let producers = session.client.admin().list_producers(usize::MAX).await?;
        let mut out = StdoutWriter::open();
        match session.output {
            OutputForm::Json => out.json(&producers.iter().map(to_json).collect::<Vec<_>>())?,
            OutputForm::Table => {
                let mut table = TextTable::new(["PRODUCER", "ID", "EPOCH", "CLAIMED"]);
                producers.iter().for_each(|producer| table.row(to_row(producer)));
                table.print(&mut out)?;
            }
        }
        Ok(out.flush()?)
    }
}

fn to_row(producer: &NamedProducerDescription) -> [String; 4] {
    let identity = producer.identity;
    [producer.name.to_string(), identity.id.to_string(), identity.epoch.to_string(), rfc3339(producer.claimed)]
}

fn to_json(producer: &NamedProducerDescription) -> Value {
    let identity = producer.identity;
    json!({
        "producer": producer.name.as_str(),
        "id": identity.id.value(),
        "epoch": identity.epoch.value(),
        "claimed": producer.claimed.as_millis(),
    })
}
