//! `group reset G --topic T --to POSITION`.

use crate::options::{OutputForm, WrongUsage};
use crate::output::{StdoutWriter, escaped};
use crate::position_spec::PositionSpec;
use crate::session::{Session, now};
use anyhow::{Context, bail};
use clap::Args;
use grower_client::ids::{Offset, PartitionId};
use grower_client::{Admin, OffsetSpec, TopicDescription};
use std::io::Write;

/// Set a group's committed offsets in a topic
///
/// The group must have no members: stop its consumers first.
#[derive(Debug, Args)]
#[command(
    after_help = "An offset outside the log becomes the log start or the high watermark. A time after the newest record \
means the high watermark.

JSON: an array of {\"topic\",\"partition\",\"offset\"}

Examples:
  grower-cli group reset billing --topic orders --to beginning
  grower-cli group reset billing --topic orders --to time:-1h"
)]
pub struct ResetGroupCommand {
    /// The group
    group: String,
    /// The topic, all partitions of it
    #[arg(long, value_name = "T")]
    topic: String,
    /// beginning, end, offset:N, time:RFC3339, or time:-5m for five minutes ago
    #[arg(long, value_name = "POSITION")]
    to: PositionSpec,
}

impl ResetGroupCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let admin = session.client.admin();
        let offsets = self.offsets(&admin).await?;
        let reset = offsets.iter().map(|(partition, offset)| (self.topic.as_str(), *partition, *offset));
        admin.reset_group(&self.group, reset).await?;
        let mut out = StdoutWriter::open();
        match session.output {
            OutputForm::Json => {
                let json = |(partition, offset): &(PartitionId, Offset)| serde_json::json!({ "topic": self.topic, "partition": partition.value(), "offset": offset.value() });
                out.json(&offsets.iter().map(json).collect::<Vec<_>>())?;
            }
            OutputForm::Table => {
                let group = escaped(&self.group);
                for (partition, offset) in &offsets {
                    writeln!(out, "{group}: {}/{partition} reset to offset {offset}", self.topic)?;
                }
            }
        }
        Ok(out.flush()?)
    }

    /// Fails if a partition is offline: its log start and end are unknown.
    async fn check_served(&self, admin: &Admin, topic: &TopicDescription) -> anyhow::Result<()> {
        let lookups = topic.partitions.iter().map(|now| (self.topic.as_str(), now.partition, OffsetSpec::End));
        for (now, found) in topic.partitions.iter().zip(admin.list_offsets(lookups).await?) {
            let topic_partition = format!("{}/{}", self.topic, now.partition);
            found
                .with_context(|| format!("{} was not reset: {topic_partition} cannot be read", escaped(&self.group)))?;
        }
        Ok(())
    }

    async fn offsets(&self, admin: &Admin) -> anyhow::Result<Vec<(PartitionId, Offset)>> {
        let topic = admin.describe_topic(&self.topic, false).await?;
        self.check_served(admin, &topic).await?;
        let mut offsets = Vec::new();
        for partition in topic.partitions {
            let (start, end) = (partition.log_start, partition.high_watermark);
            let offset = match self.to {
                PositionSpec::Committed => {
                    let usage = "--to committed changes nothing; --to takes beginning, end, offset:N or time:..";
                    bail!(WrongUsage(usage))
                }
                PositionSpec::Beginning => start,
                PositionSpec::End => end,
                PositionSpec::Offset(offset) => offset.clamp(start, end),
                PositionSpec::Time(when) => {
                    let spec = OffsetSpec::AtOrAfter(when.resolve(now()));
                    let listed = admin.list_offsets([(self.topic.as_str(), partition.partition, spec)]).await?;
                    listed.into_iter().next().transpose()?.and_then(|listed| listed.offset).unwrap_or(end)
                }
            };
            offsets.push((partition.partition, offset));
        }
        Ok(offsets)
    }
}
