//! `group list`.

use crate::groups::{self, state_name};
use crate::options::OutputForm;
use crate::output::{StdoutWriter, TextTable, millis_for_people};
use crate::session::Session;
use clap::Args;
use grower_client::GroupDescription;
use serde_json::{Value, json};
use std::io::Write;

/// List all groups
#[derive(Debug, Args)]
#[command(
    after_help = "STATE is empty (no members), stable, or reconciling (partitions are moving between members). LAG is the number of \
uncommitted records in all partitions; where a log lost records that the group had read, it counts from the first lost offset. BEHIND is \
the age of the oldest uncommitted record.

JSON: an array of {\"group\",\"state\",\"members\",\"lag\",\"lag_ms\"}, sorted by group; lag_ms may be null, members and lag are null for a group too large for a response"
)]
pub struct ListGroupsCommand {}

impl ListGroupsCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let admin = session.client.admin();
        let groups = admin.list_groups(usize::MAX).await?;
        let names = groups::topic_names(&admin).await?;
        let now = admin.describe_broker().await?.now;
        let rows = groups::fetch_progress(&admin, &groups, &names, now).await?;
        let lags = rows.iter().map(|rows| groups::total_lag(rows));
        let mut out = StdoutWriter::open();
        match session.output {
            OutputForm::Json => out.json(&groups.iter().zip(lags).map(to_json).collect::<Vec<_>>())?,
            OutputForm::Table => {
                let mut table = TextTable::new(["GROUP", "STATE", "MEMBERS", "LAG", "BEHIND"]);
                groups.iter().zip(lags).for_each(|group| table.row(to_row(group)));
                table.print(&mut out)?;
            }
        }
        Ok(out.flush()?)
    }
}

fn to_row((group, (lag, lag_ms)): (&GroupDescription, (u64, Option<u64>))) -> [String; 5] {
    let known = !group.is_in_brief();
    [
        group.group.to_string(),
        state_name(group.state).to_owned(),
        if known { group.members.len().to_string() } else { "many".to_owned() },
        if known { lag.to_string() } else { String::new() },
        lag_ms.filter(|_| known).map(millis_for_people).unwrap_or_default(),
    ]
}

fn to_json((group, (lag, lag_ms)): (&GroupDescription, (u64, Option<u64>))) -> Value {
    let known = !group.is_in_brief();
    json!({
        "group": group.group.as_str(),
        "state": state_name(group.state),
        "members": known.then_some(group.members.len()),
        "lag": known.then_some(lag),
        "lag_ms": lag_ms.filter(|_| known),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use grower_client::GroupState;
    use grower_client::ids::GroupId;

    #[test]
    fn a_group_too_large_for_a_response_has_no_lag() {
        let group = GroupDescription {
            group: GroupId::new("huge").unwrap(),
            state: GroupState::Stable,
            epoch: 1,
            assignor: "range".to_owned(),
            members: Vec::new(),
            offsets: Vec::new(),
        };
        assert_eq!(to_row((&group, (0, Some(0)))), ["huge", "stable", "many", "", ""]);
        let json = to_json((&group, (0, Some(0))));
        assert_eq!(json, json!({"group": "huge", "state": "stable", "members": null, "lag": null, "lag_ms": null}));
    }
}
