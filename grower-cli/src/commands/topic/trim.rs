//! `topic trim NAME[/PARTITION] --before POSITION`.

use crate::options::OutputForm;
use crate::output::{StdoutWriter, bytes_for_people, confirmed, counted, in_groups, noun};
use crate::position_spec::{PositionError, PositionSpec};
use crate::session::{Session, now};
use anyhow::{bail, ensure};
use clap::Args;
use grower_client::ids::{Offset, PartitionId};
use grower_client::{Admin, OffsetSpec, PartitionDescription, TopicDescription};
use serde_json::{Value, json};
use std::io::Write;

/// Drop the oldest records of a topic, or of one partition
///
/// Dropped records are gone for good. Readers that have not reached the new log start continue there. Records above the
/// high watermark are never dropped. On a terminal the command first lists what it will drop, and asks.
#[derive(Debug, Args)]
#[command(
    after_help = "offset:N drops the records before offset N in each partition. time:T drops the records before the first one that \
is at T or later, or all records if none is. Disk space is freed in whole segments: a segment that still holds a record stays.

JSON: an array of {\"topic\",\"partition\",\"log_start\",\"before\",\"records\",\"bytes\",\"trimmed\"}: log_start is the \
old log start, before the new one, records the number of offsets between them, bytes the freed disk space; trimmed is false with --dry-run.

Examples:
  grower-cli topic trim events --before time:-7d --dry-run     # what would be dropped?
  grower-cli topic trim events/2 --before offset:120000"
)]
pub struct TrimTopicCommand {
    /// The topic, or one partition of it
    #[arg(value_name = "NAME[/PARTITION]", value_parser = target)]
    target: (String, Option<u32>),
    /// offset:N, time:RFC3339, time:-5m for five minutes ago, or end for everything
    #[arg(long, value_name = "POSITION", value_parser = position)]
    before: PositionSpec,
    /// List what would be dropped, and drop nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

/// The effect of a trim on one partition.
#[derive(Debug, PartialEq, Eq)]
struct PartitionTrim {
    partition: PartitionId,
    log_start: Offset,
    before: Offset,
    records: u64,
    bytes: u64,
}

impl TrimTopicCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let admin = session.client.admin();
        let topic = admin.describe_topic(&self.target.0, true).await?;
        let trims = self.trims(&admin, &topic).await?;
        let some: Vec<&PartitionTrim> = trims.iter().filter(|trim| trim.log_start < trim.before).collect();
        let mut out = StdoutWriter::open();
        if session.output == OutputForm::Table {
            trim_lines(&topic, &trims, self.dry_run).iter().try_for_each(|line| writeln!(out, "{line}"))?;
            out.flush()?;
        }
        let go = !self.dry_run && !some.is_empty();
        ensure!(!go || self.yes || confirmed("drop them for good?")?, "nothing was dropped");
        if go {
            admin.trim_topic(&self.target.0, some.iter().map(|trim| (trim.partition, trim.before))).await?;
        }
        match session.output {
            OutputForm::Json => out.json(&trims.iter().map(|trim| trim.json(&topic, go)).collect::<Vec<_>>())?,
            OutputForm::Table if go => writeln!(out, "done")?,
            OutputForm::Table => {}
        }
        Ok(out.flush()?)
    }

    async fn trims(&self, admin: &Admin, topic: &TopicDescription) -> anyhow::Result<Vec<PartitionTrim>> {
        let wanted = |p: &&PartitionDescription| self.target.1.is_none_or(|number| p.partition.value() == number);
        let mut trims = Vec::new();
        for partition in topic.partitions.iter().filter(wanted) {
            trims.push(PartitionTrim::of(partition, self.before_in(admin, topic, partition).await?));
        }
        ensure!(
            !trims.is_empty(),
            "topic {} has {}, counted from 0",
            topic.name,
            counted(topic.partitions.len(), "partition")
        );
        Ok(trims)
    }

    async fn before_in(
        &self,
        admin: &Admin,
        topic: &TopicDescription,
        partition: &PartitionDescription,
    ) -> anyhow::Result<Offset> {
        let end = partition.high_watermark;
        Ok(match self.before {
            PositionSpec::Offset(offset) => {
                let (topic, number) = (&topic.name, partition.partition);
                // The broker refuses it as well, but only after the effect was printed.
                ensure!(offset <= end, "{topic}/{number}: offset {offset} is above the high watermark, {end}");
                offset
            }
            PositionSpec::End => end,
            PositionSpec::Time(when) => {
                let spec = OffsetSpec::AtOrAfter(when.resolve(now()));
                let listed = admin.list_offsets([(topic.name.as_str(), partition.partition, spec)]).await?;
                listed.into_iter().next().transpose()?.and_then(|listed| listed.offset).unwrap_or(end)
            }
            PositionSpec::Beginning | PositionSpec::Committed => bail!(PLACES),
        })
    }
}

impl PartitionTrim {
    fn of(partition: &PartitionDescription, before: Offset) -> Self {
        let goes = |base: Offset, end: Offset| base < end && end <= before;
        let gone = partition.segments.iter().filter(|segment| goes(segment.base_offset, segment.end_offset));
        Self {
            partition: partition.partition,
            log_start: partition.log_start,
            before,
            records: before.since(partition.log_start),
            bytes: gone.map(|segment| segment.log_bytes + segment.index_bytes).sum(),
        }
    }

    fn json(&self, topic: &TopicDescription, trimmed: bool) -> Value {
        json!({
            "topic": topic.name.as_str(),
            "partition": self.partition.value(),
            "log_start": self.log_start.value(),
            "before": self.before.max(self.log_start).value(),
            "records": self.records,
            "bytes": self.bytes,
            "trimmed": trimmed && self.records != 0,
        })
    }
}

/// One line per partition.
fn trim_lines(topic: &TopicDescription, trims: &[PartitionTrim], dry_run: bool) -> Vec<String> {
    let verb = if dry_run { "would drop" } else { "drops" };
    let line = |trim: &PartitionTrim| {
        let (name, number, start, before) = (&topic.name, trim.partition, trim.log_start, trim.before);
        match trim.records {
            0 => format!("{name}/{number}: nothing to drop before offset {before}, the log starts at {start}"),
            records => format!(
                "{name}/{number}: {verb} {} {}, offsets {start}..{before}, and frees {}",
                in_groups(records),
                noun(records, "record"),
                bytes_for_people(trim.bytes)
            ),
        }
    };
    trims.iter().map(line).collect()
}

const PLACES: &str = "write offset:N, time:RFC3339, time:-5m, or end";

/// Reads a position to trim to.
fn position(text: &str) -> Result<PositionSpec, String> {
    match text.parse() {
        Ok(PositionSpec::Beginning | PositionSpec::Committed) | Err(PositionError::Unknown) => Err(PLACES.to_owned()),
        position => position.map_err(|error| error.to_string()),
    }
}

/// Reads `NAME` or `NAME/PARTITION`.
fn target(text: &str) -> Result<(String, Option<u32>), String> {
    match text.split_once('/') {
        None => Ok((text.to_owned(), None)),
        Some((name, number)) => {
            let number = number.parse().map_err(|_| "write it as TOPIC or TOPIC/PARTITION, as in events/0")?;
            Ok((name.to_owned(), Some(number)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trim_refuses_positions_without_earlier_records() {
        assert_eq!(position("offset:7"), Ok(PositionSpec::Offset(Offset::new(7))));
        assert_eq!(position("end"), Ok(PositionSpec::End));
        for wrong in ["beginning", "committed", "7"] {
            assert_eq!(position(wrong), Err(PLACES.to_owned()), "{wrong}");
        }
    }

    #[test]
    fn a_partition_is_named_by_its_number() {
        assert_eq!(target("events"), Ok(("events".to_owned(), None)));
        assert_eq!(target("events/2"), Ok(("events".to_owned(), Some(2))));
        assert!(target("events/two").is_err());
    }
}
