//! What follows from the headers of the batches alone: producers and epochs.

use crate::disk::{Disk, DiskError};
use crate::epochs::EpochHistory;
use crate::kept;
use crate::producers::{ProducerStates, Snapshot};
use crate::segment::{Extent, Mode, Segment, Step, Walk};
use grower_protocol::batch::BatchHeader;
use grower_protocol::ids::{Offset, Timestamp};
use std::path::Path;
use std::sync::Arc;

/// The producers as of the log end: from their snapshot if it is sound and not from after a truncation, and from the
/// headers since. A producer met on the way counts as heard of `now`: forgetting it too early would let a retry in twice.
pub(crate) fn replay_producers(
    disk: &dyn Disk,
    dir: &Path,
    segments: &[Arc<Segment>],
    end: Offset,
    now: Timestamp,
) -> Result<ProducerStates, DiskError> {
    let snapshot: Option<Snapshot> = kept::load(disk, dir).ok();
    let mut snapshot = snapshot.filter(|snapshot| snapshot.offset <= end).unwrap_or_default();
    for_each_header(segments, snapshot.offset, |header| snapshot.states.note(header, now))?;
    Ok(snapshot.states)
}

/// The epochs as the batches name them; those that appended nothing are forgotten.
pub(crate) fn replay_epochs(segments: &[Arc<Segment>]) -> Result<EpochHistory, DiskError> {
    let mut epochs = EpochHistory::default();
    for_each_header(segments, Offset::ZERO, |header| {
        if let Some(epoch) = header.leader_epoch.filter(|epoch| epochs.latest() < Some(*epoch)) {
            epochs.begin(epoch, header.base_offset);
        }
    })?;
    Ok(epochs)
}

/// Headers of the batches from an offset on. Damage is passed over.
fn for_each_header(
    segments: &[Arc<Segment>],
    from: Offset,
    mut each: impl FnMut(&BatchHeader),
) -> Result<(), DiskError> {
    for segment in segments.iter().filter(|segment| from < segment.extent().end) {
        let start: Extent = segment.extent_at(segment.floor_by_offset(from));
        let mut walk = Walk::new(segment, Mode::Headers, start, segment.extent());
        while let Some(step) = walk.step()? {
            if let Step::Batch(found) = step
                && from <= found.header.base_offset
            {
                each(&found.header);
            }
        }
    }
    Ok(())
}
