//! `topic alter NAME --config K=V...`.

use super::config_help;
use crate::options::{OutputForm, key_value};
use crate::output::StdoutWriter;
use crate::session::Session;
use clap::Args;
use std::io::Write;

/// Change a topic's configs
///
/// All changes are made, or none. They apply from the next append or cleanup.
#[derive(Debug, Args)]
#[command(after_long_help = format!("{}

JSON: {{\"topic\",\"configs\":{{key: value, or null for the default}}}}

Examples:
  grower-cli topic alter events --config retention.ms=12h
  grower-cli topic alter events --config retention.ms=     # back to the default", config_help()))]
pub struct AlterTopicCommand {
    /// The topic
    name: String,
    /// A key with its new value; an empty value restores the default; may be repeated
    #[arg(long = "config", value_name = "K=V", required = true, value_parser = key_value)]
    configs: Vec<(String, String)>,
}

impl AlterTopicCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let changes = self.configs.into_iter().map(|(key, value)| (key, Some(value).filter(|value| !value.is_empty())));
        let changes: Vec<(String, Option<String>)> = changes.collect();
        session.client.admin().alter_topic(&self.name, changes.clone()).await?;
        let mut out = StdoutWriter::open();
        match session.output {
            OutputForm::Json => {
                let configs: serde_json::Map<_, _> =
                    changes.into_iter().map(|(key, value)| (key, value.into())).collect();
                out.json(&serde_json::json!({ "topic": self.name, "configs": configs }))?;
            }
            OutputForm::Table => {
                for (key, value) in changes {
                    let value = value.unwrap_or_else(|| "the default".to_owned());
                    writeln!(out, "{}: {key} is {value} now", self.name)?;
                }
            }
        }
        Ok(out.flush()?)
    }
}
