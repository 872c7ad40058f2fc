//! A consumer of the demo: its name, its records, its partitions.

use super::script::{DemoOutput, STEP_TIMEOUT};
use crate::output::quoted;
use anyhow::{anyhow, bail};
use grower_client::ids::{Offset, PartitionId};
use grower_client::{Client, Consumer, ConsumerRecord};
use std::time::{Duration, Instant};

/// Session timeout of the members.
pub(super) const SESSION: Duration = Duration::from_secs(1);
/// Records per poll.
const BATCH: usize = 3;

/// Identifies a record of the topic.
pub(super) type DemoRecordKey = (PartitionId, Offset);

/// A member of a group.
pub(super) struct GroupReader {
    pub(super) name: String,
    topic: &'static str,
    pub(super) consumer: Consumer,
}

impl GroupReader {
    /// Joins `group` as `name`.
    pub(super) async fn join(client: &Client, group: &str, name: &str, topic: &'static str) -> anyhow::Result<Self> {
        let builder = client.consumer().group(group).member(name).subscribe([topic]).max_poll_records(BATCH);
        let consumer = builder.session_timeout(SESSION).auto_commit(None).build().await?;
        Ok(Self { name: name.to_owned(), topic, consumer })
    }

    /// The partitions assigned to it.
    pub(super) fn owned_partitions(&self) -> Vec<u32> {
        let mut owned: Vec<u32> =
            self.consumer.assignment().iter().map(|assigned| assigned.partition.value()).collect();
        owned.sort_unstable();
        owned
    }

    /// Reads one batch, prints it, and commits it.
    pub(super) async fn read_batch(&mut self, demo: &mut DemoOutput<'_>) -> anyhow::Result<Vec<ConsumerRecord>> {
        let records = self.consumer.poll(Duration::from_millis(100)).await?;
        if !records.is_empty() {
            self.consumer.commit().await?;
            demo.say(format!("  {} reads {}, and commits", self.name, describe_records(self.topic, &records)))?;
        }
        Ok(records)
    }

    /// Reads and commits batch by batch until it has `count` records.
    pub(super) async fn read(&mut self, demo: &mut DemoOutput<'_>, count: usize) -> anyhow::Result<Vec<DemoRecordKey>> {
        let began = Instant::now();
        let mut positions = Vec::new();
        while positions.len() < count {
            let records = self.read_batch(demo).await?;
            positions.extend(records.iter().map(|record| (record.partition, record.offset)));
            if STEP_TIMEOUT < began.elapsed() {
                bail!(
                    "the demo fails here: {} got {} of {count} records in {STEP_TIMEOUT:?}",
                    self.name,
                    positions.len()
                );
            }
        }
        Ok(positions)
    }
}

/// `rainbow/0 ['Hello, Kitty 0!', ..]`.
fn describe_records(topic: &str, records: &[ConsumerRecord]) -> String {
    let mut text = String::new();
    for run in records.chunk_by(|a, b| a.partition == b.partition) {
        let values: Vec<String> =
            run.iter().map(|record| quoted(record.value.as_deref().unwrap_or_default())).collect();
        let partition = run.first().map(|record| record.partition).unwrap_or_default();
        let gap = if text.is_empty() { "" } else { " and " };
        text.push_str(&format!("{gap}{topic}/{partition} [{}]", values.join(", ")));
    }
    text
}

/// Waits until each reader owns exactly these partitions.
pub(super) async fn wait_until_owned(readers: &[(&GroupReader, &[u32])], what: &str) -> anyhow::Result<()> {
    let (readers, wanted): (Vec<&GroupReader>, Vec<&[u32]>) = readers.iter().copied().unzip();
    wait_until(&readers, what, |owned| owned.iter().zip(&wanted).all(|(owned, wanted)| owned == wanted)).await
}

/// Waits until `condition` accepts the partitions that the readers own.
pub(super) async fn wait_until(
    readers: &[&GroupReader],
    what: &str,
    condition: impl Fn(&[Vec<u32>]) -> bool,
) -> anyhow::Result<()> {
    let owned = || readers.iter().map(|reader| reader.owned_partitions()).collect::<Vec<_>>();
    let waiting = async {
        while !condition(&owned()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(STEP_TIMEOUT, waiting).await.map_err(|_| {
        let now: Vec<String> =
            readers.iter().map(|reader| format!("{} owns {:?}", reader.name, reader.owned_partitions())).collect();
        anyhow!("the demo fails here: {what} does not come true in {STEP_TIMEOUT:?}: {}", now.join(", "))
    })
}
