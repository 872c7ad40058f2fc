//! `broker alter --config K=V...`.

use crate::options::{OutputForm, key_value};
use crate::output::StdoutWriter;
use crate::session::Session;
use clap::Args;
use std::io::Write;

/// Change settings while the broker runs
///
/// All changes are made, or none. They apply at once, survive restarts, and override the config file, the environment
/// and flags until an empty value removes them.
#[derive(Debug, Args)]
#[command(after_help = "`grower-cli broker settings` lists the keys, and which of them need a restart instead.

JSON: {\"settings\":{key: value, or null for the value at start}}

Examples:
  grower-cli broker alter --config logging.level=debug
  grower-cli broker alter --config disk.reserve_bytes=5GiB
  grower-cli broker alter --config logging.level=              # remove the change")]
pub struct AlterSettingsCommand {
    /// A key with its new value; an empty value removes the change; may be repeated
    #[arg(long = "config", value_name = "K=V", required = true, value_parser = key_value)]
    configs: Vec<(String, String)>,
}

impl AlterSettingsCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let changes = self.configs.into_iter().map(|(key, value)| (key, Some(value).filter(|value| !value.is_empty())));
        let changes: Vec<(String, Option<String>)> = changes.collect();
        session.client.admin().alter_settings(changes.clone()).await?;
        let mut out = StdoutWriter::open();
        match session.output {
            OutputForm::Json => {
                let settings: serde_json::Map<_, _> =
                    changes.into_iter().map(|(key, value)| (key, value.into())).collect();
                out.json(&serde_json::json!({ "settings": settings }))?;
            }
            OutputForm::Table => {
                for (key, value) in changes {
                    match value {
                        Some(value) => writeln!(out, "{key} is {value} now")?,
                        None => writeln!(out, "{key} has its value at start again")?,
                    }
                }
            }
        }
        Ok(out.flush()?)
    }
}
