//! A topic grows: keys move, and a group picks up the new partitions from their first record.

use super::reader::{GroupReader, wait_until_owned};
use super::script::{DemoOutput, STEP_TIMEOUT};
use crate::output::key_warning;
use anyhow::bail;
use grower_client::ids::{Offset, PartitionId};
use grower_client::{Partitioner, Record};
use std::collections::BTreeMap;
use std::time::Instant;

const KEYS: [&str; 8] = ["red", "orange", "yellow", "green", "blue", "indigo", "violet", "pink"];

pub(super) async fn sandbox_grows(demo: &mut DemoOutput<'_>) -> anyhow::Result<()> {
    let before = write_keys(demo).await?;
    let mut reader = GroupReader::join(demo.client, "diggers", "D1", "sandbox").await?;
    wait_until_owned(&[(&reader, &[0, 1])], "reading sandbox").await?;
    demo.say("\na group reads sandbox")?;
    reader.read(demo, KEYS.len()).await?;

    demo.client.admin().grow_topic("sandbox", 4).await?;
    demo.say("\nsandbox grows from 2 to 4 partitions")?;
    demo.say(format!("  {}", key_warning("sandbox", 2, 4)))?;
    let after = write_keys(demo).await?;
    let moved: Vec<String> = KEYS
        .iter()
        .filter(|key| before.get(*key) != after.get(*key))
        .filter_map(|key| Some(format!("{key} {} -> {}", before.get(key)?, after.get(key)?)))
        .collect();
    demo.claim(!moved.is_empty(), format!("keys that moved: {}", moved.join(", ")))?;
    wait_until_owned(&[(&reader, &[0, 1, 2, 3])], "picking up the new partitions").await?;
    demo.claim(true, "the group picks up partitions 2 and 3")?;
    check_new_partitions_start_at_zero(demo, &mut reader).await?;
    Ok(reader.consumer.close().await?)
}

/// Writes a record for each key; returns the partition that each went to.
async fn write_keys(demo: &DemoOutput<'_>) -> anyhow::Result<BTreeMap<&'static str, PartitionId>> {
    let producer = demo.client.producer().partitioner(Partitioner::Key).batch_records(1).build().await?;
    let mut partitions = BTreeMap::new();
    for key in KEYS {
        let ack = producer.send(Record::new("sandbox").key(key).value(format!("{key} spade"))).await?;
        partitions.insert(key, ack.partition);
    }
    producer.close().await?;
    Ok(partitions)
}

/// Reads all new records, and checks that new partitions are read from offset 0.
async fn check_new_partitions_start_at_zero(demo: &mut DemoOutput<'_>, reader: &mut GroupReader) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut first: BTreeMap<PartitionId, Offset> = BTreeMap::new();
    let mut count = 0;
    while count < KEYS.len() {
        for record in reader.read_batch(demo).await? {
            first.entry(record.partition).or_insert(record.offset);
            count += 1;
        }
        if STEP_TIMEOUT < began.elapsed() {
            bail!("the demo fails here: {count} of {} records came in {STEP_TIMEOUT:?}", KEYS.len());
        }
    }
    let new: Vec<&Offset> = [2, 3].into_iter().filter_map(|new| first.get(&PartitionId::new(new))).collect();
    let from_zero = !new.is_empty() && new.iter().all(|offset| **offset == Offset::ZERO);
    demo.claim(from_zero, "the new partitions are read from offset 0")
}
