//! `group describe G`.

use super::state_name;
use crate::arguments::Output;
use crate::output::{Out, Table, escaped};
use crate::session::Session;
use clap::Args;
use grower_client::ids::{Offset, PartitionId, TopicId, TopicName};
use grower_client::{Client, GroupDescription, MemberDescription, OffsetSpec};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

/// Show a group: each partition with its committed offset, lag and owner
#[derive(Debug, Args)]
#[command(
    after_help = "COMMITTED is the next record to be read, END the high watermark, LAG how many records lie between (from the \
log's start, if nothing is committed), OWNER the member that reads the partition.

JSON: {\"group\",\"state\",\"epoch\",\"assignor\",\"members\":[{\"member\",\"epoch\",\"topics\",\"partitions\":[{\"topic\",\"partition\"}]}], \
\"partitions\":[{\"topic\",\"partition\",\"committed\",\"end\",\"lag\",\"owner\"}]}; committed and owner may be null."
)]
pub struct Describe {
    /// The group
    group: String,
}

/// How far the group is with one partition.
struct Progress {
    topic: TopicName,
    partition: PartitionId,
    committed: Option<Offset>,
    end: Offset,
    lag: u64,
    owner: Option<String>,
}

impl Describe {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let group = session.client.admin().describe_group(&self.group).await?;
        let names = topic_names(&session.client).await?;
        let partitions = progress(&session.client, &group, &names).await?;
        let mut out = Out::stdout();
        match session.output {
            Output::Json => out.json(&group_json(&group, &names, &partitions))?,
            Output::Table => print(&group, &partitions, &mut out)?,
        }
        Ok(out.flush()?)
    }
}

async fn topic_names(client: &Client) -> anyhow::Result<BTreeMap<TopicId, TopicName>> {
    let topics = client.admin().metadata().await?.topics;
    Ok(topics.into_iter().flatten().map(|topic| (topic.id, topic.name)).collect())
}

/// Every partition that was committed or is assigned, of topics that are still there.
async fn progress(
    client: &Client,
    group: &GroupDescription,
    names: &BTreeMap<TopicId, TopicName>,
) -> anyhow::Result<Vec<Progress>> {
    let committed: BTreeMap<_, _> = group.offsets.iter().map(|c| ((c.topic, c.partition), c.offset)).collect();
    let owners = owners(group);
    let places: BTreeSet<_> = committed.keys().chain(owners.keys()).copied().collect();
    let named: Vec<_> = places.into_iter().filter_map(|place| Some((names.get(&place.0)?.clone(), place))).collect();
    let admin = client.admin();
    let look = |spec| named.iter().map(move |(name, place)| (name.as_str(), place.1, spec));
    let starts = admin.list_offsets(look(OffsetSpec::Beginning)).await?;
    let ends = admin.list_offsets(look(OffsetSpec::End)).await?;
    let mut rows = Vec::new();
    for ((topic, place), (start, end)) in named.iter().zip(starts.into_iter().zip(ends)) {
        let (start, end) = (start?.offset.unwrap_or_default(), end?.offset.unwrap_or_default());
        let committed = committed.get(place).copied();
        rows.push(Progress {
            topic: topic.clone(),
            partition: place.1,
            committed,
            end,
            lag: end.value().saturating_sub(committed.unwrap_or(start).max(start).value()),
            owner: owners.get(place).cloned(),
        });
    }
    rows.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    Ok(rows)
}

fn owners(group: &GroupDescription) -> BTreeMap<(TopicId, PartitionId), String> {
    let owned_by = |member: &MemberDescription| {
        let name = member.member.to_string();
        member
            .owned
            .iter()
            .flat_map(|of| of.partitions.iter().map(|p| (of.topic, *p)))
            .map(move |place| (place, name.clone()))
            .collect::<Vec<_>>()
    };
    group.members.iter().flat_map(owned_by).collect()
}

fn print(group: &GroupDescription, partitions: &[Progress], out: &mut impl Write) -> io::Result<()> {
    let (name, state) = (group.group.as_str(), state_name(group.state));
    writeln!(
        out,
        "group {}  {state}  epoch {}  assignor {}  {} members\n",
        escaped(name),
        group.epoch,
        group.assignor,
        group.members.len()
    )?;
    let mut table = Table::new(["PARTITION", "COMMITTED", "END", "LAG", "OWNER"]);
    for row in partitions {
        table.row([
            format!("{}/{}", row.topic, row.partition),
            row.committed.map_or_else(|| "none".to_owned(), |offset| offset.to_string()),
            row.end.to_string(),
            row.lag.to_string(),
            row.owner.clone().unwrap_or_else(|| "none".to_owned()),
        ]);
    }
    table.print(out)?;
    let owns = |member: &MemberDescription| member.owned.iter().any(|of| !of.partitions.is_empty());
    group
        .members
        .iter()
        .filter(|member| !owns(member))
        .try_for_each(|idle| writeln!(out, "\n{} is idle", escaped(idle.member.as_str())))
}

fn group_json(group: &GroupDescription, names: &BTreeMap<TopicId, TopicName>, partitions: &[Progress]) -> Value {
    let member_json = |member: &MemberDescription| {
        let owned = member.owned.iter().flat_map(|of| of.partitions.iter().map(|p| (names.get(&of.topic), p)));
        let owned = owned.map(|(topic, p)| json!({ "topic": topic.map(TopicName::as_str), "partition": p.value() }));
        json!({
            "member": member.member.as_str(),
            "epoch": member.epoch.value(),
            "topics": member.topics.iter().map(TopicName::as_str).collect::<Vec<_>>(),
            "partitions": owned.collect::<Vec<_>>(),
        })
    };
    let row_json = |row: &Progress| {
        json!({
            "topic": row.topic.as_str(),
            "partition": row.partition.value(),
            "committed": row.committed.map(Offset::value),
            "end": row.end.value(),
            "lag": row.lag,
            "owner": row.owner,
        })
    };
    json!({
        "group": group.group.as_str(),
        "state": state_name(group.state),
        "epoch": group.epoch,
        "assignor": group.assignor,
        "members": group.members.iter().map(member_json).collect::<Vec<_>>(),
        "partitions": partitions.iter().map(row_json).collect::<Vec<_>>(),
    })
}
