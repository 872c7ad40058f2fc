//! `broker settings`.

use crate::options::OutputForm;
use crate::output::{StdoutWriter, TextTable};
use crate::session::Session;
use clap::Args;
use grower_client::{SettingEntry, SettingSource};
use serde_json::{Value, json};

/// List every setting with its value, its origin, and whether a change needs a restart
#[derive(Debug, Args)]
#[command(
    after_help = "SET BY is a line of the config file, a variable, a flag, or `broker alter`; each overrides those before it. \
RESTART is yes if a change needs a restart.

JSON: an array of {\"key\",\"value\",\"source\":\"default\"|\"start\"|\"changed\",\"set_by\",\"started_with\",\"needs_restart\",\"about\",\
\"accepts\"}; started_with is the value without `broker alter`; null means not set."
)]
pub struct ListSettingsCommand {}

impl ListSettingsCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let settings = session.client.admin().describe_settings().await?;
        let mut out = StdoutWriter::open();
        match session.output {
            OutputForm::Json => out.json(&settings.iter().map(json).collect::<Vec<_>>())?,
            OutputForm::Table => table(&settings).print(&mut out)?,
        }
        Ok(std::io::Write::flush(&mut out)?)
    }
}

fn table(settings: &[SettingEntry]) -> TextTable<4> {
    let mut table = TextTable::new(["SETTING", "VALUE", "SET BY", "RESTART"]);
    for setting in settings {
        let started_with = setting.started_with.as_deref().unwrap_or("not set");
        let set_by = match &setting.source {
            SettingSource::Default => "default".to_owned(),
            SettingSource::Start(origin) => origin.clone(),
            SettingSource::Changed => format!("broker alter, over {started_with}"),
        };
        let restart = if setting.needs_restart { "yes" } else { "no" };
        table.row([setting.key.clone(), setting.value.clone().unwrap_or_default(), set_by, restart.to_owned()]);
    }
    table
}

fn json(setting: &SettingEntry) -> Value {
    let (source, set_by) = match &setting.source {
        SettingSource::Default => ("default", None),
        SettingSource::Start(origin) => ("start", Some(origin.as_str())),
        SettingSource::Changed => ("changed", Some("broker alter")),
    };
    json!({
        "key": setting.key,
        "value": setting.value,
        "source": source,
        "set_by": set_by,
        "started_with": setting.started_with,
        "needs_restart": setting.needs_restart,
        "about": setting.about,
        "accepts": setting.accepts,
    })
}
