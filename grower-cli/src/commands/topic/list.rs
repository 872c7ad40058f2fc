//! `topic list`.

use crate::capacity::{Capacity, Rate};
use crate::options::OutputForm;
use crate::output::{StdoutWriter, TextTable, bytes_for_people, in_groups};
use crate::session::Session;
use clap::Args;
use grower_client::{BrokerDescription, ConfigSource, TopicDescription};
use std::io::Write;

/// List all topics with sizes and rates, and when the disk will be full
#[derive(Debug, Args)]
#[command(
    after_help = "IN and OUT are records and bytes a second over the last minute, as stored and sent. The line below the table shows \
the free disk space beyond the reserve and, while the disk fills, when it will be full.

JSON: an array of {\"topic\",\"partitions\",\"replication_factor\",\"records\",\"bytes\",\"records_in_per_s\",\"bytes_in_per_s\",\
\"records_out_per_s\",\"bytes_out_per_s\",\"days_until_full\"}, sorted by name; records is the number of offsets between log start and \
log end, bytes the size of segments and indexes on disk; days_until_full is null while the disk does not fill."
)]
pub struct ListTopicsCommand {}

/// A topic with its size and rate.
struct TopicRow {
    topic: TopicDescription,
    records: u64,
    bytes: u64,
    rate: Rate,
}

impl ListTopicsCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let admin = session.client.admin();
        let topics = admin.describe_topics(None, false).await?;
        let broker = admin.describe_broker().await?;
        let rows =
            topics.into_iter().map(|topic| Ok(TopicRow::of(topic?, &broker))).collect::<anyhow::Result<Vec<_>>>()?;
        let capacity = broker.disk.as_ref().map(Capacity::of);
        let mut out = StdoutWriter::open();
        match session.output {
            OutputForm::Json => out.json(&rows.iter().map(|row| row.json(capacity)).collect::<Vec<_>>())?,
            OutputForm::Table => {
                table(&rows).print(&mut out)?;
                capacity.map_or(Ok(()), |capacity| writeln!(out, "\ndisk: {}", capacity.describe()))?;
            }
        }
        Ok(out.flush()?)
    }
}

impl TopicRow {
    fn of(topic: TopicDescription, broker: &BrokerDescription) -> Self {
        let traffic = broker.topics.iter().find(|traffic| traffic.topic == topic.id);
        Self {
            records: topic.partitions.iter().map(|p| p.log_end.value().saturating_sub(p.log_start.value())).sum(),
            bytes: topic.partitions.iter().map(|partition| partition.bytes).sum(),
            rate: traffic.map(|traffic| Rate::of(&traffic.recent, traffic.recent_ms)).unwrap_or_default(),
            topic,
        }
    }

    fn json(&self, capacity: Option<Capacity>) -> serde_json::Value {
        serde_json::json!({
            "topic": self.topic.name.as_str(),
            "partitions": self.topic.partitions.len(),
            "replication_factor": self.topic.replication_factor,
            "records": self.records,
            "bytes": self.bytes,
            "records_in_per_s": self.rate.records_in,
            "bytes_in_per_s": self.rate.bytes_in,
            "records_out_per_s": self.rate.records_out,
            "bytes_out_per_s": self.rate.bytes_out,
            "days_until_full": capacity.and_then(|capacity| capacity.days_until_full()),
        })
    }
}

fn table(rows: &[TopicRow]) -> TextTable<10> {
    let mut table =
        TextTable::new(["TOPIC", "PARTITIONS", "REPLICAS", "RECORDS", "SIZE", "IN/S", "", "OUT/S", "", "CONFIG"]);
    for TopicRow { topic, records, bytes, rate } in rows {
        let set = topic.configs.iter().filter(|config| config.source == ConfigSource::Topic);
        let configs: Vec<String> = set.map(|config| format!("{}={}", config.key, config.value)).collect();
        table.row([
            topic.name.to_string(),
            topic.partitions.len().to_string(),
            topic.replication_factor.to_string(),
            records.to_string(),
            bytes_for_people(*bytes),
            in_groups(rate.records_in),
            bytes_for_people(rate.bytes_in),
            in_groups(rate.records_out),
            bytes_for_people(rate.bytes_out),
            configs.join(" "),
        ]);
    }
    table
}
