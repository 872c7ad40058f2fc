//! The delete horizon of a segment: when its first tombstones may go.
//!
//! Known for segments that this process began or compacted. For others the headers are read once after a start.

use super::{LogPosition, ScanItem, ScanMode, Scanner, Segment};
use crate::disk::DiskError;
use grower_protocol::batch::BatchHeader;
use grower_protocol::ids::Timestamp;

/// A segment's delete horizon, if it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeleteHorizon {
    /// Its headers were not read.
    Unknown,
    /// The earliest horizon of its batches; none if no batch has one.
    Known(Option<Timestamp>),
}

/// The horizon of a batch with tombstones that a pass may drop.
pub(crate) fn of_batch(header: &BatchHeader) -> Option<Timestamp> {
    header.delete_horizon().filter(|_| 0 < header.record_count && !header.attributes.is_control())
}

/// The earlier of two horizons.
pub(crate) fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.into_iter().chain(b).min()
}

/// Reads the headers of a sealed segment.
pub(crate) fn earliest(segment: &Segment) -> Result<Option<Timestamp>, DiskError> {
    let start = LogPosition::start_of(segment.base);
    let mut scanner = Scanner::new(segment, ScanMode::Headers, start, segment.end_position());
    let mut horizon = None;
    while let Some(item) = scanner.next_item()? {
        if let ScanItem::Batch(found) = item {
            horizon = earlier(horizon, of_batch(&found.header));
        }
    }
    Ok(horizon)
}
