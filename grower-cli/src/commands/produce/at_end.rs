//! `--expect-end`: writes all lines in one batch at the end that the partition must have, or none of them.

use super::ProduceCommand;
use super::report::ProduceReport;
use super::source::LineSource;
use crate::session::{interrupted, now};
use anyhow::{Context, bail};
use bytes::Bytes;
use grower_client::ids::{Offset, PartitionId, TopicName};
use grower_client::{Ack, AppendAtError, Producer};
use std::pin::pin;

/// Where the lines must be written.
pub(super) struct ExpectedEnd {
    pub(super) partition: u32,
    pub(super) offset: u64,
}

impl ProduceCommand {
    /// Appends all lines of the source, which have up to `bytes_max` bytes together.
    pub(super) async fn append_at(
        &self,
        end: ExpectedEnd,
        producer: &Producer,
        mut report: ProduceReport,
        source: LineSource,
        bytes_max: usize,
    ) -> anyhow::Result<()> {
        let ExpectedEnd { partition, offset: expected } = end;
        let mut interrupt = pin!(interrupted());
        let lines = tokio::select! {
            () = &mut interrupt => bail!("interrupted: nothing was written"),
            lines = read_all(source, bytes_max) => lines?,
        };
        let (topic, timestamp) = (self.topic.as_str().into(), now());
        let records = lines.iter().map(|line| self.record(&topic, line.clone()).timestamp(timestamp));
        let appended = tokio::select! {
            () = interrupt => bail!("interrupted: the lines are written together, or not at all"),
            appended = producer.append_at(&self.topic, PartitionId::new(partition), Offset::new(expected), records) => appended,
        };
        match appended {
            Ok(appended) => {
                let mut ack = Ack {
                    topic: TopicName::new(&self.topic)?,
                    partition: PartitionId::new(partition),
                    offset: None,
                    timestamp,
                    durability: appended.durability,
                };
                for (nth, line) in (0..).zip(&lines) {
                    ack.offset = Some(appended.offsets.start.saturating_add(nth));
                    report.add_acknowledged(nth + 1, line.len() as u64, &ack)?;
                }
                report.finish()
            }
            Err(AppendAtError::UnexpectedEnd { actual, .. }) => {
                report.end_unexpectedly(partition, expected, actual.value())?;
                bail!("{}/{partition} ends at offset {actual}, not at {expected}; nothing was written", self.topic)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The least bytes of a record in addition to its line: empty lines count too.
const RECORD_OVERHEAD_MIN: usize = 7;

/// Reads the lines to the end of the input.
async fn read_all(mut source: LineSource, bytes_max: usize) -> anyhow::Result<Vec<Bytes>> {
    let (mut lines, mut bytes) = (Vec::new(), 0);
    while let Some(chunk) = source.recv().await {
        for line in chunk?.lines {
            let number = line.number;
            let content = line.content.with_context(|| format!("line {number}; nothing was written"))?;
            bytes += content.len() + RECORD_OVERHEAD_MIN;
            if bytes_max < bytes {
                bail!(
                    "as records, the lines have more than {bytes_max} bytes, which one batch cannot hold: raise the topic's \
                     max.message.bytes, or write fewer lines; nothing was written"
                );
            }
            lines.push(content);
        }
    }
    Ok(lines)
}
