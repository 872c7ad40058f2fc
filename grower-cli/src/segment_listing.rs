//! The segments of a topic with their first records, as `describe --records` and the demo show them:
//!
//! ```text
//! rainbow/0  00000000000000000000.growerlog  ['Hello, Kitty 0!', 'Hello, Kitty 3!', ..]   + .growerindex
//! ```

use crate::output::quoted;
use grower_client::ids::{Offset, PartitionId, TopicName};
use grower_client::{
    Client, ConsumeError, Consumer, ConsumerRecord, PartitionDescription, SegmentDescription, StartFrom,
    TopicDescription,
};
use std::io::{self, Write};
use std::time::Duration;

/// A segment and its first records.
pub(crate) struct SegmentListing {
    topic: TopicName,
    /// Its partition.
    pub(crate) partition: PartitionId,
    /// Its first offset.
    pub(crate) base_offset: Offset,
    /// Its first committed records.
    pub(crate) records: Vec<ConsumerRecord>,
    /// The number of further records.
    more: u64,
    log_file: String,
    index_file: String,
}

/// Reads up to `count` records of each segment of a topic described with its segments.
pub(crate) async fn read(
    client: &Client,
    topic: &TopicDescription,
    count: usize,
) -> Result<Vec<SegmentListing>, ConsumeError> {
    let mut listed = Vec::new();
    for partition in &topic.partitions {
        let assignment = [(topic.name.as_str(), partition.partition)];
        let from = StartFrom::Offset(partition.log_start);
        let builder = client.consumer().assign(assignment).from(from).max_poll_records(count);
        let mut consumer = builder.build().await?;
        for segment in &partition.segments {
            listed.push(read_segment(&mut consumer, topic, partition, segment, count).await?);
        }
        consumer.close().await?;
    }
    Ok(listed)
}

async fn read_segment(
    consumer: &mut Consumer,
    topic: &TopicDescription,
    partition: &PartitionDescription,
    segment: &SegmentDescription,
    count: usize,
) -> Result<SegmentListing, ConsumeError> {
    let start = segment.base_offset.max(partition.log_start);
    let end = segment.end_offset.min(partition.high_watermark);
    let mut records: Vec<ConsumerRecord> = Vec::new();
    if start < end {
        consumer.seek(topic.name.as_str(), partition.partition, start)?;
    }
    let next = |records: &[ConsumerRecord]| records.last().map_or(start, |last| last.offset.saturating_add(1));
    while next(&records) < end && records.len() < count {
        let polled = consumer.poll(Duration::from_secs(10)).await?;
        if polled.is_empty() {
            break; // Retention or compaction removed the records meanwhile.
        }
        records.extend(polled.into_iter().filter(|record| record.offset < end));
        records.truncate(count);
    }
    Ok(SegmentListing {
        topic: topic.name.clone(),
        partition: partition.partition,
        base_offset: segment.base_offset,
        more: end.value().saturating_sub(next(&records).value()),
        records,
        log_file: segment.log_file.clone(),
        index_file: segment.index_file.clone(),
    })
}

/// Prints the listing; a partition is named once, at its first segment.
pub(crate) fn print(listed: &[SegmentListing], out: &mut impl Write) -> io::Result<()> {
    let name_width = listed.iter().map(|segment| name(segment).len()).max().unwrap_or(0);
    for partition in listed.chunk_by(|a, b| a.partition == b.partition) {
        let contents: Vec<String> = partition.iter().map(contents).collect();
        let width = contents.iter().map(|text| text.chars().count()).max().unwrap_or(0).min(ALIGNED_UP_TO);
        for (at, (segment, contents)) in partition.iter().zip(contents).enumerate() {
            let shown = if at == 0 { name(segment) } else { String::new() };
            let index = segment.index_file.rsplit_once('.').map(|(_, kind)| format!("+ .{kind}")).unwrap_or_default();
            let line = format!("  {shown:name_width$}  {}  {contents:width$}   {index}", segment.log_file);
            writeln!(out, "{}", line.trim_end())?;
        }
    }
    Ok(())
}

/// Longer lists shift the text after them to the right.
const ALIGNED_UP_TO: usize = 100;

fn name(segment: &SegmentListing) -> String {
    format!("{}/{}", segment.topic, segment.partition)
}

fn contents(segment: &SegmentListing) -> String {
    let value = |record: &ConsumerRecord| record.value.as_deref().map_or_else(|| "null".to_owned(), quoted);
    let mut shown: Vec<String> = segment.records.iter().map(value).collect();
    if segment.more != 0 {
        shown.push(format!("{} more", segment.more));
    }
    format!("[{}]", shown.join(", "))
}
