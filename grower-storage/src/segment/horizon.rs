//! When the first tombstones of a segment may go, as the headers of its batches say.
//!
//! It is known of a segment that this process began or compacted. After a start the headers are read once.

use super::{Extent, Mode, Segment, Step, Walk};
use crate::disk::DiskError;
use grower_protocol::batch::BatchHeader;
use grower_protocol::ids::Timestamp;

/// What is known of a segment's tombstones.
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

/// Reads the headers of a segment that nothing is appended to.
pub(crate) fn earliest(segment: &Segment) -> Result<Option<Timestamp>, DiskError> {
    let start = Extent { position: 0, end: segment.base };
    let mut walk = Walk::new(segment, Mode::Headers, start, segment.extent());
    let mut horizon = None;
    while let Some(step) = walk.step()? {
        if let Step::Batch(found) = step {
            horizon = earlier(horizon, of_batch(&found.header));
        }
    }
    Ok(horizon)
}
