//! `topic list`.

use crate::arguments::Output;
use crate::output::{Out, Table, bytes_for_people};
use crate::session::Session;
use clap::Args;
use grower_client::{ConfigSource, TopicDescription};
use std::io::Write;

/// List all topics
#[derive(Debug, Args)]
#[command(
    after_help = "JSON: an array of {\"topic\",\"partitions\",\"replication_factor\",\"records\",\"bytes\"}, sorted by name; \
records counts the offsets between log start and log end, bytes what segments and indexes take on disk."
)]
pub struct List {}

impl List {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let topics = session.client.admin().describe_topics(None, false).await?;
        let topics: Vec<TopicDescription> = topics.into_iter().collect::<Result<_, _>>()?;
        let mut out = Out::stdout();
        match session.output {
            Output::Json => out.json(&topics.iter().map(json).collect::<Vec<_>>())?,
            Output::Table => table(&topics).print(&mut out)?,
        }
        Ok(out.flush()?)
    }
}

/// Offsets between log start and log end, and bytes on disk, over all partitions.
fn sums(topic: &TopicDescription) -> (u64, u64) {
    let records = topic.partitions.iter().map(|p| p.log_end.value().saturating_sub(p.log_start.value())).sum();
    (records, topic.partitions.iter().map(|partition| partition.bytes).sum())
}

fn json(topic: &TopicDescription) -> serde_json::Value {
    let (records, bytes) = sums(topic);
    serde_json::json!({
        "topic": topic.name.as_str(),
        "partitions": topic.partitions.len(),
        "replication_factor": topic.replication_factor,
        "records": records,
        "bytes": bytes,
    })
}

fn table(topics: &[TopicDescription]) -> Table {
    let mut table = Table::new(["TOPIC", "PARTITIONS", "REPLICAS", "RECORDS", "SIZE", "CONFIG"]);
    for topic in topics {
        let (records, bytes) = sums(topic);
        let set = topic.configs.iter().filter(|config| config.source == ConfigSource::Topic);
        let configs: Vec<String> = set.map(|config| format!("{}={}", config.key, config.value)).collect();
        table.row([
            topic.name.to_string(),
            topic.partitions.len().to_string(),
            topic.replication_factor.to_string(),
            records.to_string(),
            bytes_for_people(bytes),
            configs.join(" "),
        ]);
    }
    table
}
