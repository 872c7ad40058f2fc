//! `topic describe NAME`.

use crate::options::OutputForm;
use crate::output::{StdoutWriter, TextTable, bytes_for_people, rfc3339};
use crate::segment_listing::{self, SegmentListing};
use crate::session::Session;
use clap::Args;
use grower_client::ids::NodeId;
use grower_client::{
    AcceptedLossDescription, ConfigSource, PartitionDescription, SegmentDescription, TopicDescription,
};
use serde_json::{Value, json};
use std::io::{self, Write};

/// Show a topic: its configs, partitions, and on request segments and records
#[derive(Debug, Args)]
#[command(
    after_help = "START, HW and END are the log start offset, the high watermark (the first record not yet committed) and the log \
end offset; DAMAGED names offsets whose bytes on disk are damaged. Records given up as lost (log repair --accept-loss) are listed with \
the time, the person, and the file that keeps their bytes.

JSON: {\"topic\",\"id\",\"replication_factor\",\"configs\":{key:{\"value\",\"source\":\"default\"|\"topic\"}},\"partitions\":[{\"partition\", \
\"leader\",\"leader_epoch\",\"replicas\",\"in_sync\",\"log_start\",\"high_watermark\",\"log_end\",\"bytes\",\"damaged\":[[from,to]], \
\"given_up\":[{\"offsets\":[from,to],\"at\",\"by\",\"what\",\"kept\",\"bytes\"}], \
\"segments\":[{\"log_file\",\"index_file\",\"base_offset\",\"end_offset\",\"log_bytes\",\"index_bytes\",\"max_timestamp\",\"records\":[..]}]}]}; \
segments only with --segments or --records, records only with --records.

Examples:
  grower-cli topic describe events
  grower-cli topic describe events --records           each segment with the first records in it"
)]
pub struct DescribeTopicCommand {
    /// The topic
    name: String,
    /// Show the segments of each partition
    #[arg(long)]
    segments: bool,
    /// Show the segments with the values of their first records, 10 of each
    #[arg(long)]
    records: bool,
}

/// How many records of a segment are shown.
const RECORDS_PER_SEGMENT: usize = 10;

impl DescribeTopicCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let topic = session.client.admin().describe_topic(&self.name, self.segments || self.records).await?;
        let losses = session.client.admin().list_losses(&self.name).await?;
        let mut listed = Vec::new();
        if self.records {
            listed = segment_listing::read(&session.client, &topic, RECORDS_PER_SEGMENT).await?;
        }
        let mut out = StdoutWriter::open();
        match session.output {
            OutputForm::Json => out.json(&topic_json(&topic, &listed, &losses))?,
            OutputForm::Table => {
                print(&topic, &mut out)?;
                if !losses.is_empty() {
                    accepted_losses(&topic, &losses).print(&mut out)?;
                }
                if self.segments {
                    segments(&topic).print(&mut out)?;
                }
                if self.records {
                    writeln!(out, "\nrecords:")?;
                    segment_listing::print(&listed, &mut out)?;
                }
            }
        }
        Ok(out.flush()?)
    }
}

fn print(topic: &TopicDescription, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "topic {}  id {}  replication factor {}\n", topic.name, topic.id, topic.replication_factor)?;
    configs(topic).print(out)?;
    writeln!(out)?;
    partitions(topic).print(out)
}

fn configs(topic: &TopicDescription) -> TextTable<3> {
    let mut table = TextTable::new(["CONFIG", "VALUE", "SET BY"]);
    for config in &topic.configs {
        table.row([config.key.clone(), config.value.clone(), source(config.source).to_owned()]);
    }
    table
}

fn source(source: ConfigSource) -> &'static str {
    match source {
        ConfigSource::Default => "default",
        ConfigSource::Topic => "topic",
    }
}

fn partitions(topic: &TopicDescription) -> TextTable<10> {
    let heads = ["PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "START", "HW", "END", "SIZE", "DAMAGED"];
    let mut table = TextTable::new(heads);
    for partition in &topic.partitions {
        let damaged = partition.damaged.iter().map(|(from, to)| format!("{from}..{to}"));
        table.row([
            format!("{}/{}", topic.name, partition.partition),
            partition.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string()),
            partition.leader_epoch.to_string(),
            nodes(&partition.replicas),
            nodes(&partition.in_sync),
            partition.log_start.to_string(),
            partition.high_watermark.to_string(),
            partition.log_end.to_string(),
            bytes_for_people(partition.bytes),
            damaged.collect::<Vec<_>>().join(" "),
        ]);
    }
    table
}

fn nodes(nodes: &[NodeId]) -> String {
    nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(",")
}

fn accepted_losses(topic: &TopicDescription, losses: &[AcceptedLossDescription]) -> TextTable<6> {
    let mut table = TextTable::new(["\nPARTITION", "\nGIVEN UP", "\nAT", "\nBY", "\nWHAT", "\nKEPT"]);
    for loss in losses {
        table.row([
            format!("{}/{}", topic.name, loss.partition),
            format!("{}..{}", loss.start, loss.end),
            rfc3339(loss.at),
            loss.by.clone(),
            loss.reason.clone(),
            if loss.kept.is_empty() { String::new() } else { format!("cut/{}", loss.kept) },
        ]);
    }
    table
}

fn segments(topic: &TopicDescription) -> TextTable<6> {
    let mut table = TextTable::new(["\nPARTITION", "\nLOG FILE", "\nOFFSETS", "\nLOG", "\nINDEX", "\nNEWEST RECORD"]);
    for partition in &topic.partitions {
        for segment in &partition.segments {
            table.row([
                format!("{}/{}", topic.name, partition.partition),
                segment.log_file.clone(),
                format!("{}..{}", segment.base_offset, segment.end_offset),
                bytes_for_people(segment.log_bytes),
                bytes_for_people(segment.index_bytes),
                segment.max_timestamp.map(rfc3339).unwrap_or_default(),
            ]);
        }
    }
    table
}

fn topic_json(topic: &TopicDescription, listed: &[SegmentListing], losses: &[AcceptedLossDescription]) -> Value {
    let config =
        |c: &grower_client::ConfigEntry| (c.key.clone(), json!({ "value": c.value, "source": source(c.source) }));
    json!({
        "topic": topic.name.as_str(),
        "id": topic.id.to_string(),
        "replication_factor": topic.replication_factor,
        "configs": topic.configs.iter().map(config).collect::<serde_json::Map<_, _>>(),
        "partitions": topic.partitions.iter().map(|p| partition_json(p, listed, losses)).collect::<Vec<_>>(),
    })
}

fn partition_json(
    partition: &PartitionDescription,
    listed: &[SegmentListing],
    losses: &[AcceptedLossDescription],
) -> Value {
    let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.value()).collect::<Vec<_>>();
    let records_of = |segment: &SegmentDescription| {
        let is_it = |l: &&SegmentListing| l.partition == partition.partition && l.base_offset == segment.base_offset;
        listed.iter().find(is_it)
    };
    json!({
        "partition": partition.partition.value(),
        "leader": partition.leader.map(NodeId::value),
        "leader_epoch": partition.leader_epoch.value(),
        "replicas": numbers(&partition.replicas),
        "in_sync": numbers(&partition.in_sync),
        "log_start": partition.log_start.value(),
        "high_watermark": partition.high_watermark.value(),
        "log_end": partition.log_end.value(),
        "bytes": partition.bytes,
        "damaged": partition.damaged.iter().map(|(from, to)| [from.value(), to.value()]).collect::<Vec<_>>(),
        "given_up": losses.iter().filter(|loss| loss.partition == partition.partition).map(loss_json).collect::<Vec<_>>(),
        "segments": partition.segments.iter().map(|s| segment_json(s, records_of(s))).collect::<Vec<_>>(),
    })
}

fn loss_json(loss: &AcceptedLossDescription) -> Value {
    json!({
        "offsets": [loss.start.value(), loss.end.value()],
        "at": loss.at.as_millis(),
        "by": loss.by,
        "what": loss.reason,
        "kept": loss.kept,
        "bytes": loss.bytes,
    })
}

fn segment_json(segment: &SegmentDescription, listed: Option<&SegmentListing>) -> Value {
    let mut json = json!({
        "log_file": segment.log_file,
        "index_file": segment.index_file,
        "base_offset": segment.base_offset.value(),
        "end_offset": segment.end_offset.value(),
        "log_bytes": segment.log_bytes,
        "index_bytes": segment.index_bytes,
        "max_timestamp": segment.max_timestamp.map(|time| time.as_millis()),
    });
    if let Some(listed) = listed {
        let records: Vec<_> = listed.records.iter().map(crate::output::RecordJson).collect();
        json["records"] = json!(records);
    }
    json
}
