//! `group describe G`.

use crate::groups::{self, GroupProgress, state_name};
use crate::options::OutputForm;
use crate::output::{StdoutWriter, TextTable, counted, escaped, millis_for_people, rfc3339};
use crate::session::Session;
use clap::Args;
use grower_client::ids::{Offset, TopicId, TopicName};
use grower_client::{GroupDescription, Holding, MemberDescription};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Show a group: each partition with its committed offset, lag and owner, and its members
#[derive(Debug, Args)]
#[command(
    after_help = "COMMITTED is the offset of the next record to read, END the high watermark, LAG the number of records between them (from \
the log start if nothing is committed). If the log lost records that were read, COMMITTED names the first lost offset: readers go \
back there. BEHIND is the age of the first record to read, OWNER the member that holds the partition, SINCE the time it got it. \
INSTANCE is the static name of a member, SILENT the time since its latest heartbeat.

JSON: {\"group\",\"state\",\"epoch\",\"assignor\",\"members\":[{\"member\",\"instance\",\"client\",\"address\",\"silent_ms\",\"epoch\",\"topics\", \
\"partitions\":[{\"topic\",\"partition\",\"since\",\"giving_up\"}]}],\"partitions\":[{\"topic\",\"partition\",\"committed\",\"lost_from\",\"end\",\"lag\",\"lag_ms\", \
\"owner\",\"since\"}]}; committed, lost_from, owner, since, instance, client and address may be null; times are integer milliseconds."
)]
pub struct DescribeGroupCommand {
    /// The group
    group: String,
}

impl DescribeGroupCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let admin = session.client.admin();
        let group = admin.describe_group(&self.group).await?;
        let now = admin.describe_broker().await?.now;
        let names = groups::topic_names(&admin).await?;
        let groups = [group];
        let partitions = groups::fetch_progress(&admin, &groups, &names, now).await?.pop().unwrap_or_default();
        let [group] = groups;
        let mut out = StdoutWriter::open();
        match session.output {
            OutputForm::Json => out.json(&group_json(&group, &names, &partitions))?,
            OutputForm::Table => print(&group, &partitions, &mut out)?,
        }
        Ok(out.flush()?)
    }
}

fn print(group: &GroupDescription, partitions: &[GroupProgress], out: &mut impl Write) -> io::Result<()> {
    let (name, state) = (group.group.as_str(), state_name(group.state));
    writeln!(
        out,
        "group {}  {state}  epoch {}  assignor {}  {}\n",
        escaped(name),
        group.epoch,
        group.assignor,
        counted(group.members.len(), "member")
    )?;
    print_partitions(partitions, out)?;
    if group.members.is_empty() { Ok(()) } else { print_members(&group.members, out) }
}

fn print_partitions(partitions: &[GroupProgress], out: &mut impl Write) -> io::Result<()> {
    let mut table = TextTable::new(["PARTITION", "COMMITTED", "END", "LAG", "BEHIND", "OWNER", "SINCE"]);
    for row in partitions {
        let (owner, since) = row.owner.as_ref().map(|owner| (owner.member.clone(), rfc3339(owner.since))).unzip();
        table.row([
            format!("{}/{}", row.topic, row.partition),
            committed(row),
            row.end.to_string(),
            row.lag.to_string(),
            row.lag_ms.map(millis_for_people).unwrap_or_default(),
            or_none(owner),
            or_none(since),
        ]);
    }
    table.print(out)
}

fn print_members(members: &[MemberDescription], out: &mut impl Write) -> io::Result<()> {
    writeln!(out)?;
    let mut table = TextTable::new(["MEMBER", "INSTANCE", "CLIENT", "ADDRESS", "SILENT", "HOLDS"]);
    for member in members {
        let being_revoked = member.holds.iter().filter(|held| held.pending_revocation).count();
        table.row([
            member.member.to_string(),
            or_none(member.instance.clone()),
            or_none(member.client.clone()),
            or_none(member.address.clone()),
            millis_for_people(member.silent_ms),
            match (member.holds.len(), being_revoked) {
                (0, _) => "none: idle".to_owned(),
                (all, 0) => counted(all, "partition"),
                (all, some) => format!("{}, {some} being revoked", counted(all, "partition")),
            },
        ]);
    }
    table.print(out)
}

fn committed(row: &GroupProgress) -> String {
    match (row.committed, row.lost_from) {
        (Some(committed), Some(lost_from)) => format!("{committed}, lost from {lost_from}"),
        (committed, _) => or_none(committed.map(|offset| offset.to_string())),
    }
}

fn or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| "none".to_owned())
}

fn group_json(group: &GroupDescription, names: &BTreeMap<TopicId, TopicName>, partitions: &[GroupProgress]) -> Value {
    json!({
        "group": group.group.as_str(),
        "state": state_name(group.state),
        "epoch": group.epoch,
        "assignor": group.assignor,
        "members": group.members.iter().map(|member| member_json(member, names)).collect::<Vec<_>>(),
        "partitions": partitions.iter().map(row_json).collect::<Vec<_>>(),
    })
}

fn member_json(member: &MemberDescription, names: &BTreeMap<TopicId, TopicName>) -> Value {
    let held = |held: &Holding| {
        json!({
            "topic": names.get(&held.topic).map(TopicName::as_str),
            "partition": held.partition.value(),
            "since": held.since.as_millis(),
            "giving_up": held.pending_revocation,
        })
    };
    json!({
        "member": member.member.as_str(),
        "instance": member.instance,
        "client": member.client,
        "address": member.address,
        "silent_ms": member.silent_ms,
        "epoch": member.epoch.value(),
        "topics": member.topics.iter().map(TopicName::as_str).collect::<Vec<_>>(),
        "partitions": member.holds.iter().map(held).collect::<Vec<_>>(),
    })
}

fn row_json(row: &GroupProgress) -> Value {
    json!({
        "topic": row.topic.as_str(),
        "partition": row.partition.value(),
        "committed": row.committed.map(Offset::value),
        "lost_from": row.lost_from.map(Offset::value),
        "end": row.end.value(),
        "lag": row.lag,
        "lag_ms": row.lag_ms,
        "owner": row.owner.as_ref().map(|owner| &owner.member),
        "since": row.owner.as_ref().map(|owner| owner.since.as_millis()),
    })
}
