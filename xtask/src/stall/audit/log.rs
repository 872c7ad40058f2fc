//! Reads a partition from its first record to its end.

use super::AuditReport;
use crate::stall::rig_record::{OrderCheck, RigRecord};
use grower_client::{Client, OffsetSpec, StartFrom};
use std::time::Duration;

/// Longer than a broker takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns the records by offset. Order and repeats are checked on the way.
pub(super) async fn read(
    client: &Client,
    topic: &str,
    partition: u32,
    report: &mut AuditReport,
) -> anyhow::Result<Vec<RigRecord>> {
    let listed = client.admin().list_offsets([(topic, partition, OffsetSpec::End)]).await?.remove(0)?;
    let end = listed.offset.map_or(0, |end| end.value());
    let mut consumer = client.consumer().assign([(topic, partition)]).from(StartFrom::Beginning).build().await?;
    let (mut check, mut log) = (OrderCheck::default(), Vec::new());
    while (log.len() as u64) < end {
        let records = consumer.poll(PATIENCE).await?;
        anyhow::ensure!(!records.is_empty(), "nothing comes at offset {} of {end}", log.len());
        for record in records {
            match check.check(&record) {
                Ok(content) => log.push(content),
                Err(error) => {
                    report.broken(format!("{topic}/{partition}: {error:#}"));
                    log.push(RigRecord::parse(&record)?);
                }
            }
        }
    }
    report.count("records in the log", end);
    Ok(log)
}
