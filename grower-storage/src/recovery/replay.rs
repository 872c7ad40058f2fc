//! What follows from the headers of the batches alone: producers and epochs.

use crate::disk::DiskError;
use crate::epochs::EpochHistory;
use crate::options::LogOptions;
use crate::producers::{ProducerStates, Snapshots};
use crate::segment::{Extent, Mode, Segment, Step, Walk};
use grower_protocol::batch::BatchHeader;
use grower_protocol::ids::{Offset, Timestamp};
use std::ops::Range;
use std::sync::Arc;

/// The producers as of `end`: from the latest snapshot that is not of after it, and from the headers since. A producer met on
/// the way counts as heard of `now`: forgetting it too early would let a retry in twice.
pub(crate) fn replay_producers(
    snapshots: Snapshots,
    segments: &[Arc<Segment>],
    end: Offset,
    now: Timestamp,
    options: &LogOptions,
) -> Result<ProducerStates, DiskError> {
    let mut snapshot = snapshots.latest_until(end).unwrap_or_default();
    snapshot.states.restart(now);
    for_each_header(segments, snapshot.offset..end, |header| {
        snapshot.states.note(header, now);
        snapshot.states.bound(now, options);
    })?;
    Ok(snapshot.states)
}

/// The epochs as the batches name them; those that appended nothing are forgotten.
pub(crate) fn replay_epochs(segments: &[Arc<Segment>]) -> Result<EpochHistory, DiskError> {
    let mut epochs = EpochHistory::default();
    for_each_header(segments, Offset::ZERO..Offset::MAX, |header| {
        if let Some(epoch) = header.leader_epoch.filter(|epoch| epochs.latest() < Some(*epoch)) {
            epochs.begin(epoch, header.base_offset);
        }
    })?;
    Ok(epochs)
}

/// Headers of the batches within these offsets. Damage is passed over.
fn for_each_header(
    segments: &[Arc<Segment>],
    offsets: Range<Offset>,
    mut each: impl FnMut(&BatchHeader),
) -> Result<(), DiskError> {
    for segment in segments.iter().filter(|segment| offsets.start < segment.extent().end) {
        let start: Extent = segment.extent_at(segment.floor_by_offset(offsets.start));
        let mut walk = Walk::new(segment, Mode::Headers, start, segment.extent());
        while let Some(step) = walk.step()? {
            if let Step::Batch(found) = step
                && offsets.start <= found.header.base_offset
                && found.header.next_offset() <= offsets.end
            {
                each(&found.header);
            }
        }
    }
    Ok(())
}
