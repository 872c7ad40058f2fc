//! Two topics, eighteen records, and the files they lie in.

use super::script::DemoOutput;
use crate::segment_listing;
use anyhow::Context;
use grower_client::{Partitioner, Record, TopicSpec};
use std::collections::BTreeMap;
use std::ops::Range;

/// Records of a segment.
pub(super) const SEGMENT_RECORDS: u64 = 3;

pub(super) async fn create(demo: &mut DemoOutput<'_>) -> anyhow::Result<()> {
    let admin = demo.client.admin();
    for (name, partitions) in [("rainbow", 3), ("sandbox", 2)] {
        let spec = TopicSpec::partitions(partitions).config("segment.messages", SEGMENT_RECORDS.to_string());
        admin.create_topic(name, spec).await.context("the demo needs a data directory without these topics")?;
    }
    demo.say("create topics -> rainbow(3), sandbox(2)            # segment.messages=3, one record a batch")?;
    let rainbow = admin.describe_topic("rainbow", false).await?.partitions.len();
    let sandbox = admin.describe_topic("sandbox", false).await?.partitions.len();
    demo.claim((rainbow, sandbox) == (3, 2), "rainbow has 3 partitions, sandbox has 2")
}

/// Writes `Hello, Kitty N!` for each number, one record a batch, round robin over rainbow's partitions.
pub(super) async fn write_kitties(demo: &mut DemoOutput<'_>, numbers: Range<u32>) -> anyhow::Result<()> {
    let builder = demo.client.producer().partitioner(Partitioner::RoundRobin).batch_records(1);
    let producer = builder.build().await?;
    let mut per_partition = BTreeMap::new();
    let mut weakest = None;
    for number in numbers.clone() {
        let ack = producer.send(Record::new("rainbow").value(format!("Hello, Kitty {number}!"))).await?;
        *per_partition.entry(ack.partition).or_insert(0) += 1;
        weakest = weakest.into_iter().chain([ack.durability]).min();
    }
    producer.close().await?;
    let (first, last) = (numbers.start, numbers.end - 1);
    demo.say(format!("\na producer writes 'Hello, Kitty {first}!' .. 'Hello, Kitty {last}!' to rainbow, round robin"))?;
    let even = per_partition.len() == 3 && per_partition.values().all(|count| *count == numbers.len() / 3);
    demo.claim(even, format!("{} acknowledged records, {} in each partition", numbers.len(), numbers.len() / 3))?;
    let fsynced = weakest == Some(grower_client::Durability::Fsynced);
    demo.claim(fsynced, "every ack came after its fsync")
}

/// Shows the segments with their records.
pub(super) async fn describe(demo: &mut DemoOutput<'_>) -> anyhow::Result<()> {
    let topic = demo.client.admin().describe_topic("rainbow", true).await?;
    let listed = segment_listing::read(demo.client, &topic, 10).await?;
    demo.say("\ndescribe rainbow:")?;
    segment_listing::print(&listed, &mut demo.out)?;
    let two_each = topic.partitions.iter().all(|partition| partition.segments.len() == 2);
    let full = listed.iter().all(|segment| segment.records.len() as u64 == SEGMENT_RECORDS);
    let dense = listed.iter().all(|segment| {
        segment.records.iter().zip(0..).all(|(record, at)| record.offset == segment.base_offset.saturating_add(at))
    });
    demo.claim(two_each && full && dense, "two segments a partition, three records a segment, offsets dense from 0")
}
