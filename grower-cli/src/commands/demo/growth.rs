//! A topic grows: keys move, and a group picks up the new partitions from their first record.

use super::reader::{Reader, until_owned};
use super::script::{PATIENCE, Teller};
use crate::output::key_warning;
use anyhow::bail;
use grower_client::ids::{Offset, PartitionId};
use grower_client::{Partitioner, Record};
use std::collections::BTreeMap;
use std::time::Instant;

const KEYS: [&str; 8] = ["red", "orange", "yellow", "green", "blue", "indigo", "violet", "pink"];

pub(super) async fn sandbox_grows(teller: &mut Teller<'_>) -> anyhow::Result<()> {
    let before = write_keys(teller).await?;
    let mut reader = Reader::join(teller.client, "diggers", "D1", "sandbox").await?;
    until_owned(&[(&reader, &[0, 1])], "reading sandbox").await?;
    teller.say("\na group reads sandbox")?;
    reader.read(teller, KEYS.len()).await?;

    teller.client.admin().grow_topic("sandbox", 4).await?;
    teller.say("\nsandbox grows from 2 to 4 partitions")?;
    teller.say(format!("  {}", key_warning("sandbox", 2, 4)))?;
    let after = write_keys(teller).await?;
    let moved: Vec<String> = KEYS
        .iter()
        .filter(|key| before.get(*key) != after.get(*key))
        .filter_map(|key| Some(format!("{key} {} -> {}", before.get(key)?, after.get(key)?)))
        .collect();
    teller.claim(!moved.is_empty(), format!("keys that moved: {}", moved.join(", ")))?;
    until_owned(&[(&reader, &[0, 1, 2, 3])], "picking up the new partitions").await?;
    teller.claim(true, "the group picks up partitions 2 and 3")?;
    from_their_first_record(teller, &mut reader).await?;
    Ok(reader.consumer.close().await?)
}

/// Writes a record for each key; returns the partition that each went to.
async fn write_keys(teller: &Teller<'_>) -> anyhow::Result<BTreeMap<&'static str, PartitionId>> {
    let producer = teller.client.producer().partitioner(Partitioner::Key).batch_records(1).build().await?;
    let mut partitions = BTreeMap::new();
    for key in KEYS {
        let ack = producer.send(Record::new("sandbox").key(key).value(format!("{key} spade"))).await?;
        partitions.insert(key, ack.partition);
    }
    producer.close().await?;
    Ok(partitions)
}

/// Reads everything new, and sees that new partitions are read from offset 0.
async fn from_their_first_record(teller: &mut Teller<'_>, reader: &mut Reader) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut first: BTreeMap<PartitionId, Offset> = BTreeMap::new();
    let mut count = 0;
    while count < KEYS.len() {
        for record in reader.read_batch(teller).await? {
            first.entry(record.partition).or_insert(record.offset);
            count += 1;
        }
        if PATIENCE < began.elapsed() {
            bail!("the demo fails here: {count} of {} records came in {PATIENCE:?}", KEYS.len());
        }
    }
    let new: Vec<&Offset> = [2, 3].into_iter().filter_map(|new| first.get(&PartitionId::new(new))).collect();
    let from_zero = !new.is_empty() && new.iter().all(|offset| **offset == Offset::ZERO);
    teller.claim(from_zero, "the new partitions are read from offset 0")
}
