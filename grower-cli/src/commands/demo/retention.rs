//! The three retention limits. Each drops whole segments, the oldest first, while the remaining ones meet the limit.

use super::script::{DemoOutput, STEP_TIMEOUT};
use super::topics::{SEGMENT_RECORDS, write_kitties};
use anyhow::bail;
use grower_client::TopicDescription;
use std::time::{Duration, Instant};

/// Records a step writes: one round over three partitions closes a segment in each.
const WRITTEN: u32 = 3 * SEGMENT_RECORDS as u32;

pub(super) async fn by_count_bytes_and_age(demo: &mut DemoOutput<'_>) -> anyhow::Result<()> {
    let mut next = 18;
    let newest_segment = |topic: &TopicDescription| {
        topic.partitions.iter().filter_map(|p| p.segments.last()).map(|segment| segment.log_bytes).max().unwrap_or(1)
    };
    for key in ["retention.messages", "retention.bytes", "retention.ms"] {
        let topic = demo.client.admin().describe_topic("rainbow", true).await?;
        let (value, means) = match key {
            "retention.messages" => ("4".to_owned(), "at least 4 records remain"),
            "retention.bytes" => {
                (newest_segment(&topic).to_string(), "at least the size of the newest segment remains")
            }
            _ => ("200".to_owned(), "records older than 200 ms are dropped"),
        };
        demo.say(format!("\nalter rainbow {key}={value}: {means}"))?;
        change(demo, key, Some(value)).await?;
        if key == "retention.ms" {
            tokio::time::sleep(Duration::from_millis(250)).await; // Let the records age.
        }
        write_kitties(demo, next..next + WRITTEN).await?;
        next += WRITTEN;
        wait_until_dropped(demo, &topic, key).await?;
        change(demo, key, None).await?;
    }
    Ok(())
}

async fn change(demo: &DemoOutput<'_>, key: &str, value: Option<String>) -> anyhow::Result<()> {
    Ok(demo.client.admin().alter_topic("rainbow", [(key, value)]).await?)
}

/// Waits until every partition has a later log start, at the base of a segment, and prints it.
async fn wait_until_dropped(demo: &mut DemoOutput<'_>, before: &TopicDescription, key: &str) -> anyhow::Result<()> {
    let began = Instant::now();
    let now = loop {
        let now = demo.client.admin().describe_topic("rainbow", true).await?;
        let moved = |(a, b): (&grower_client::PartitionDescription, _)| {
            let b: &grower_client::PartitionDescription = b;
            a.log_start < b.log_start
        };
        if before.partitions.iter().zip(&now.partitions).all(moved) {
            break now;
        }
        if STEP_TIMEOUT < began.elapsed() {
            bail!("the demo fails here: {key} dropped nothing in {STEP_TIMEOUT:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    for (old, new) in before.partitions.iter().zip(&now.partitions) {
        let files: Vec<&str> =
            old.segments.iter().filter(|s| s.base_offset < new.log_start).map(|s| s.log_file.as_str()).collect();
        let gone = files.iter().all(|file| new.segments.iter().all(|segment| segment.log_file != *file));
        let kept = new.log_start < new.log_end;
        let (partition, start) = (new.partition, new.log_start);
        let line = format!("rainbow/{partition} begins at offset {start} now; dropped {}", files.join(", "));
        demo.claim(gone && kept && !files.is_empty(), line)?;
    }
    Ok(())
}
