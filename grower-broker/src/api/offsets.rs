//! Looks up offsets by position and by time.

use super::partition_read::read_failure;
use super::{Answered, Api};
use crate::background;
use crate::partition::Partition;
use grower_protocol::ids::{Offset, Timestamp};
use grower_protocol::message::{ErrorCode, Failure, ListOffset, ListOffsets, ListedOffset, OffsetSpec, Part, Response};
use grower_storage::log::TimedOffset;
use std::sync::Arc;

impl Api {
    /// Lookups by time read the log, so they run where blocking is allowed.
    pub(super) async fn list_offsets(self: Arc<Self>, request: ListOffsets) -> Answered {
        let looked_up =
            background::blocking(move || request.partitions.iter().map(|wanted| self.list_offset(wanted)).collect());
        looked_up.await.map(Response::ListOffsets).map_err(|error| Failure::new(ErrorCode::Internal, error))
    }

    fn list_offset(&self, wanted: &ListOffset) -> Part<ListedOffset> {
        let partition = self.state.topics.partition(wanted.topic, wanted.partition)?;
        let at = |offset| Ok(ListedOffset { offset: Some(offset), timestamp: None });
        match wanted.spec {
            OffsetSpec::Beginning => at(partition.reader().span().start),
            OffsetSpec::End => at(partition.high_watermark()),
            OffsetSpec::AtOrAfter(timestamp) => by_time(&partition, timestamp),
            OffsetSpec::Latest => latest(&partition),
            OffsetSpec::FirstFrom(offset) => Ok(first_from(&partition, offset)),
        }
    }
}

fn by_time(partition: &Partition, timestamp: Timestamp) -> Part<ListedOffset> {
    let found = partition.reader().offset_for_time(timestamp, partition.high_watermark());
    found.map(listed).map_err(|error| read_failure(partition, &error))
}

/// The record with the largest timestamp, which is that of some segment.
fn latest(partition: &Partition) -> Part<ListedOffset> {
    let segments = partition.reader().segments();
    match segments.iter().filter_map(|segment| segment.max_timestamp).max() {
        Some(timestamp) => by_time(partition, timestamp),
        None => Ok(ListedOffset { offset: None, timestamp: None }),
    }
}

/// The first record from an offset on; none if there is none, or if it cannot be read.
fn first_from(partition: &Partition, offset: Offset) -> ListedOffset {
    let offset = offset.max(partition.reader().span().start);
    match partition.timestamp_from(offset) {
        Some(timestamp) => ListedOffset { offset: Some(offset), timestamp: Some(timestamp) },
        None => ListedOffset { offset: None, timestamp: None },
    }
}

fn listed(found: Option<TimedOffset>) -> ListedOffset {
    ListedOffset { offset: found.map(|record| record.offset), timestamp: found.map(|record| record.timestamp) }
}
