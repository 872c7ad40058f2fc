//! `group list`.

use super::state_name;
use crate::arguments::Output;
use crate::output::{Out, Table};
use crate::session::Session;
use clap::Args;
use std::io::Write;

/// List all groups
#[derive(Debug, Args)]
#[command(
    after_help = "STATE is empty (no members), stable, or reconciling (partitions are on their way to another member).

JSON: an array of {\"group\",\"state\",\"members\"}, sorted by group"
)]
pub struct List {}

impl List {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let groups = session.client.admin().list_groups().await?;
        let mut out = Out::stdout();
        match session.output {
            Output::Json => {
                let json = |g: &grower_client::GroupSummary| serde_json::json!({ "group": g.group.as_str(), "state": state_name(g.state), "members": g.members });
                out.json(&groups.iter().map(json).collect::<Vec<_>>())?;
            }
            Output::Table => {
                let mut table = Table::new(["GROUP", "STATE", "MEMBERS"]);
                for group in groups {
                    table.row([group.group.to_string(), state_name(group.state).to_owned(), group.members.to_string()]);
                }
                table.print(&mut out)?;
            }
        }
        Ok(out.flush()?)
    }
}
