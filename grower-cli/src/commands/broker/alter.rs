//! `broker alter --config K=V...`.

use crate::arguments::{Output, key_value};
use crate::output::Out;
use crate::session::Session;
use clap::Args;
use std::io::Write;

/// Change settings while the broker runs
///
/// All of the changes are made, or none. They hold at once, outlive restarts, and go before the config file, the environment and
/// flags until they are taken back with an empty value.
#[derive(Debug, Args)]
#[command(after_help = "`grower-cli broker settings` lists the keys, and which of them need a restart instead.

JSON: {\"settings\":{key: value, or null for back to what the start said}}

Examples:
  grower-cli broker alter --config logging.level=debug
  grower-cli broker alter --config disk.reserve_bytes=5GiB
  grower-cli broker alter --config logging.level=              # take it back")]
pub struct Alter {
    /// A key with its new value; an empty value takes a change back; may be repeated
    #[arg(long = "config", value_name = "K=V", required = true, value_parser = key_value)]
    configs: Vec<(String, String)>,
}

impl Alter {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let changes = self.configs.into_iter().map(|(key, value)| (key, Some(value).filter(|value| !value.is_empty())));
        let changes: Vec<(String, Option<String>)> = changes.collect();
        session.client.admin().alter_settings(changes.clone()).await?;
        let mut out = Out::stdout();
        match session.output {
            Output::Json => {
                let settings: serde_json::Map<_, _> =
                    changes.into_iter().map(|(key, value)| (key, value.into())).collect();
                out.json(&serde_json::json!({ "settings": settings }))?;
            }
            Output::Table => {
                for (key, value) in changes {
                    let value = value.unwrap_or_else(|| "what the start said".to_owned());
                    writeln!(out, "{key} is {value} now")?;
                }
            }
        }
        Ok(out.flush()?)
    }
}
