//! Loads a shard from its log at the start.

use crate::group::state::{GroupActivity, GroupLimits, GroupRecord, GroupShard, ShardLoader};
use crate::partition::Partition;
use grower_protocol::batch::BatchReader;
use grower_protocol::ids::Timestamp;
use grower_protocol::message::{ErrorCode, Failure};

/// Bytes of the log that are read at a time.
const LOAD_BYTES: usize = 4 << 20;
/// The largest size of a decompressed batch. The coordinator's own batches are not compressed.
const RECORD_BYTES_MAX: usize = 64 << 20;

/// Loads a shard from its log. Damage stops the broker: a silently lost offset would be worse.
pub(super) fn load_shard(log: &Partition, at: Timestamp) -> Result<(GroupShard, GroupActivity), Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        let (topic, partition) = (&log.topic_name, log.partition);
        Failure::new(ErrorCode::CorruptLog, format_args!("{topic}/{partition} cannot be read: {error}"))
    };
    let (mut loader, mut activity) = (ShardLoader::default(), GroupActivity::default());
    let span = log.reader().span();
    let mut next = span.start;
    while next < span.end {
        let slices = log.reader().read(next, LOAD_BYTES, span.end).map_err(|error| failed(&error))?;
        for slice in &slices {
            for batch in BatchReader::new(slice.read().map_err(|error| failed(&error))?) {
                let batch = batch.map_err(|error| failed(&error))?;
                next = batch.header().next_offset();
                for record in batch.records(RECORD_BYTES_MAX).map_err(|error| failed(&error))? {
                    let record = record.map_err(|error| failed(&error))?;
                    let fact = GroupRecord::from_record(&record).map_err(|error| failed(&error))?;
                    activity.found(&fact, record.timestamp);
                    loader.push(fact);
                }
            }
        }
        if slices.is_empty() {
            return Err(failed(&"it ends early"));
        }
    }
    Ok((loader.finish(at, GroupLimits::default()), activity))
}
