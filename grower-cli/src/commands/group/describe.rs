//! `group describe G`.

use super::state_name;
use crate::arguments::Output;
use crate::output::{Out, Table, escaped, rfc3339};
use crate::session::Session;
use clap::Args;
use grower_client::ids::{Offset, PartitionId, Timestamp, TopicId, TopicName};
use grower_client::{Client, GroupInspection, Holding, MemberDescription, MemberInspection, OffsetSpec};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

/// Show a group: each partition with its committed offset, lag and owner, and its members
#[derive(Debug, Args)]
#[command(
    after_help = "COMMITTED is the next record to be read, END the high watermark, LAG how many records lie between (from the \
log's start, if nothing is committed), OWNER the member that holds the partition and SINCE since when. A member that does not \
show an instance has no static name; SILENT is how long ago its newest heartbeat came.

JSON: {\"group\",\"state\",\"epoch\",\"assignor\",\"members\":[{\"member\",\"instance\",\"client\",\"address\",\"silent_ms\",\"epoch\",\"topics\", \
\"partitions\":[{\"topic\",\"partition\",\"since\",\"giving_up\"}]}],\"partitions\":[{\"topic\",\"partition\",\"committed\",\"end\",\"lag\", \
\"owner\",\"since\"}]}; committed, owner, since, instance, client and address may be null; times are integer milliseconds."
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
    /// Who holds it, and since when.
    owner: Option<(String, Timestamp)>,
}

impl Describe {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let group = session.client.admin().inspect_group(&self.group).await?;
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
    inspection: &GroupInspection,
    names: &BTreeMap<TopicId, TopicName>,
) -> anyhow::Result<Vec<Progress>> {
    let committed: BTreeMap<_, _> =
        inspection.group.offsets.iter().map(|c| ((c.topic, c.partition), c.offset)).collect();
    let owners = owners(inspection);
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

fn owners(inspection: &GroupInspection) -> BTreeMap<(TopicId, PartitionId), (String, Timestamp)> {
    let held_by = |member: &MemberInspection| {
        let name = member.member.to_string();
        let held = member.holds.iter();
        held.map(|held| ((held.topic, held.partition), (name.clone(), held.since))).collect::<Vec<_>>()
    };
    inspection.members.iter().flat_map(held_by).collect()
}

fn print(inspection: &GroupInspection, partitions: &[Progress], out: &mut impl Write) -> io::Result<()> {
    let group = &inspection.group;
    let (name, state) = (group.group.as_str(), state_name(group.state));
    writeln!(
        out,
        "group {}  {state}  epoch {}  assignor {}  {} members\n",
        escaped(name),
        group.epoch,
        group.assignor,
        group.members.len()
    )?;
    print_partitions(partitions, out)?;
    if inspection.members.is_empty() { Ok(()) } else { print_members(&inspection.members, out) }
}

fn print_partitions(partitions: &[Progress], out: &mut impl Write) -> io::Result<()> {
    let mut table = Table::new(["PARTITION", "COMMITTED", "END", "LAG", "OWNER", "SINCE"]);
    for row in partitions {
        let (owner, since) = row.owner.as_ref().map(|(name, since)| (name.clone(), rfc3339(*since))).unzip();
        table.row([
            format!("{}/{}", row.topic, row.partition),
            or_none(row.committed.map(|offset| offset.to_string())),
            row.end.to_string(),
            row.lag.to_string(),
            or_none(owner),
            or_none(since),
        ]);
    }
    table.print(out)
}

fn print_members(members: &[MemberInspection], out: &mut impl Write) -> io::Result<()> {
    writeln!(out)?;
    let mut table = Table::new(["MEMBER", "INSTANCE", "CLIENT", "ADDRESS", "SILENT", "HOLDS"]);
    for member in members {
        let giving_up = member.holds.iter().filter(|held| held.giving_up).count();
        table.row([
            member.member.to_string(),
            or_none(member.instance.clone()),
            or_none(member.client.clone()),
            or_none(member.address.clone()),
            format!("{:.1} s", member.silent_ms as f64 / 1000.0),
            match (member.holds.len(), giving_up) {
                (0, _) => "nothing: it is idle".to_owned(),
                (all, 0) => format!("{all} partitions"),
                (all, some) => format!("{all} partitions, {some} to be given up"),
            },
        ]);
    }
    table.print(out)
}

fn or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| "none".to_owned())
}

fn group_json(inspection: &GroupInspection, names: &BTreeMap<TopicId, TopicName>, partitions: &[Progress]) -> Value {
    let group = &inspection.group;
    let members = group.members.iter().zip(&inspection.members);
    json!({
        "group": group.group.as_str(),
        "state": state_name(group.state),
        "epoch": group.epoch,
        "assignor": group.assignor,
        "members": members.map(|(described, inspected)| member_json(described, inspected, names)).collect::<Vec<_>>(),
        "partitions": partitions.iter().map(row_json).collect::<Vec<_>>(),
    })
}

fn member_json(
    described: &MemberDescription,
    inspected: &MemberInspection,
    names: &BTreeMap<TopicId, TopicName>,
) -> Value {
    let held = |held: &Holding| {
        json!({
            "topic": names.get(&held.topic).map(TopicName::as_str),
            "partition": held.partition.value(),
            "since": held.since.as_millis(),
            "giving_up": held.giving_up,
        })
    };
    json!({
        "member": described.member.as_str(),
        "instance": inspected.instance,
        "client": inspected.client,
        "address": inspected.address,
        "silent_ms": inspected.silent_ms,
        "epoch": described.epoch.value(),
        "topics": described.topics.iter().map(TopicName::as_str).collect::<Vec<_>>(),
        "partitions": inspected.holds.iter().map(held).collect::<Vec<_>>(),
    })
}

fn row_json(row: &Progress) -> Value {
    json!({
        "topic": row.topic.as_str(),
        "partition": row.partition.value(),
        "committed": row.committed.map(Offset::value),
        "end": row.end.value(),
        "lag": row.lag,
        "owner": row.owner.as_ref().map(|(name, _)| name),
        "since": row.owner.as_ref().map(|(_, since)| since.as_millis()),
    })
}
