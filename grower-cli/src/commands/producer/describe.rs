//! `producer describe NAME`.

use crate::groups::topic_names;
use crate::options::OutputForm;
use crate::output::{StdoutWriter, TextTable, escaped, rfc3339};
use crate::session::Session;
use clap::Args;
use grower_client::ids::{TopicId, TopicName};
use grower_client::{LastWritten, ProducerDescription};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Show a named producer with the last record that it wrote to each partition
#[derive(Debug, Args)]
#[command(
    after_help = "OFFSET and SEQUENCE are those of the last record in a partition, EPOCH is the epoch that wrote it. The next holder of the name \
continues at the next sequence.

JSON: {\"producer\",\"id\",\"epoch\",\"claimed\",\"partitions\":[{\"topic\",\"partition\",\"offset\",\"sequence\",\"id\",\"epoch\"}]}; claimed is \
integer milliseconds"
)]
pub struct DescribeProducerCommand {
    /// The producer
    name: String,
}

impl DescribeProducerCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let admin = session.client.admin();
        let producer = admin.describe_producer(&self.name).await?;
        let names = topic_names(&admin).await?;
        let mut out = StdoutWriter::open();
        match session.output {
            OutputForm::Json => out.json(&to_json(&producer, &names))?,
            OutputForm::Table => print(&producer, &names, &mut out)?,
        }
        Ok(out.flush()?)
    }
}

/// The last records by topic name, without topics that were deleted meanwhile.
fn written<'a>(
    producer: &'a ProducerDescription,
    names: &'a BTreeMap<TopicId, TopicName>,
) -> Vec<(&'a TopicName, u32, &'a LastWritten)> {
    let named = producer.written.iter();
    let named = named.filter_map(|(topic, partition, last)| Some((names.get(topic)?, partition.value(), last)));
    let mut written: Vec<_> = named.collect();
    written.sort_by_key(|(topic, partition, _)| (*topic, *partition));
    written
}

fn print(
    described: &ProducerDescription,
    names: &BTreeMap<TopicId, TopicName>,
    out: &mut impl Write,
) -> io::Result<()> {
    let (producer, identity) = (&described.producer, described.producer.identity);
    writeln!(
        out,
        "producer {}  id {}  epoch {}  claimed {}\n",
        escaped(producer.name.as_str()),
        identity.id,
        identity.epoch,
        rfc3339(producer.claimed)
    )?;
    let mut table = TextTable::new(["PARTITION", "OFFSET", "SEQUENCE", "EPOCH"]);
    for (topic, partition, last) in written(described, names) {
        table.row([
            format!("{topic}/{partition}"),
            last.offset.to_string(),
            last.sequence.to_string(),
            last.producer.epoch.to_string(),
        ]);
    }
    table.print(out)
}

fn to_json(described: &ProducerDescription, names: &BTreeMap<TopicId, TopicName>) -> Value {
    let (producer, identity) = (&described.producer, described.producer.identity);
    let partition = |(topic, partition, last): (&TopicName, u32, &LastWritten)| {
        json!({
            "topic": topic.as_str(),
            "partition": partition,
            "offset": last.offset.value(),
            "sequence": last.sequence.to_wire(),
            "id": last.producer.id.value(),
            "epoch": last.producer.epoch.value(),
        })
    };
    json!({
        "producer": producer.name.as_str(),
        "id": identity.id.value(),
        "epoch": identity.epoch.value(),
        "claimed": producer.claimed.as_millis(),
        "partitions": written(described, names).into_iter().map(partition).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use grower_client::ids::{Offset, PartitionId, ProducerEpoch, ProducerId, ProducerName, Sequence, Timestamp};
    use grower_client::{NamedProducerDescription, ProducerIdentity};

    #[test]
    fn a_producer_is_shown_with_its_last_records_by_topic_name() {
        let identity = |epoch| ProducerIdentity { id: ProducerId::new(7), epoch: ProducerEpoch::new(epoch) };
        let (a, b, gone) =
            (TopicId::from_random([2; 16]), TopicId::from_random([1; 16]), TopicId::from_random([3; 16]));
        let last = |offset| LastWritten {
            producer: identity(2),
            sequence: Sequence::from_wire(41).unwrap(),
            offset: Offset::new(offset),
        };
        let described = ProducerDescription {
            producer: NamedProducerDescription {
                name: ProducerName::new("shipper").unwrap(),
                identity: identity(3),
                claimed: Timestamp::from_millis(1_795_000_000_123),
            },
            written: vec![
                (b, PartitionId::new(0), last(9)),
                (a, PartitionId::new(10), last(8)),
                (a, PartitionId::new(9), last(7)),
                (gone, PartitionId::new(0), last(6)),
            ],
        };
        let names = [(a, "a"), (b, "b")].map(|(id, name)| (id, TopicName::new(name).unwrap())).into();
        let mut out = Vec::new();
        print(&described, &names, &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @"
    producer shipper  id 7  epoch 3  claimed 2026-11-18T11:06:40.123Z

    PARTITION  OFFSET  SEQUENCE  EPOCH
    a/9        7       41        2
    a/10       8       41        2
    b/0        9       41        2
    ");
        insta::assert_snapshot!(to_json(&described, &names), @r#"{"producer":"shipper","id":7,"epoch":3,"claimed":1795000000123,"partitions":[{"topic":"a","partition":9,"offset":7,"sequence":41,"id":7,"epoch":2},{"topic":"a","partition":10,"offset":8,"sequence":41,"id":7,"epoch":2},{"topic":"b","partition":0,"offset":9,"sequence":41,"id":7,"epoch":2}]}"#);
    }
}
